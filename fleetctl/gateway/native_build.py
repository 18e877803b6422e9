"""`python -m fleetctl.gateway.native_build`: compile the gateway's hot path with mypyc, from the sources that run.

It needs a C compiler, mypy and setuptools, takes about a minute, and leaves nothing outside `native.FOLDER`. The
gateway is the same without it, and slower.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from fleetctl.gateway import native

_LIBRARY: Final = "fleetctl_gateway"
"""All modules are one library, so that they call each other directly; each module's own file only points into it."""


def main() -> int:
    """0: it is made; else it is not, and why was said: 69 (EX_UNAVAILABLE) for want of a tool, 1 for anything else.

    A build that was there before is then as it was.
    """
    if sys.argv[1:] == ["--compile"]:
        _compile()
        return 0
    lacking = _lacking()
    if lacking:
        print(f"no native build can be made: {lacking}", file=sys.stderr)  # noqa: T201  a tool's own words
        return os.EX_UNAVAILABLE
    with tempfile.TemporaryDirectory(prefix="fleetctl-native-") as scratch:
        room = Path(scratch)
        package = room / "fleetctl"
        shutil.copytree(native.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", native.FOLDER.name))
        # The copy is compiled: what is edited meanwhile makes this build one of other sources, and never a wrong one.
        done = subprocess.run(
            (sys.executable, "-m", "fleetctl.gateway.native_build", "--compile"),
            cwd=room, env={**os.environ, "PYTHONPATH": scratch, "FLEETCTL_NATIVE": "0"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            print(f"{done.stdout}\nerror: the compilation failed", file=sys.stderr)  # noqa: T201
            return 1
        _put_in_place(room / "lib", native.digest(package))
    print(f"the gateway's hot path is native now: {native.FOLDER}")  # noqa: T201
    return 0


def _lacking() -> str:
    try:
        import mypyc.build  # noqa: F401
        import setuptools  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        return f"{error.name} is not installed; `pip install mypy setuptools`"
    if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
        return "there is no C compiler; install gcc or clang"
    return ""


def _compile() -> None:
    """In the folder that holds the copy of the package."""
    from mypyc.build import mypycify
    from setuptools import setup

    paths = [f"fleetctl/gateway/{name.replace('.', '/')}.py" for name in native.MODULES]
    options = ["--config-file=", "--cache-dir=mypy-cache", "--ignore-missing-imports", "--no-warn-unused-configs"]
    extensions = mypycify(
        [*options, *paths], opt_level="3", debug_level="0", target_dir="c", group_name=_LIBRARY, verbose=False
    )
    setup(
        name=_LIBRARY,
        ext_modules=extensions,
        packages=[],
        script_args=["-q", "build_ext", "--build-lib", "lib", "--build-temp", "objects"],
    )


def _put_in_place(made: Path, sources: str) -> None:
    fresh = native.FOLDER.with_name(native.FOLDER.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    files = {}
    for path in sorted(made.rglob("*.so")):
        module = ".".join((*path.relative_to(made).parent.parts, path.name.partition(".")[0]))
        files[module] = f"{module}.so"
        shutil.copyfile(path, fresh / files[module])
    native.record(fresh, files, sources)
    shutil.rmtree(native.FOLDER, ignore_errors=True)
    fresh.rename(native.FOLDER)


if __name__ == "__main__":
    sys.exit(main())
