"""The composition root: from a folder and its settings to a store, ports and a controller."""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from fleetctl.errors import FleetError, MissingDependency, NotFound, ReadOnly, StoreFailure, UsageError
from fleetctl.model.abilities import Abilities
from fleetctl.model.instances import LaunchSpec
from fleetctl.model.names import ProviderName
from fleetctl.paths import Home, config_file, home_named, usual_home
from fleetctl.spec.fleet import FleetConfig
from fleetctl.store import SqlStore, open_store

if TYPE_CHECKING:
    # Imported where they are made: most commands only read the store.
    import psutil

    from fleetctl.controller.controllers import Controller
    from fleetctl.controller.observe import Ports
    from fleetctl.ports import Provider


def home() -> Home:
    """The Home that is meant: FLEETCTL_HOME's, that of the context, or the usual one. Nothing is created.

    Raises `NotFound` for a context that there is not, and `SpecError` where the file of contexts is wrong.
    """
    named = home_named()
    if named is not None:
        return named
    asked = os.environ.get("FLEETCTL_CONTEXT", "")
    file = config_file()
    if not asked and not file.exists():
        return usual_home()
    from fleetctl.spec.contexts import chosen, read_contexts  # only who has contexts pays for reading them

    context = chosen(read_contexts(file), asked, file)
    return usual_home() if context is None else context.home()


def load_config(home: Home) -> FleetConfig:
    """The fleet's settings as `up` last saved them, or the defaults; with the store of the context, if it has one."""
    return in_context(home, _saved_config(home))


def in_context(home: Home, config: FleetConfig) -> FleetConfig:
    """The settings, with the store of the Home's context."""
    return config if home.store_url is None else replace(config, store_url=home.store_url)


def _saved_config(home: Home) -> FleetConfig:
    try:
        return msgspec.json.decode(home.config.read_bytes(), type=FleetConfig)
    except FileNotFoundError:
        return FleetConfig()
    except OSError as error:
        raise StoreFailure(
            f"{home.config}: the fleet's settings cannot be read: {error.strerror}",
            hint=f"look at `ls -ld {home.root} {home.config}`, or set FLEETCTL_HOME to a folder of yours",
        ) from error
    except msgspec.DecodeError as error:
        raise StoreFailure(
            f"{home.config}: the fleet's settings cannot be read: {error}",
            hint="run `fleetctl up` with the fleet's files: it writes them anew",
        ) from error


def settings_text(home: Home) -> str:
    """The settings as they are saved, as text to be kept for `undo`, without the address of the store, which may hold
    a password and is never taken back; empty: there are none, or they cannot be read."""
    try:
        if not home.config.exists():
            return ""
        return msgspec.json.encode(replace(_saved_config(home), store_url=None)).decode()
    except FleetError:
        return ""


def settings_of(text: str, *, present: FleetConfig) -> FleetConfig:
    """What `settings_text` gave, with the store of the present ones."""
    return replace(msgspec.json.decode(text, type=FleetConfig), store_url=present.store_url)


def save_config(home: Home, config: FleetConfig) -> None:
    """Keep the settings for commands that read no files: `run`, `daemon`, `ps`."""
    draft = home.config.with_suffix(".tmp")
    with _writing(home):
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(config)))
        draft.replace(home.config)


@contextmanager
def _writing(home: Home) -> Iterator[None]:
    """A home that cannot be written, told as one of our errors."""
    try:
        yield
    except OSError as error:
        raise StoreFailure(
            f"{home.root}: nothing can be written there: {error.strerror}: {error.filename}",
            hint="set FLEETCTL_HOME to a folder of yours, on a disk with free space; then: fleetctl doctor",
        ) from error


def refuse_read_only(home: Home) -> None:
    """Raise `ReadOnly` where the context says that nothing is changed."""
    if home.read_only:
        raise ReadOnly(
            f"the context {home.context} is read-only: nothing is changed there",
            hint=f"look at it: fleetctl context show {home.context}; another one: fleetctl context ls",
        )


def fleet_store(home: Home, config: FleetConfig, *, read_only: bool = False) -> SqlStore:
    """The fleet's store. Raises `NotFound` where there is none to be read, `ReadOnly` where it must not be written."""
    if not read_only:
        refuse_read_only(home)
    if config.store_url is None and not read_only:
        with _writing(home):
            home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return open_store(config.store_url or str(home.store), read_only=read_only)
    except NotFound as error:
        begin = "fleetctl up" if Path("fleet").is_dir() else "fleetctl init, then: fleetctl up"
        raise NotFound(f"there is no fleet in {home.root} yet", hint=begin) from error


def provider_names() -> tuple[ProviderName, ...]:
    """Every Provider that can be used here."""
    from fleetctl.providers import names

    return tuple(ProviderName(name) for name in names())


