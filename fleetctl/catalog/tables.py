"""Reading and writing the catalog's tables: comma-separated values, with comments behind #."""

import contextlib
import csv
import functools
import io
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from fleetctl.catalog import PRICES_FILE, Catalog, MachineType, Price, PriceRow
from fleetctl.errors import StoreFailure
from fleetctl.model.names import ProviderName
from fleetctl.model.services import Gpu, Market

_TYPES_FILE = "machine_types.csv"
PRICE_COLUMNS = ("provider", "type", "region", "zone", "market", "usd_per_hour", "source", "as_of")
_SPOT = {"yes": (True, True), "no": (False, True), "only": (True, False)}
"""What the column `spot` says of the two Markets, spot and on demand."""


@functools.cache
def packaged() -> tuple[tuple[MachineType, ...], tuple[PriceRow, ...]]:
    """The tables that come with fleetctl."""
    folder = resources.files("fleetctl.catalog")
    types = (folder / _TYPES_FILE).read_text(encoding="utf-8")
    prices = (folder / PRICES_FILE).read_text(encoding="utf-8")
    return tuple(machine_types(types, _TYPES_FILE)), tuple(price_rows(prices, PRICES_FILE))


def refreshed(path: Path, types: tuple[MachineType, ...], prices: tuple[PriceRow, ...]) -> Catalog:
    """The Catalog with the table of prices at `path` over those given; without one, as given."""
    try:
        found = path.stat()
        return _refreshed(path, found.st_mtime_ns, found.st_size, types, prices)
    except FileNotFoundError:
        return Catalog(types, prices)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreFailure(f"{path}: the prices cannot be read: {error}", hint=f"look at ls -l {path}") from error


@functools.lru_cache(maxsize=4)  # a process has one fleet, and tests have some
def _refreshed(
    path: Path, changed_ns: int, size: int, types: tuple[MachineType, ...], prices: tuple[PriceRow, ...]
) -> Catalog:
    return Catalog(types, prices + tuple(price_rows(path.read_text(encoding="utf-8"), str(path))))


def machine_types(text: str, file: str) -> Iterator[MachineType]:
    """The rows of a table of machine types. Raises `StoreFailure` for one that makes no sense."""
    for place, row in _rows(text, file):
        with _said(place):
            spot, on_demand = _SPOT[row["spot"]]
            yield MachineType(
                provider=ProviderName(row["provider"]),
                name=row["type"],
                gpu=Gpu(name=row["gpu"], count=int(row["count"])),
                gpu_memory_gb=float(row["gpu_memory_gb"]),
                vcpus=int(row["vcpus"]),
                ram_gb=float(row["ram_gb"]),
                local_disk_gb=int(row["local_disk_gb"]),
                spot=spot,
                on_demand=on_demand,
                quota_family=row["quota_family"],
            )


def price_rows(text: str, file: str) -> Iterator[PriceRow]:
    """The rows of a table of prices. One without a source and a date is refused: it must never be shown."""
    for place, row in _rows(text, file):
        with _said(place):
            usd = float(row["usd_per_hour"])
            if not 0 < usd < float("inf"):
                raise ValueError(f"{row['usd_per_hour']} is no price")
            if not row["source"]:
                raise ValueError("a price without a source")
            yield PriceRow(
                provider=ProviderName(row["provider"]),
                type=row["type"],
                region=row["region"],
                zone=row["zone"],
                market=Market(row["market"]),
                price=Price(usd_per_hour=usd, source=row["source"], as_of=_seconds(row["as_of"])),
            )


def write_prices(path: Path, rows: Iterable[PriceRow]) -> None:
    """Replace the table of prices, at once and whole: a reader sees the old one or the new one."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(PRICE_COLUMNS)
    for row in sorted(rows, key=lambda row: (row.provider, row.type, row.region, row.zone, row.market)):
        out.writerow(
            (
                row.provider,
                row.type,
                row.region,
                row.zone,
                row.market,
                f"{row.price.usd_per_hour:.6g}",
                row.price.source,
                datetime.fromtimestamp(row.price.as_of, UTC).isoformat(timespec="seconds"),
            )
        )
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StoreFailure(
            f"{path}: the prices cannot be written: {error.strerror}",
            hint="set FLEETCTL_HOME to a folder of yours, on a disk with free space; then: fleetctl doctor",
        ) from error


def _rows(text: str, file: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row by its columns' names, with its file and line."""
    lines = [
        (number, line) for number, line in enumerate(text.splitlines(), 1) if line and not line.lstrip().startswith("#")
    ]
    columns: list[str] | None = None
    for (number, _), cells in zip(lines, csv.reader(line for _, line in lines), strict=True):
        if columns is None:
            columns = cells
        elif len(cells) != len(columns):
            raise _broken(f"{file}:{number}", f"{len(cells)} columns instead of {len(columns)}")
        else:
            yield f"{file}:{number}", dict(zip(columns, cells, strict=True))


@contextlib.contextmanager
def _said(place: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise _broken(place, f"{error.args[0]!r} is missing or unknown") from error
    except ValueError as error:
        raise _broken(place, str(error)) from error


def _broken(place: str, why: str) -> StoreFailure:
    return StoreFailure(f"{place}: {why}", hint="write the table anew: fleetctl catalog refresh")


def _seconds(text: str) -> float:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at.timestamp()
