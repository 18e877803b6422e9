"""What goes to a machine, and what is kept of it here: addresses, host keys, key, wheel, the first boot."""

import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

import fleetctl
from fleetctl.agent.facts import versions
from fleetctl.errors import AgentFailure, InvalidRequest, UsageError
from fleetctl.model.instances import LaunchSpec, Offer
from fleetctl.model.names import InstanceId, PoolName, ProviderName
from fleetctl.model.services import Gpu, Market
from fleetctl.node import payload
from fleetctl.node.address import ssh_address
from fleetctl.node.keys import public_key, secret_key
from fleetctl.node.known_hosts import LINES_MAX, KnownHosts
from fleetctl.node.launches import USER_DATA_MAX_BYTES, completed, first_boot, secret_in
from fleetctl.paths import Home
from fleetctl.providers.ssh.inventory import read_inventory
from fleetctl.spec.inventory import read_inventory as read_file

SPEC = LaunchSpec(
    id=InstanceId("gpu-e1-1"),
    fleet="f",
    pool=PoolName("gpu"),
    offer=Offer(
        provider=ProviderName("aws"),
        instance_type="g6.xlarge",
        gpu=Gpu(name="L4", count=1),
        zone="z",
        market=Market.ON_DEMAND,
        price_per_hour=1.0,
        price_source="test",
        price_as_of=0.0,
    ),
    images=("vllm/vllm-openai:v0.11.0",),
)


@pytest.mark.parametrize(
    ("address", "user", "place", "pinned_as"),
    [
        pytest.param("ssh://ops@10.0.0.7:2222", "ops", "10.0.0.7:2222", "[10.0.0.7]:2222", id="one's own"),
        pytest.param("ssh://ubuntu@1.2.3.4:22/gpu-e1-1", "ubuntu", "1.2.3.4:22", "gpu-e1-1", id="rented"),
        pytest.param("ssh://ops@rack1", "ops", "rack1:22", "[rack1]:22", id="the usual port"),
        pytest.param("ssh://ops@[fd00::7]:22", "ops", "[fd00::7]:22", "[fd00::7]:22", id="IPv6"),
    ],
)
def test_an_address_says_whom_to_ask_and_whose_key_is_pinned(
    address: str, user: str, place: str, pinned_as: str
) -> None:
    found = ssh_address(address)

    assert (found.user, found.place, found.pinned_as) == (user, place, pinned_as)


def test_host_keys_are_kept_one_for_each_name(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "ssh" / "known_hosts")

    assert known.pinned("a") is None
    known.pin("a", "ssh-ed25519 AAA")
    known.pin("[b]:22", "ssh-ed25519 BBB")
    known.pin("a", "ssh-ed25519 CCC")

    assert known.pinned("a") == "ssh-ed25519 CCC", "the newest counts"
    assert known.pinned("[b]:22") == "ssh-ed25519 BBB"
    assert known.pinned("b") is None
    assert stat.S_IMODE(known.path.stat().st_mode) == 0o600


def test_host_keys_do_not_grow_for_ever(tmp_path: Path) -> None:
    known = KnownHosts(tmp_path / "known_hosts")
    known.path.write_text("".join(f"gpu-{number} ssh-ed25519 AAA\n" for number in range(LINES_MAX)))

    known.pin("new", "ssh-ed25519 BBB")

    assert len(known.path.read_text().splitlines()) == LINES_MAX
    assert known.pinned("gpu-0") is None
    assert known.pinned("new") == "ssh-ed25519 BBB"


