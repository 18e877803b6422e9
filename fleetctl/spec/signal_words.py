"""Words of signals as people write them. Each function raises `Unfit` with what to write instead."""

import re
from urllib.parse import urlsplit

from fleetctl.decide.policies import policy_names
from fleetctl.model.outside import path_steps
from fleetctl.spec.problems import Unfit
from fleetctl.spec.suggestions import write_one_of
from fleetctl.spec.units import shown
from fleetctl.spec.words import text, word

STAGES = frozenset(
    {
        *("signal", "stabilised", "zero", "schedule", "override", "intent", "rates", "step", "limits"),
        *("failures", "budget", "quota", "policy"),
    }
)
"""Stages of a Decision; a signal of such a name could not be told from them."""
_NAME = r"^[a-z][a-z0-9_-]{0,39}$"
_STATED = frozenset({"fixed", "schedule"})
"""Policies that no load moves have nothing to add."""


def url(value: object) -> str:
    """An address of HTTP. One with credentials is refused, and not repeated."""
    found = word(value)
    try:
        parts = urlsplit(found)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Unfit("is no URL", "write something like http://prometheus:9090") from None
    if "@" in parts.netloc:
        raise Unfit("has credentials in it", "write token: {env: NAME}, or user and password: {env: NAME}, beside it")
    if parts.scheme not in ("http", "https") or not host:
        raise Unfit("is no URL of HTTP", "write something like http://prometheus:9090")
    if parts.fragment:
        raise Unfit("has a #fragment", "remove what begins with #")
    return found


def json_path(value: object) -> str:
    """The way to a value in a JSON document."""
    found = text(value)
    try:
        path_steps(found)
    except ValueError:
        raise Unfit(f"{shown(found)} is no path", "write $.queue.length, $.queues[0], or /queue/length") from None
    return found


def signal_name(value: object) -> str:
    """What a signal is called in Decisions."""
    found = word(value)
    if not re.fullmatch(_NAME, found):
        raise Unfit(f"{shown(found)} is no name of a signal", "write at most 40 small letters, digits, '_' and '-'")
    if found in STAGES or found in policy_names():
        raise Unfit(f"{found!r} is the name of a stage of decisions", f"write {found}-signal, or another name")
    return found


def signal_policies() -> tuple[str, ...]:
    return tuple(name for name in policy_names() if name not in _STATED)


def signal_policy(value: object) -> str:
    """A policy that can stand beside another."""
    found = word(value)
    known = signal_policies()
    if found not in known:
        what = "moves with no load" if found in _STATED else "is no policy"
        raise Unfit(f"{found!r} {what}", write_one_of(found, known))
    return found
