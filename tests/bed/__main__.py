"""`python -m bed up | down`: a test bed for a person, which stays up until it is taken down."""

import argparse
import json
import subprocess
import sys

from bed import needs, vllm
from bed.network import BedError
from bed.packages import Unavailable
from bed.places import cache
from bed.slots import SLOTS, Slot, slot
from bed.testbed import MACHINES, raised
from fleetctl.node.keys import public_key
from fleetctl.wiring import home


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bed", description="A test bed of real machines on this computer.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring one up and say how to reach it")
    up.add_argument("--machines", type=int, default=MACHINES)
    up.add_argument("--rate", default="", help="of each machine's link, as in 200mbit; not given: unshaped")
    up.add_argument("--no-vllm", action="store_true", help="leave out the vLLM image and its model")
    commands.add_parser("down", help="take down every bed that was brought up so")
    given = parser.parse_args()
    reason = needs.lacking()
    if reason:
        sys.stderr.write(f"error: {reason}" + "\n")
        return 1
    try:
        return _down() if given.command == "down" else _up(given)
    except (BedError, Unavailable, RuntimeError) as error:
        sys.stderr.write(f"error: {error}" + "\n")
        return 1


def _up(given: argparse.Namespace) -> int:
    ours = cache() / "key"
    if not ours.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "fleetctl-test-bed", "-f", str(ours)]
        subprocess.run(words, check=True)
    keys = (ours.with_suffix(".pub").read_text().strip(), public_key(home()))
    with slot() as mine:
        bed = raised(mine, machines=given.machines, rate=given.rate, registry_rate="", keys=keys)
        images, address = [], ""
        if not given.no_vllm:
            reason = vllm.lacking()
            if reason:
                sys.stderr.write(f"warning: {reason}" + "\n")
            else:
                images = [vllm.image(bed.registry, release) for release in ("1", "2")]
                address = vllm.model(bed.origin)
        mine.kept.touch()
    say(f"test bed {mine.name} is up, in {bed.seconds:.1f} s; this computer is {bed.network.controller} on it\n")
    for machine in bed.machines:
        say(f"{machine.name}: ssh -i {ours} -o StrictHostKeyChecking=no root@{machine.address}")
        say(f"    cable: nsenter --net=/run/netns/{bed.network.space} ip link set {machine.link.port} down | up")
        say(f"    logs: {machine.share}")
    say(f"registry: {bed.registry.address}    origin of weights: {bed.origin.url}\n")
    if images:
        say(f"export SSL_CERT_FILE={bed.origin.certificate}    # to trust the origin from here, too\n")
        say("# a service's file may say")
        say(f"engine: vllm\nimage: {images[0]}    # or {images[1]}\nmodel: {address}\nargs: {vllm.ARGUMENTS}\n")
    say("# for the fleet's file; the key of your fleet's home is let in already")
    say("providers:\n  ssh:\n    inventory:")
    for line in bed.inventory():
        say(f"      - {json.dumps(line)}")
    say("\ndown again: make test-bed-down")
    return 0


def _down() -> int:
    found = 0
    for number in range(SLOTS):
        one = Slot(number)
        if one.kept.exists():
            one.clear()
            found += 1
            say(f"test bed {one.name} is gone")
    if not found:
        say("no test bed is up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
