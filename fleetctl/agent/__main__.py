"""`python -m fleetctl.agent`: the node agent of one machine."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path

from fleetctl.agent import lock
from fleetctl.agent.folder import Folder
from fleetctl.errors import FleetError
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Gpu, LocalMachine

_LOCK_DESCRIPTOR = 3
"""A launcher that took the lock for us hands it down here."""


def main() -> int:
    arguments = _parser().parse_args()
    folder = Folder(arguments.folder.absolute())
    instance = InstanceId(arguments.instance)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if arguments.halt:
            from fleetctl.agent.halt import halt

            halt(instance, folder)
            return 0
        return _serve(arguments, instance, folder)
    except FleetError as error:
        sys.stderr.write(f"{error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
        return error.exit_code


def _serve(arguments: argparse.Namespace, instance: InstanceId, folder: Folder) -> int:
    if arguments.locked:
        held: int | None = _LOCK_DESCRIPTOR
        os.set_inheritable(_LOCK_DESCRIPTOR, False)
        os.closerange(_LOCK_DESCRIPTOR + 1, os.sysconf("SC_OPEN_MAX"))
    else:
        held = lock.take(folder.lock)
    if held is None:
        sys.stderr.write(f"{instance} has a node agent already\n")
        return 0
    lock.sign(held)
    os.chdir(folder.root)
    # Heavy imports come after the signature: who wants to end us must not wait for them.
    from fleetctl.agent.serve import Options, serve

    asyncio.run(
        serve(
            Options(
                instance=instance,
                folder=folder,
                socket=arguments.socket.absolute() if arguments.socket else folder.root / "agent.sock",
                gpus=arguments.gpus,
                rehearsed=LocalMachine(
                    boot_s=arguments.boot_s, image_s=arguments.image_s, weights_s=arguments.weights_s
                ),
                runtime=arguments.runtime,
                owner=arguments.owner,
                notices=arguments.notices,
                notices_url=arguments.notices_url,
                peers=arguments.peers,
                store_limit_bytes=arguments.store_limit,
                images_limit_bytes=arguments.images_limit,
            )
        )
    )
    return 0


def _gpu(text: str) -> Gpu:
    name, _, count = text.rpartition(":")
    if not name or not count.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:COUNT")
    return Gpu(name=name, count=int(count))


def _notices(text: str) -> str:
    if text not in ("none", "local", "aws", "gcp", "azure"):
        raise argparse.ArgumentTypeError(f"{text!r} is none of none, local, aws, gcp, azure")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fleetctl.agent", description="The node agent of one machine.")
    parser.add_argument("--instance", required=True, help="the Instance's identifier")
    parser.add_argument("--folder", required=True, type=Path, help="the machine's folder")
    parser.add_argument("--socket", type=Path, help="Unix socket to serve; FOLDER/agent.sock")
    parser.add_argument(
        "--gpus", type=_gpu, default=Gpu(name="NONE", count=0), help="NAME:COUNT where no driver lists any"
    )
    parser.add_argument("--boot-s", type=float, default=0.0, help="seconds that the boot is made to take")
    parser.add_argument("--image-s", type=float, default=0.0, help="seconds that fetching an image is made to take")
    parser.add_argument("--weights-s", type=float, default=0.0, help="seconds that fetching weights is made to take")
    parser.add_argument("--runtime", choices=("process", "docker", "auto"), default="auto")
    parser.add_argument("--owner", type=int, help="user id that may open the socket, besides root; default: our own")
    parser.add_argument(
        "--notices",
        type=_notices,
        default=os.environ.get("FLEETCTL_NOTICES", "none"),
        help="who says when this machine is taken away: none, local (the file FOLDER/notice), aws, gcp or azure",
    )
    parser.add_argument(
        "--notices-url",
        default=os.environ.get("FLEETCTL_NOTICES_URL"),
        help="its cloud's metadata service, where it is not at the usual address",
    )
    parser.add_argument(
        "--peers",
        default=os.environ.get("FLEETCTL_PEERS", "off"),
        help="where other nodes fetch from this one: HOST:PORT, auto or auto:PORT (the default route's address) or off",
    )
    parser.add_argument(
        "--store-limit", type=int, help="bytes of fetched weights kept on this machine; default: 70%% of its disk"
    )
    parser.add_argument(
        "--images-limit", type=int, help="bytes of images kept after they were wanted; default: 25%% of Docker's disk"
    )
    parser.add_argument("--locked", action="store_true", help="descriptor 3 is the machine's lock, taken for us")
    parser.add_argument("--halt", action="store_true", help="end the machine's agent and engines, keep its disk")
    return parser


if __name__ == "__main__":
    sys.exit(main())
