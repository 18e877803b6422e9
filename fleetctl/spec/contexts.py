"""Contexts: names of fleets, in a file of the user's own. It holds no secret: passwords come from the environment."""

import os
import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fleetctl.errors import NotFound, StoreFailure, UsageError
from fleetctl.paths import Home, usual_home
from fleetctl.spec.files import read
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.spec.suggestions import did_you_mean, nearest
from fleetctl.spec.trees import Entry, Mapping, Node, Scalar

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")
_ROOT = ("current", "contexts")
_SETTINGS = ("output", "log", "max_cost_per_hour", "timeout", "no_input")
"""Beside them at the top; `cli/settings.py` says what each may be."""
_FIELDS = ("home", "store", "password_env", "read_only", "confirm")
_FLAGS = ("read_only",)
_TYPED = "name"
"""The one value of `confirm`: the context's name is typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A fleet by name."""

    name: str
    folder: str | None = None
    """`home`: its folder on this machine; None: one of its own in the XDG state folder."""
    store: str | None = None
    """A postgresql:// address without a password, or a path; None: `fleet.db` in its folder."""
    password_env: str | None = None
    """The environment variable that holds the store's password."""
    read_only: bool = False
    typed: bool = False
    """`confirm: name`."""
    line: int = 0
    """Where it stands in the file; 0: not in a file yet."""

    def home(self) -> Home:
        """Its Home. The password that its variable holds is given to PostgreSQL's client, and written nowhere."""
        root = Path(self.folder).expanduser() if self.folder else usual_home().root / "contexts" / self.name
        if self.password_env is not None:
            password = os.environ.get(self.password_env)
            if password is None:
                raise UsageError(
                    f"the context {self.name} takes its store's password from {self.password_env}, which is not set",
                    hint=f"set {self.password_env}, or use another context: fleetctl context ls",
                )
            os.environ["PGPASSWORD"] = password
        return Home(
            root.absolute(), context=self.name, store_url=self.store, read_only=self.read_only, typed=self.typed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """All that the file says."""

    current: str = ""
    """The context where none is named; empty: none."""
    line: int = 0
    """Of `current`."""
    contexts: Map[str, Context] = field(default_factory=dict)
    settings: Map[str, object] = field(default_factory=dict)
    """What else stands at the top, as it is written."""


def read_contexts(file: Path) -> Contexts:
    """What the file says; nothing where there is none. Raises `FilesError` with every problem in it."""
    if not file.exists() or _is_bare(file):
        return Contexts()
    nodes, problems = read(file)
    if problems:
        raise FilesError(problems)
    reading = _Reading(str(file))
    found = reading.root(nodes)
    if reading.problems:
        raise FilesError(reading.problems)
    return found


def _is_bare(file: Path) -> bool:
    """Whether it holds nothing but comments, as after the last setting was taken out."""
    try:
        return all(not line.strip() or line.startswith("#") for line in file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return False  # told by whoever reads it


def chosen(known: Contexts, asked: str, file: Path) -> Context | None:
    """The context that is asked for by name, or the current one; None: neither. Raises `NotFound`."""
    name = asked or known.current
    if not name:
        return None
    found = known.contexts.get(name)
    if found is None:
        near = nearest(name, known.contexts)
        names = ", ".join(known.contexts) or "none yet: fleetctl context add NAME --home FOLDER"
        raise NotFound(
            f"there is no context {name!r} in {file}",
            hint=f"did you mean {near}?" if near else f"contexts: {names}",
        )
    return found


def write_contexts(file: Path, known: Contexts) -> None:
    """Put the file in place of what was there, whole. Raises `StoreFailure`."""
    from fleetctl.spec.rendering import to_yaml

    body: dict[str, object] = {**known.settings, **({"current": known.current} if known.current else {})}
    body["contexts"] = {one.name: _written(one) for one in known.contexts.values()}
    draft = file.with_suffix(".tmp")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(to_yaml(body), encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise StoreFailure(
            f"{file} cannot be written: {error.strerror}",
            hint=f"look at `ls -ld {file.parent}`, or set FLEETCTL_CONFIG to a file of yours",
        ) from error


def checked(context: Context) -> Context:
    """The context, once it is known to be right. Raises `UsageError`."""
    if not NAME.fullmatch(context.name):
        raise UsageError(
            f"{context.name!r} is no name for a context", hint="write small letters, digits and -, as in prod-eu"
        )
    if context.folder is None and context.store is None:
        raise UsageError(
            f"the context {context.name} has neither a home nor a store",
            hint=f"fleetctl context add {context.name} --home FOLDER, or --store URL",
        )
    if trouble := _store_trouble(context.store):
        raise UsageError(f"the context {context.name}: {trouble}", hint="name its variable with --password-env NAME")
    return context


def _written(one: Context) -> dict[str, object]:
    given = {
        "home": one.folder,
        "store": one.store,
        "password_env": one.password_env,
        "read_only": one.read_only or None,
        "confirm": _TYPED if one.typed else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _store_trouble(store: str | None) -> str:
    if store is None or "://" not in store:
        return ""
    return "a store's address holds no password" if urlsplit(store).password or "password=" in store else ""


class _Reading:
    """What has been read of one file, and what is wrong with it."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.problems: list[Problem] = []

    def root(self, nodes: Sequence[Node]) -> Contexts:
        top = self._mapping(nodes[0], "", (*_ROOT, *_SETTINGS))
        current, contexts = (top.get(name) if top else None for name in _ROOT)
        found: dict[str, Context] = {}
        if contexts is not None:
            inside = self._mapping(contexts.node, "contexts", None)
            for entry in inside.entries if inside else ():
                made = self._context(entry)
                if made is not None:
                    found[made.name] = made
        named = self._text(current, "current")
        if named is not None and current is not None and named not in found and not self.problems:
            self._wrong(current.line, "current", f"there is no context {named!r}" + did_you_mean(named, found))
        settings = {
            entry.key: entry.node.value
            for entry in (top.entries if top else ())
            if entry.key in _SETTINGS and isinstance(entry.node, Scalar)
        }
        return Contexts(current=named or "", line=current.line if current else 0, contexts=found, settings=settings)

    def _context(self, entry: Entry) -> Context | None:
        path = f"contexts.{entry.key}"
        inside = self._mapping(entry.node, path, _FIELDS)
        if inside is None:
            return None
        texts = {name: self._text(inside.get(name), f"{path}.{name}") for name in _FIELDS if name not in _FLAGS}
        confirm = texts.pop("confirm")
        if confirm not in (None, _TYPED):
            self._wrong(entry.line, f"{path}.confirm", f"{confirm!r} is no way to confirm", f"write confirm: {_TYPED}")
        made = Context(
            name=entry.key,
            folder=texts["home"],
            store=texts["store"],
            password_env=texts["password_env"],
            read_only=self._flag(inside.get("read_only"), f"{path}.read_only"),
            typed=confirm == _TYPED,
            line=entry.line,
        )
        try:
            return checked(made)
        except UsageError as error:
            self._wrong(entry.line, path, error.message, error.hint)
            return None

    def _mapping(self, node: Node, path: str, known: Sequence[str] | None) -> Mapping | None:
        if not isinstance(node, Mapping):
            self._wrong(node.line, path, "this must be a mapping", "see: fleetctl context add --help")
            return None
        for entry in node.entries:
            if known is not None and entry.key not in known:
                what = f"unknown field {entry.key!r}{did_you_mean(entry.key, known)}"
                self._wrong(entry.line, path, what, f"write one of: {', '.join(known)}")
        return node

    def _text(self, entry: Entry | None, path: str) -> str | None:
        if entry is None:
            return None
        if isinstance(entry.node, Scalar) and isinstance(entry.node.value, str) and entry.node.value:
            return entry.node.value
        self._wrong(entry.line, path, "this must be text")
        return None

    def _flag(self, entry: Entry | None, path: str) -> bool:
        if entry is None:
            return False
        if isinstance(entry.node, Scalar) and isinstance(entry.node.value, bool):
            return entry.node.value
        # A fleet that is meant to be only looked at is not changed because of a slip.
        self._wrong(entry.line, path, "this must be true or false", "write true or false")
        return True

    def _wrong(self, line: int, path: str, message: str, fix: str = "see: fleetctl context ls") -> None:
        self.problems.append(Problem(file=self._file, line=line, subject="", path=path, message=message, fix=fix))
