"""The names that the last word of a line may become, from the local store alone: `fleetctl __complete WORDS…`.

It runs at each Tab: of what takes long to import it needs SQLite alone; it asks no network, and says nothing where
anything is amiss.
"""

# pathlib takes a quarter of the time that a Tab may:
# ruff: noqa: PTH100, PTH111, PTH113, PTH118, PTH123

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def answer(words: "Sequence[str]") -> str:
    """One name a line; `words` are those after `fleetctl`, up to the one that is being written."""
    try:
        return "".join(f"{name}\n" for name in _names(words))
    except Exception:  # noqa: BLE001 - a traceback in the middle of somebody's line helps nobody
        return ""


def _names(words: "Sequence[str]") -> list[str]:
    from fleetctl.cli.options import LINES

    before, word = list(words[:-1]), words[-1] if words else ""
    path = next((path for path in (" ".join(before[:2]), *before[:1]) if path in LINES), "")
    if before[-1:] == ["--context"]:
        return [name for name in _contexts() if name.startswith(word)]
    _, options, arguments = LINES.get(path, ("", (), ()))
    takes = next((takes for names, _, takes, _ in options if before and before[-1] in names.split()), "")
    if not takes:
        valued = {name for names, _, takes, _ in options if takes for name in names.split()}
        given = _positional(before[len(path.split()) :], valued)
        at = arguments[min(given, len(arguments) - 1)] if arguments else None
        takes = at[1] if at is not None and (given < len(arguments) or at[2]) else ""
    kinds = takes.removeprefix("name of ").split() if takes.startswith("name of ") else []
    kind, slash, _ = word.partition("/")
    found = []
    for one in kinds:
        names = _contexts() if one == "context" else _stored(one)
        if slash:
            names = [f"{one}/{name}" for name in names if kind == one]
        found += [name for name in names if name.startswith(word)]
    return list(dict.fromkeys(found))


def _positional(words: "Sequence[str]", valued: set[str]) -> int:
    """How many arguments are given already."""
    count, skip = 0, False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            skip = word in valued or word in ("-o", "--columns", "--sort-by", "--context", "--confirm")
        else:
            count += 1
    return count


def _stored(kind: str) -> list[str]:
    path = _store()
    if not os.path.isfile(path):
        return []
    from fleetctl.store.names import names

    return names(path, kind)


def _store() -> str:
    """The path of the store that a command would open; empty: it is no file of this machine."""
    root, store = _home()
    if store is None:
        with_settings = os.path.join(root, "fleet.json")
        if os.path.isfile(with_settings):
            with open(with_settings, encoding="utf-8") as file:
                text = file.read()
            if '"store_url": "' in text or '"store_url":"' in text:
                import json

                store = json.loads(text).get("store_url")
    if store is None:
        return os.path.join(root, "fleet.db")
    return "" if "://" in store else store


def _home() -> "tuple[str, str | None]":
    """The folder of the fleet and the address of its store, as `wiring.home` finds them."""
    if named := os.environ.get("FLEETCTL_HOME"):
        return os.path.abspath(named), os.environ.get("FLEETCTL_STORE")
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    usual = os.path.join(os.path.abspath(state), "fleetctl")
    known = _read_contexts()
    name = os.environ.get("FLEETCTL_CONTEXT") or known.get("", {}).get("current", "")
    if not name:
        return usual, None
    context = known.get(name, {})
    folder = context.get("home") or os.path.join(usual, "contexts", name)
    return os.path.abspath(os.path.expanduser(folder)), context.get("store")


def _contexts() -> list[str]:
    return sorted(name for name in _read_contexts() if name)


def _read_contexts() -> dict[str, dict[str, str]]:
    """The file of contexts, as `context add` writes it, line by line: a reader of all of YAML takes longer than a Tab
    may. `current` stands under the empty name.
    """
    usual = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    folder = os.environ.get("FLEETCTL_HOME") or os.path.join(usual, "fleetctl")
    path = os.environ.get("FLEETCTL_CONFIG") or os.path.join(folder, "config.yaml")
    found: dict[str, dict[str, str]] = {}
    if not os.path.isfile(path):
        return found
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    name, deep = "", 0
    for line in lines:
        key, colon, value = line.partition(":")
        indent = len(key) - len(key.lstrip())
        key, value = key.strip().strip("'\""), value.strip().strip("'\"")
        if not colon or key.startswith("#"):
            continue
        if not indent:
            name, deep = "", 0
            if key == "current":
                found[""] = {"current": value}
        elif not deep or indent == deep:
            name, deep = key, indent
            found[name] = {}
        else:
            found[name][key] = value
    return found
