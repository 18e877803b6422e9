"""Durations, shares, GPUs and addresses as people write them. Each raises `Unfit` with what to write instead."""

import re
import shlex

from fleetctl.catalog import canonical
from fleetctl.model.services import Gpu
from fleetctl.spec.problems import Unfit

DURATION_PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
SHARE_PATTERN = r"^[0-9]+(\.[0-9]+)?%$"
GPU_PATTERN = r"^[A-Za-z][A-Za-z0-9._-]*(:[0-9]+)?$"

DURATION_MAX_S = 31 * 86400.0
"""A month: longer than any window, delay or time-out that means something, so a slip of the unit is found."""
GPU_COUNT_MAX = 16
"""No machine for rent has more GPUs."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_LIKE_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]+)")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_GPU = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)(?::([0-9]{1,4}))?")


def sort_of(value: object) -> str:
    """What a value is, in words."""
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "nothing"


def duration(value: object) -> float:
    """Seconds of `500ms`, `5s`, `10m`, `2h`, `1d` or plain 0."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit(f"must be a duration, not {sort_of(value)}", "write a duration such as 500ms, 5s, 10m, 2h or 1d")
    if value == 0 or value == "0":
        return 0.0
    text = str(value)
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Unfit(f"{shown(value)} is no duration", _duration_fix(text))
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > DURATION_MAX_S:
        raise Unfit(f"{text} is longer than a month", "write 31d or less")
    return seconds


def _duration_fix(text: str) -> str:
    if text.startswith("-"):
        return "write 0 or a duration such as 5s; it cannot be negative"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return f"add the unit: {text}s, {text}m or {text}h"
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        total = duration_text(sum(float(number) * _UNITS[unit] for number, unit in parts))
        return f"write one number with one unit: {total}"
    if found := _LIKE_DURATION.fullmatch(text):
        word = found[2].lower()
        unit = next((unit for unit in ("ms", "s", "m", "h", "d") if word.startswith(unit)), None)
        if unit:
            return f"write {found[1]}{'ms' if word.startswith('mil') else unit}"
    return "write a duration such as 500ms, 5s, 10m, 2h or 1d"


def duration_text(seconds: float) -> str:
    """The shortest exact way to write a duration in seconds."""
    for unit in ("d", "h", "m", "s"):
        if seconds >= _UNITS[unit] and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.15g}ms" if seconds else "0s"


def share(value: object) -> float:
    """A share in [0, 1] of `70%` or 0.7."""
    if isinstance(value, str) and (found := _SHARE.fullmatch(value)):
        number = float(found[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise Unfit(f"{shown(value)} is no share", "write a share such as 70% or 0.7")
    if number < 0:
        raise Unfit(f"{shown(value)} is negative", "write a share such as 70% or 0.7")
    if number > 1:
        fix = f"write {value:g}%" if isinstance(value, int | float) and value <= 100 else "write 100% or less"
        raise Unfit(f"{shown(value)} is more than everything", fix)
    return number


def share_text(value: float) -> str:
    """A share as per cent."""
    return f"{value * 100:.6g}%"


def gpu(value: object) -> Gpu:
    """`L40S:2`, `L40S` (one of them) or `any:1`."""
    if not isinstance(value, str):
        raise Unfit(f"must name GPUs, not be {sort_of(value)}", "write name:count, such as L40S:1, or any:1")
    found = _GPU.fullmatch(value)
    if found is None:
        raise Unfit(f"{shown(value)} names no GPUs", _gpu_fix(value))
    count = int(found[2]) if found[2] else 1
    if not 1 <= count <= GPU_COUNT_MAX:
        raise Unfit(f"{count} GPUs in {value}", f"write a count from 1 to {GPU_COUNT_MAX}")
    return Gpu(name=canonical(found[1]), count=count)


def _gpu_fix(text: str) -> str:
    if found := re.fullmatch(r"([0-9]+) *[xX*] *([A-Za-z][A-Za-z0-9._-]*)", text):
        return f"write {found[2]}:{found[1]}"
    if "/" in text or re.fullmatch(r"[^:]+:[0-9]+g(\.[0-9]+gb)?(:[0-9]+)?", text, re.IGNORECASE):
        return f"parts of a GPU are not supported yet: write {text.split(':')[0]}:1"
    if found := re.fullmatch(r"([A-Za-z][A-Za-z0-9._-]*):([0-9]+GB)(?::([0-9]+))?", text, re.IGNORECASE):
        return (
            f"memory is not chosen here: write {found[1]}:{found[3] or 1}, or {found[1]}-{found[2].upper()}:1 as a name"
        )
    if "," in text:
        parts = ", ".join(part.strip() for part in text.split(","))
        return f"write alternatives as a list: [{parts}]"
    return "write name:count, such as L40S:1, or any:1"


def words(value: object) -> object:
    """A command line given as one text, taken apart as a POSIX shell would; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return shlex.split(value)
    except ValueError as error:
        raise Unfit(f"cannot be taken apart: {error}", "close the quotes, or write a list of words") from error


def listen_address(value: object) -> str:
    """`host:port` to listen at; port 0 takes a free one."""
    fix = "write host:port, such as 127.0.0.1:8080"
    if not isinstance(value, str):
        raise Unfit(f"must be host:port, not {sort_of(value)}", fix)
    host, colon, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare and bare == host) or re.search(r"[\s/@]", bare):
        raise Unfit(f"{shown(value)} is no host:port", fix)
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise Unfit(f"{port!r} is no port", "write a port from 0 to 65535")
    return value


def shown(value: object) -> str:
    """A value as a message shows it: short."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