def abilities_of(name: str, settings: Mapping[str, object]) -> Abilities:
    """What the Provider's machines can do. Settings that are wrong are told by those who use them."""
    from fleetctl.providers import abilities_of

    try:
        return abilities_of(name, settings)
    except UsageError:
        return Abilities()


LOCAL = ProviderName("local")
"""This machine: the one Provider that needs no mention in the fleet's file."""
SSH = ProviderName("ssh")
OWNED = frozenset((LOCAL, SSH))
"""Machines of one's own: nobody bills for them."""


def configured(config: FleetConfig) -> tuple[ProviderName, ...]:
    """The Providers that this fleet may use: `local`, and those that its file names."""
    return tuple(dict.fromkeys((LOCAL, *(ProviderName(name) for name in config.providers))))


def providers(home: Home, config: FleetConfig, *, launches: bool = False) -> "dict[ProviderName, Provider]":
    """The Providers that this fleet may use, each made for it. Raises `UsageError` for settings that are wrong.

    With `launches` the fleet's SSH key is made where machines are rented and there is none yet.
    """
    from fleetctl.node.ssh import SshShell
    from fleetctl.providers import Setup, load

    names = configured(config)
    key = _public_key(home) if launches and not OWNED.issuperset(names) else ""
    return {
        name: load(name)(
            Setup(
                fleet=config.name,
                home=home,
                options=_options(name, config.providers.get(name, {})),
                ssh_key=key,
                shell=SshShell(home),
            )
        )
        for name in names
    }


def _options(name: ProviderName, options: Mapping[str, object]) -> Mapping[str, object]:
    """A provider's settings; an inventory that is a file of its own is read."""
    inventory = options.get("inventory")
    if name != SSH or not isinstance(inventory, str):
        return options
    from fleetctl.spec.inventory import read_inventory

    return {**options, "inventory": read_inventory(inventory)}


def _public_key(home: Home) -> str:
    """The key that rented machines let in; empty where nothing is installed that could use it."""
    from fleetctl.node.keys import public_key

    try:
        return public_key(home)
    except MissingDependency:
        return ""  # machines with agents that are reached otherwise need none; clouds that insist on one say so


@asynccontextmanager
async def open_providers(home: Home, config: FleetConfig) -> "AsyncIterator[Mapping[ProviderName, Provider]]":
    """The Providers of a fleet, closed at the end."""
    made = providers(home, config)
    try:
        yield made
    finally:
        for provider in made.values():
            await provider.close()


@asynccontextmanager
async def connected(home: Home, config: FleetConfig, *, gateway: bool = True) -> "AsyncIterator[Ports]":
    """The ports of a fleet, closed at the end."""
    from fleetctl.controller.clock import SystemClock
    from fleetctl.controller.observe import Ports
    from fleetctl.gateway.supervised import SupervisedGateway
    from fleetctl.node.links import NodeLinks
    from fleetctl.scrape.outside import OutsideSources
    from fleetctl.scrape.source import HttpSignals

    clock = SystemClock()
    ports = Ports(
        clock=clock,
        providers=providers(home, config, launches=True),
        nodes=NodeLinks(home),
        signals=HttpSignals(clock),
        outside=OutsideSources(clock),
        gateway=SupervisedGateway(
            listen=config.gateway_listen,
            socket=home.gateway_socket,
            log=home.logs / "gateway.log",
            options=gateway_options(config),
        )
        if gateway
        else None,
    )
    try:
        if isinstance(ports.gateway, SupervisedGateway):
            await ports.gateway.start()
        yield ports
    finally:
        for provider in ports.providers.values():
            await provider.close()
        await ports.nodes.close()
        await ports.signals.close()
        if ports.outside is not None:
            await ports.outside.close()
        if ports.gateway is not None:
            await ports.gateway.close()


async def join_fleet(
    url: str,
    *,
    name: str,
    listen: str,
    socket: Path,
    options: Sequence[str] = (),
    ready: Callable[[str], None] = lambda address: None,
    fenced_s: float | None = None,
) -> None:
    """Serve as one more gateway of the fleet in the store at `url`, until SIGTERM or SIGINT.

    `name` is its own, and stays the same when it is started again; `socket` is a path for a new socket of this gateway
    alone; `options` are further words for `python -m fleetctl.gateway`. Raises `NotFound` where there is no fleet,
    `Conflict` for a port that is taken, or when another gateway takes the name.
    """
    from fleetctl.decide.gateway_leases import FENCED_S
    from fleetctl.gateway.joined import Place
    from fleetctl.gateway.joining import serve_joined
    from fleetctl.gateway.leashed import runs_for
    from fleetctl.store.fleet_links import StoreFleetLink

    with closing(open_store(url, read_only=True)):
        pass  # a fleet is joined, and never made
    store = open_store(url)
    holder = this_holder()

    def place(address: str) -> Place:
        beats, grants = store.gateways()
        before = {one.incarnation for one in beats if one.name == name}
        before |= {one.incarnation for one in grants if one.name == name}
        over = sorted(one for one in before if holder_is_dead(one) and not runs_for(_parts(one)[1]))
        host, _, _ = holder.partition("/")
        return Place(name=name, incarnation=holder, address=address, host=host, replaces=over[-1] if over else "")

    try:
        await serve_joined(
            StoreFleetLink(store),
            place,
            listen=listen,
            socket=socket,
            options=options,
            ready=ready,
            fenced_s=FENCED_S if fenced_s is None else fenced_s,
        )
    finally:
        store.close()


