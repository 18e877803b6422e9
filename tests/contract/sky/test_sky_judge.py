"""The real SkyPilot SDK and API server, against moto's EC2, in a network namespace with no way out.

Judges: SkyPilot 0.14.1 itself, for what we ask of it and what we make of its answers; moto, a third party, for what
there is at the cloud. Nothing here is ours but three lines of its catalog (see `sky_judge.py`). Takes two minutes, and
SkyPilot in an environment of its own: FLEETCTL_TEST_SKY_PYTHON names its Python, or that of
`FLEETCTL_HOME=~/.cache/fleetctl fleetctl provider setup sky --with aws` is taken.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

BOUND_S = 420.0
"""SkyPilot takes 100 s for all of it on four quiet cores."""

HERE = Path(__file__).parent
CACHED = Path.home() / ".cache" / "fleetctl" / "sky" / "venv" / "bin" / "python"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BOUND_S + 30)]


def _python() -> Path:
    named = os.environ.get("FLEETCTL_TEST_SKY_PYTHON")
    python = Path(named) if named else CACHED
    if not python.exists():
        pytest.skip("no SkyPilot here: FLEETCTL_TEST_SKY_PYTHON names no Python that has it, and the cache has none")
    asked = subprocess.run([python, "-c", "import sky, boto3"], capture_output=True, timeout=120, check=False)
    if asked.returncode != 0:
        pytest.skip(f"{python} has no SkyPilot with AWS: pip install 'skypilot[aws]==0.14.1'")
    return python


def _namespace() -> list[str]:
    """The words that run a program where only loopback is; SkyPilot reaches for addresses that moto invents."""
    words = [shutil.which("unshare") or "", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if not words[0] or subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no network namespace can be made here (root and unshare are needed)")
    return words


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    python, namespace, folder = _python(), _namespace(), tmp_path_factory.mktemp("sky")
    done = subprocess.run(
        [*namespace, sys.executable, HERE / "sky_judge.py", python, folder],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: Mapping[str, Any] = json.loads(done.stdout[done.stdout.index("{\n") :])
    return answer


def test_checks_are_well(found: Mapping[str, Any]) -> None:
    assert {name: status for name, (status, _) in found["checks"].items()} == {
        "sky/environment": "ok",
        "sky/rsync": "ok",
        "sky/clouds": "ok",
        "sky/listing": "ok",
        "sky/offers": "ok",
    }
    assert found["checks"]["sky/clouds"][1] == "aws", "SkyPilot looked at the credentials, at moto"


def test_offers_are_read_from_skypilots_own_catalog(found: Mapping[str, Any]) -> None:
    assert found["offers"] == [
        ["aws/us-west-2", "g6.xlarge", 0.8, "skypilot catalog v8"],
        ["aws/us-east-1", "g6.xlarge", 0.8048, "skypilot catalog v8"],
    ]


def test_dry_launch_of_an_offer_is_planned_and_makes_nothing(found: Mapping[str, Any]) -> None:
    assert found["dry launch"] == {"error": ""}
    assert found["listed after dry launches"] == []
    assert found["machines after dry launches"] == 0


def test_what_is_not_there_and_what_is_wrong(found: Mapping[str, Any]) -> None:
    assert found["stop of what is not there"]["error"] == "gone"
    assert found["start of what is not there"]["error"] == "gone"
    assert found["terminate of what is not there"]["error"] == ""
    assert found["launch where there is none"]["error"] == "invalid"
    assert "eu-west-3" in found["launch where there is none"]["message"]


def test_machine_is_listed_while_it_is_made_and_terminate_fences_its_launch(found: Mapping[str, Any]) -> None:
    """A real launch, up to the SSH that nobody answers."""
    real = found["real"]

    assert real["listed"] == [["gpu-e1-1", "booting", True, "gpu"]], "with its offer, out of its labels alone"
    assert real["machines"] == 1
    assert real["tags"] == {"fleetctl-fleet": "judged", "fleetctl-id": "gpu-e1-1"}
    assert real["terminate"] == {"error": ""}
    assert real["launch"]["error"] != "", "the launch was called off, and says so"
    assert real["listed after"] == []
    assert real["machines after"] == 0, "moto has none left"
