"""The native build of the gateway, where there is one; `make test-native` makes it and runs all gateway tests on it."""

import os
import subprocess
import sys

import pytest

from fleetctl.gateway import native
from fleetctl.gateway.plane import DataPlane
from fleetctl.gateway.scheduler.arbiter import FairArbiter

LOOKS = (
    "import fleetctl.gateway.plane as plane, fleetctl.gateway.native as native; print(plane.__file__, native.said())"
)


def looked(wish: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "FLEETCTL_NATIVE": wish}
    return subprocess.run((sys.executable, "-c", LOOKS), env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def build() -> native.Build:
    made = native.found()
    if isinstance(made, str):
        pytest.skip(f"{made}: run `make test-native`")
    return made


def test_turned_off_it_is_python() -> None:
    said = looked("0").stdout

    assert "/gateway/plane.py " in said
    assert said.endswith("Python (turned off by FLEETCTL_NATIVE=0)\n")


def test_asked_for_it_is_native_or_an_error() -> None:
    made, done = native.found(), looked("1")

    if isinstance(made, str):
        assert done.returncode != 0
        assert f"FLEETCTL_NATIVE=1 asks for a native gateway, but {made}" in done.stderr
    else:
        assert done.stdout.endswith(" native\n")


def test_each_of_its_modules_is_loaded_from_it(build: native.Build) -> None:
    names = [f"fleetctl.gateway.{name}" for name in native.MODULES]
    looks = f"import importlib; [print(importlib.import_module(name).__file__) for name in {names!r}]"

    done = subprocess.run(
        (sys.executable, "-c", looks), env={**os.environ, "FLEETCTL_NATIVE": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert set(names) <= build.files.keys()
    assert [file for file in done.stdout.split() if not file.startswith(str(native.FOLDER))] == []


@pytest.mark.skipif(os.environ.get("FLEETCTL_NATIVE") != "1", reason="the tests run on Python: see `make test-native`")
def test_these_tests_run_on_it() -> None:
    for one in (DataPlane, FairArbiter):
        assert type(one.__dict__["__init__"]).__name__ != "function", "a compiled method is none of Python's own"
