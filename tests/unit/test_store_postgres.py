"""PostgreSQL addresses that lead nowhere: what is said, and that no password is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port

import fleetctl
from fleetctl.errors import StoreFailure
from fleetctl.store import open_store


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_server_that_is_not_there_is_named_without_the_password(scheme: str) -> None:
    port = free_port()

    with pytest.raises(StoreFailure) as caught:
        open_store(f"{scheme}://me:hush@127.0.0.1:{port}/fleet")

    said = f"{caught.value.message} {caught.value.hint}"
    assert f"postgresql://127.0.0.1:{port}/fleet" in said and f"psql postgresql://127.0.0.1:{port}/fleet" in said
    assert "hush" not in said


def test_an_address_that_is_none_is_refused_without_being_quoted() -> None:
    with pytest.raises(StoreFailure) as caught:
        open_store("postgresql://me:hush@here:port/fleet?no_such_option=hush")

    assert "postgresql://USER@HOST" in caught.value.hint
    assert "hush" not in caught.value.message


def test_without_the_driver_the_extra_is_named() -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from fleetctl.errors import MissingDependency; from fleetctl.store import open_store\n"
        "try: open_store('postgresql://here/fleet')\n"
        "except MissingDependency as error: print(error.hint)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(fleetctl.__file__).parent.parent)},
    )

    assert ran.stdout.strip() == "pip install 'fleetctl[postgres]'"