def gateway_options(config: FleetConfig) -> tuple[str, ...]:
    """How the fleet's gateway is started, besides where it listens."""
    given = {
        "--workers": str(config.gateway_workers) if config.gateway_workers != 1 else None,
        "--tls-certificate": config.gateway_certificate,
        "--tls-key": config.gateway_key,
        "--access-log": config.gateway_access_log,
        "--access-log-sample": str(config.gateway_access_log_sample) if config.gateway_access_log else None,
        "--metrics-listen": config.gateway_metrics_listen,
    }
    return tuple(word for option, value in given.items() if value is not None for word in (option, value))


def controller(
    store: SqlStore,
    ports: "Ports",
    config: FleetConfig,
    *,
    home: Home | None = None,
    boundary: Callable[[str], None] | None = None,
) -> "Controller":
    """A controller of the fleet; it does not hold the Lease yet. With `home` it minds settings that change there."""
    from fleetctl.controller.controllers import Controller, no_boundary

    saved = saved_settings(home, config) if home is not None else lambda: config
    return Controller(
        store,
        ports,
        fleet=config.name,
        holder=this_holder(),
        holder_is_dead=holder_is_dead,
        boundary=boundary or no_boundary,
        max_cost_per_hour=lambda: saved().max_cost_per_hour,
        complete=_complete(home, config),
        auth=lambda: saved().gateway_auth == "keys",
    )


def _complete(home: Home | None, config: FleetConfig) -> Callable[[LaunchSpec], LaunchSpec]:
    """What a launch in a cloud carries from here. One's own machines, and this one, are made ready when reached."""
    if home is None or set(configured(config)) <= OWNED:
        return lambda spec: spec
    from fleetctl.node.launches import completed

    key = _public_key(home)
    return lambda spec: spec if spec.offer.provider in OWNED else completed(spec, key, config.registry_mirrors)


def saved_settings(home: Home, config: FleetConfig) -> Callable[[], FleetConfig]:
    """The settings as `up` last saved them: a daemon that runs must mind what the fleet may cost, and who may enter,
    when that is set meanwhile.

    Settings that are gone or cannot be read lift no limit: those before hold.
    """
    saved_ns = _changed_ns(home)

    def current() -> FleetConfig:
        nonlocal config, saved_ns
        changed_ns = _changed_ns(home)
        if changed_ns is not None and changed_ns != saved_ns:
            with suppress(StoreFailure):
                config = load_config(home)
                saved_ns = changed_ns
        return config

    return current


def _changed_ns(home: Home) -> int | None:
    try:
        return home.config.stat().st_mtime_ns
    except OSError:
        return None


def this_holder() -> str:
    """This process as the holder of a Lease: `host/pid/start`."""
    import psutil

    return f"{os.uname().nodename}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def holder_process(holder: str) -> "psutil.Process | None":
    """The process behind a holder, when it is of this machine and alive."""
    host, pid, started = _parts(holder)
    if host != os.uname().nodename:
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        # One that was killed stays a zombie until its parent, or whoever took its place, has heard of it.
        same = f"{process.create_time():.2f}" == started and process.status() != psutil.STATUS_ZOMBIE
        return process if same else None
    except psutil.Error:
        return None


def holder_is_dead(holder: str) -> bool:
    """Whether the holder was a process of this machine that is certainly gone."""
    host, _, _ = _parts(holder)
    return host == os.uname().nodename and holder_process(holder) is None


def _parts(holder: str) -> tuple[str, int, str]:
    host, _, rest = holder.partition("/")
    pid, _, started = rest.partition("/")
    return host, int(pid) if pid.isdigit() else -1, started


def lease_is_live(store: SqlStore, now: float) -> bool:
    """Whether a controller holds the fleet right now."""
    lease = store.lease()
    return lease is not None and lease.expires_at > now and not holder_is_dead(lease.holder)


def log_of(home: Home, name: str) -> Path:
    with _writing(home):
        home.logs.mkdir(parents=True, exist_ok=True)
    return home.logs / f"{name}.log"
