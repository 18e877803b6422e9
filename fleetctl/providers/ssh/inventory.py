"""The machines that the fleet's file names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetctl.errors import UsageError
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Gpu
from fleetctl.providers._shared.options import Options

SSH = ProviderName("ssh")

_KEYS = frozenset(("name", "host", "port", "user", "gpu", "price_per_hour"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One line of the inventory."""

    name: str
    host: str
    port: int = 22
    user: str = "root"
    gpu: Gpu
    price_per_hour: float | None = None

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user}@{host}:{self.port}"


def read_inventory(options: Mapping[str, object]) -> tuple[Machine, ...]:
    """The machines under `providers.ssh.inventory`. Raises `UsageError`."""
    Options(SSH, options, ("inventory",))
    lines = options.get("inventory")
    if not isinstance(lines, Sequence) or isinstance(lines, str) or not lines:
        raise UsageError(
            "providers.ssh.inventory: a list of machines is wanted",
            hint="as in inventory: [{name: rack1, host: 10.0.0.7, user: ops, gpu: H100:8}]",
        )
    machines = tuple(_machine(line, f"providers.ssh.inventory[{number}]") for number, line in enumerate(lines))
    for key in ("name", "address"):
        seen: set[str] = set()
        for machine in machines:
            value = str(getattr(machine, key))
            if value in seen:
                # Twice in the list, one machine would be two Offers.
                raise UsageError(f"providers.ssh.inventory: two machines have the {key} {value}")
            seen.add(value)
    return machines


def _machine(line: object, where: str) -> Machine:
    if not isinstance(line, Mapping):
        raise UsageError(f"{where}: name, host and gpu are wanted, not {line!r}")
    for key in line:
        if key not in _KEYS:
            raise UsageError(f"{where}.{key}: there is no such setting", hint=f"one of: {', '.join(sorted(_KEYS))}")
    host, port, user = line.get("host"), line.get("port", 22), line.get("user", "root")
    name, gpu, price = line.get("name", host), line.get("gpu"), line.get("price_per_hour")
    if not isinstance(host, str) or not host or host.startswith("-"):
        raise UsageError(f"{where}.host: a name or an address is wanted, not {host!r}")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise UsageError(f"{where}.port: a port is wanted, not {port!r}")
    if not isinstance(user, str) or not user or user.startswith("-") or "@" in user:
        raise UsageError(f"{where}.user: a user is wanted, not {user!r}")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}.name: a name is wanted, not {name!r}")
    if price is not None and (not isinstance(price, int | float) or isinstance(price, bool) or price < 0):
        raise UsageError(f"{where}.price_per_hour: US dollars are wanted, not {price!r}")
    return Machine(
        name=name,
        host=host,
        port=port,
        user=user,
        gpu=_gpu(gpu, where),
        price_per_hour=None if price is None else float(price),
    )


def _gpu(text: object, where: str) -> Gpu:
    product, _, count = str(text).partition(":")
    if not isinstance(text, str) or not product or (count and not (count.isdigit() and int(count) > 0)):
        raise UsageError(f"{where}.gpu: NAME:COUNT is wanted, as in H100:8, not {text!r}")
    return Gpu(name=product.upper(), count=int(count or 1))
