"""A gateway whose settings are in a JSON file, for tests: `python gateway_by_file.py FILE`; SIGHUP reads it again."""

import logging
import sys
from pathlib import Path
from typing import Any

import msgspec

from fleetctl.errors import FleetError, UsageError
from fleetctl.gateway.serving import serve
from fleetctl.gateway.settings import Settings


def _path(kind: type, value: Any) -> Any:
    return kind(value)


def read(file: Path) -> Settings:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Settings, dec_hook=_path)
    except msgspec.DecodeError as error:
        raise UsageError(f"{file}: {error}", hint="write it again") from error


def written(settings: Settings) -> bytes:
    return msgspec.json.encode(settings, enc_hook=str)


def say(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    where = Path(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    try:
        serve(read(where), ready=say, reload=lambda: read(where))
    except FleetError as failure:
        sys.stderr.write(f"error: {failure.message}\nhint: {failure.hint}\n")
        sys.exit(failure.exit_code)