def test_the_key_is_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    ask = (
        "import sys; from pathlib import Path; from fleetctl.node.keys import public_key; "
        "from fleetctl.paths import Home; print(public_key(Home(Path(sys.argv[1]))))"
    )
    source = str(Path(fleetctl.__file__).parents[1])

    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ask, str(home.root)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": source},
        )
        for _ in range(4)
    ]
    lines = {one.communicate(timeout=60)[0].strip() for one in asking}

    assert lines == {public_key(home)}
    assert public_key(home).startswith("ssh-ed25519 ")
    assert "PRIVATE" in secret_key(home).read_text()
    assert stat.S_IMODE(secret_key(home).stat().st_mode) == 0o600
    assert sorted(path.name for path in secret_key(home).parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_the_wheel_is_the_same_every_time_and_runs_by_itself(tmp_path: Path) -> None:
    first = payload.wheel()
    payload.wheel.cache_clear()
    second = payload.wheel()

    (tmp_path / "w").mkdir()
    with zipfile.ZipFile(io.BytesIO(first.data)) as archive:
        archive.extractall(tmp_path / "w")
    for module in ("agent", "rehearsal"):
        # No source tree in sight: what it imports of ours must have come along.
        ran = subprocess.run(
            [
                sys.executable,
                "-P",
                "-c",
                f"import runpy, sys; sys.path.insert(0, {str(tmp_path / 'w')!r});"
                f"sys.argv=['x', '--help']; runpy.run_module('fleetctl.{module}', run_name='__main__')",
            ],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
    every = sorted(path.relative_to(tmp_path / "w") for path in (tmp_path / "w" / "fleetctl").rglob("*.py"))
    imported = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            f"import importlib, sys; sys.path.insert(0, {str(tmp_path / 'w')!r})\n"
            f"for name in {[str(path)[:-3].replace('/', '.') for path in every if path.stem not in ('__main__',)]!r}:\n"
            "    importlib.import_module(name.removesuffix('.__init__'))\n"
            "import fleetctl; print(fleetctl.__file__)",
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert first == second
    assert first.build.startswith(f"{fleetctl.__version__}-")
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.startswith(str(tmp_path))


def test_packages_are_pinned_with_all_they_need() -> None:
    names = {pin.partition("==")[0] for pin in payload.pins()}

    assert {"aiohttp", "msgspec", "psutil", "multidict", "yarl", "frozenlist"} <= names
    assert {"aiodocker", "blake3", "huggingface-hub", "hf-xet", "obstore", "python-dxf", "requests"} <= names
    assert all("==" in pin for pin in payload.pins())


def test_a_controller_without_the_extra_still_equips_nodes(tmp_path: Path) -> None:
    """Another Python process that sees our own metadata and the packages of a base install, none of the extra's."""
    base = ("fleetctl", "aiohttp", "msgspec", "psutil", "multidict", "yarl")
    for name in base:
        there = distribution(name)
        info = tmp_path / f"{name}-{there.version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(str(there.read_text("METADATA")))
    looked = "import sys, importlib.metadata as m; from fleetctl.node import payload; sys.path[:] = [sys.argv[1]]; "
    ran = subprocess.run(
        [sys.executable, "-c", f"{looked}print(*payload.pins())", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    pins = ran.stdout.split()
    assert {"blake3>=1.0", "huggingface-hub>=1.0", "obstore>=0.8", "python-dxf>=12.1"} <= set(pins)
    assert f"aiohttp=={distribution('aiohttp').version}" in pins
    assert not any(";" in pin or " " in pin for pin in pins)


def test_what_travels_is_a_tar_that_its_own_command_unpacks(tmp_path: Path) -> None:
    data = payload.packed([("some/file", b"content")])
    ran = subprocess.run(
        payload.command(("probe",)),
        input=data,
        shell=True,
        env={"PATH": os.environ["PATH"], "FLEETCTL_NODE_HOME": str(tmp_path / "it's here"), "TMPDIR": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=False,
    )

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["bootstrap.sh", "some/file"]
    assert ran.returncode == 0, ran.stderr
    assert f"root={tmp_path}/it's here" in ran.stdout.decode()
    assert list(tmp_path.iterdir()) == [], "it cleans up, and a look makes nothing"


def test_the_script_is_posix_sh_and_short_enough_for_every_cloud() -> None:
    for shell in ("sh", "bash"):
        subprocess.run([shell, "-n"], input=first_boot(("a/b:1", "c/d:2")).encode(), check=True, timeout=20)

    text = first_boot(("vllm/vllm-openai:v0.11.0",))
    assert "--cloud aws" not in text
    assert "--cloud aws" in first_boot((), cloud="aws"), "its agent asks for notices there"

    assert text.startswith("#!/bin/sh\n"), "as cloud-init knows a script"
    assert len(text.encode()) < USER_DATA_MAX_BYTES
    assert "prepare --pins" in text
    assert "--images vllm/vllm-openai:v0.11.0" in text


def test_the_first_boot_prepares_and_may_be_repeated(tmp_path: Path) -> None:
    """With a docker that only notes what it is asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tools / "docker").chmod(0o755)
    script = payload.standalone(("prepare", "--images", "a/b:1 c/d:2", "--cloud", "gcp"))
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "FLEETCTL_NODE_HOME": str(tmp_path / "node")}

    for _ in range(2):
        subprocess.run(["sh"], input=script.encode(), env=environment, check=True, timeout=60)
        subprocess.run(
            ["sh", "-c", f"until [ $(grep -c pull {tmp_path}/asked) -ge 2 ]; do sleep 0.05; done"],
            check=True,
            timeout=20,
        )

    asked = (tmp_path / "asked").read_text().splitlines()
    assert {words for words in asked if not words.startswith("image inspect")} == {
        "pull --quiet a/b:1",
        "pull --quiet c/d:2",
    }
    assert (tmp_path / "node" / "cloud").read_text() == "gcp\n"
    assert not (tmp_path / "node" / "agent.sock").exists(), "an agent comes over SSH, with whoever claims the machine"


def test_the_image_command_prints_the_script_of_the_first_boot(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "fleetctl", "image", "script", "--image", "a/b:1", "--image", "c/d:2"]
    source = str(Path(fleetctl.__file__).parents[1])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": source, "FLEETCTL_HOME": str(tmp_path / "home")}

    ran = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True)

    assert ran.stdout == first_boot(("a/b:1", "c/d:2"))
    assert not (tmp_path / "home").exists()


def test_a_launch_carries_key_and_script() -> None:
    made = completed(SPEC, "ssh-ed25519 AAA fleetctl")

    assert made.ssh_key == "ssh-ed25519 AAA fleetctl"
    assert "vllm/vllm-openai:v0.11.0" in made.user_data
    assert secret_in(made.user_data) == ""
    assert completed(SPEC, "ssh-ed25519 AAA fleetctl") == made, "the same launch is the same request"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("registry.example/a@sha256:" + "0" * 64, "", id="a digest"),
        pytest.param("localhost:5000/a:1", "", id="a registry with a port"),
        pytest.param("https://me:hunter22@registry.example/a", "a password in an address", id="an address"),
        pytest.param("me:hunter22@registry.example/a", "a password in an address", id="an image's name"),
        pytest.param("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key", id="a key"),
        pytest.param("AKIA" + "ABCDEFGHIJKLMNOP", "a key of AWS", id="aws"),
        pytest.param("HF_TOKEN=hf_" + "a" * 30, "a token of Hugging Face", id="hf"),
        pytest.param("password=hunter22", "a password", id="a password"),
    ],
)
def test_secrets_are_known_by_their_look(text: str, what: str) -> None:
    assert secret_in(text) == what


def test_a_first_boot_that_would_tell_a_secret_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="a password in an address"):
        first_boot(("me:hunter22@registry.example/a",))


def test_a_first_boot_that_no_cloud_would_take_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="clouds take"):
        first_boot(tuple(f"registry.example/model-{number}:1" for number in range(200)))


INVENTORY = "providers.ssh.inventory"


@pytest.mark.parametrize(
    ("inventory", "said"),
    [
        pytest.param([], f"{INVENTORY}: a list of machines is wanted", id="nothing"),
        pytest.param(["rack1"], f"{INVENTORY}[0]: name, host and gpu are wanted", id="no mapping"),
        pytest.param([{"host": "h", "gpu": "H100:8", "ram": 1}], f"{INVENTORY}[0].ram: there is no such", id="unknown"),
        pytest.param([{"gpu": "H100:8"}], f"{INVENTORY}[0].host:", id="no host"),
        pytest.param([{"host": "-oX", "gpu": "H100:8"}], f"{INVENTORY}[0].host:", id="an option for a host"),
        pytest.param([{"host": "h"}], f"{INVENTORY}[0].gpu: NAME:COUNT", id="no gpu"),
        pytest.param([{"host": "h", "gpu": "H100:x"}], f"{INVENTORY}[0].gpu: NAME:COUNT", id="a wrong gpu"),
        pytest.param([{"host": "h", "gpu": "L4", "port": 0}], f"{INVENTORY}[0].port:", id="a wrong port"),
        pytest.param([{"host": "h", "gpu": "L4", "price_per_hour": "1"}], f"{INVENTORY}[0].price", id="a wrong price"),
        pytest.param(
            [{"host": "h", "gpu": "L4"}, {"name": "x", "host": "h", "gpu": "L4"}],
            "two machines have the address ssh://root@h:22",
            id="twice the same",
        ),
        pytest.param(
            [{"name": "x", "host": "h", "gpu": "L4"}, {"name": "x", "host": "i", "gpu": "L4"}],
            "two machines have the name x",
            id="twice the same name",
        ),
    ],
)
def test_an_inventory_that_is_wrong_is_told_where(inventory: object, said: str) -> None:
    with pytest.raises(UsageError) as told:
        read_inventory({"inventory": inventory})

    assert said in told.value.message


def test_an_inventory_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text("- {name: rack1, host: 10.0.0.7, user: ops, port: 2222, gpu: h100:8, price_per_hour: 9.5}\n")

    (machine,) = read_inventory({"inventory": read_file(str(file))})

    assert (machine.name, machine.address, machine.price_per_hour) == ("rack1", "ssh://ops@10.0.0.7:2222", 9.5)
    assert machine.gpu == Gpu(name="H100", count=8)
    for path, why in (("machines.yaml", "absolute path"), (str(tmp_path / "none"), "cannot be read")):
        with pytest.raises(UsageError, match=why):
            read_file(path)


def test_driver_and_cuda_are_read_from_the_head_of_the_drivers_table() -> None:
    head = "| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.4     |"

    assert versions(head) == ("550.90.07", "12.4")
    assert versions("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.") == ("", "")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(AgentFailure, match="is not the address of a machine"):
        ssh_address("unix:/a")
