"""Request traces: when requests arrived and how long they were. Read from CSV, cut into windows, thinned."""

import gzip
import io
import math
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from random import Random

from fleetctl.errors import SpecError, UsageError

COLUMNS = ("arrival_s", "input_tokens", "output_tokens")
REQUESTS_LIMIT = 5_000_000
"""Ten times the largest published day of one service; holds a wrong file to some 80 MB of memory."""
ARRIVAL_LIMIT_S = 1e9
"""Thirty years: beyond it a column holds dates or milliseconds, not seconds since the first request."""
TOKENS_LIMIT = 100_000_000
"""A hundred times the longest context sold; beyond it a column is mixed up."""

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: seconds since its Trace began, and its lengths in tokens."""

    arrival_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in order of arrival. Sixteen bytes each; a `Request` is made only when one is looked at."""

    arrivals_s: "array[float]"
    """Type `d`, ascending, none before zero."""
    input_tokens: "array[int]"
    """Type `I`."""
    output_tokens: "array[int]"
    """Type `I`."""
    duration_s: float
    """How long it lasts, quiet end included."""
    note: str = ""
    """Where it comes from and what was done to it, for people."""

    def __len__(self) -> int:
        return len(self.arrivals_s)

    def __iter__(self) -> Iterator[Request]:
        for arrival_s, input_tokens, output_tokens in zip(
            self.arrivals_s, self.input_tokens, self.output_tokens, strict=True
        ):
            yield Request(arrival_s=arrival_s, input_tokens=input_tokens, output_tokens=output_tokens)

    def slice(self, start_s: float, length_s: float) -> "Trace":
        """The requests of `start_s <= arrival < start_s + length_s`; its time begins at zero again."""
        if not (start_s >= 0 and 0 < length_s < math.inf):
            raise UsageError(
                f"no window of {length_s:g} s from {start_s:g} s can be cut out of a trace",
                hint="give a start of zero or more and a length above zero, in seconds",
            )
        first = bisect_left(self.arrivals_s, start_s)
        last = bisect_left(self.arrivals_s, start_s + length_s, first)
        return Trace(
            arrivals_s=array("d", (round(arrival_s - start_s, 6) for arrival_s in self.arrivals_s[first:last])),
            input_tokens=self.input_tokens[first:last],
            output_tokens=self.output_tokens[first:last],
            duration_s=max(0.0, min(length_s, self.duration_s - start_s)),
            note=_noted(self.note, f"{length_s:g} s from {start_s:.1f} s"),
        )

    def busiest_window(self, length_s: float) -> "Trace":
        """The window of that length with the most requests; it begins at its first request."""
        best_start_s, best_count, first = 0.0, 0, 0
        arrivals_s = self.arrivals_s
        for index, arrival_s in enumerate(arrivals_s):
            while arrival_s - arrivals_s[first] >= length_s:
                first += 1
            if index - first + 1 > best_count:
                best_start_s, best_count = arrivals_s[first], index - first + 1
        return self.slice(best_start_s, length_s)

    def thin(self, requests_limit: int, seed: int) -> "Trace":
        """At most `requests_limit` requests, drawn evenly by seed; the shape stays. Said in the note."""
        if len(self) <= requests_limit:
            return self
        kept = sorted(Random(seed).sample(range(len(self)), requests_limit))
        return Trace(
            arrivals_s=array("d", (self.arrivals_s[index] for index in kept)),
            input_tokens=array("I", (self.input_tokens[index] for index in kept)),
            output_tokens=array("I", (self.output_tokens[index] for index in kept)),
            duration_s=self.duration_s,
            note=_noted(self.note, f"thinned to {requests_limit} of {len(self)} requests"),
        )


def read_trace(path: Path) -> Trace:
    """The recorded trace of a CSV file, plain or gzip, with the columns `arrival_s,input_tokens,output_tokens`.

    Other columns are passed over. The trace ends with its last arrival. Raises `SpecError` at `file:line`.
    """
    lines = _lines(path)
    columns = [name.strip().strip('"').lower() for name in next(lines, "").split(",")]
    at_arrival, at_input, at_output = (_column(path, columns, name) for name in COLUMNS)
    arrivals_s, input_tokens, output_tokens = array("d"), array("I"), array("I")
    last_s = 0.0
    for number, line in enumerate(lines, start=2):
        cells = line.split(",")
        try:
            arrival_s, inputs, outputs = float(cells[at_arrival]), int(cells[at_input]), int(cells[at_output])
        except (ValueError, IndexError):
            if not line.strip():
                continue
            raise _refusal(path, number, columns, cells, last_s) from None
        # `not (… <= …)`, so that NaN, which is neither smaller nor larger than anything, is refused too.
        if not (last_s <= arrival_s < ARRIVAL_LIMIT_S and 0 <= inputs < TOKENS_LIMIT and 0 <= outputs < TOKENS_LIMIT):
            raise _refusal(path, number, columns, cells, last_s)
        arrivals_s.append(arrival_s)
        input_tokens.append(inputs)
        output_tokens.append(outputs)
        last_s = arrival_s
        if len(arrivals_s) > REQUESTS_LIMIT:
            raise SpecError(
                f"{path}:{number}: the trace has more than {REQUESTS_LIMIT:,} requests",
                hint="cut it into shorter files first",
            )
    if not arrivals_s:
        raise SpecError(
            f"{path}:1: the trace has no requests", hint="give a file with at least one row under its header"
        )
    return Trace(
        arrivals_s=arrivals_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        duration_s=last_s,
        note=path.name,
    )


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file, unpacked if it is gzip by its first bytes."""
    number = 0
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            if path.suffix == ".gz" and not packed:
                raise SpecError(
                    f"{path}:1: the file is called .gz but is not gzip",
                    hint=f"rename it to {path.stem}, or pack it: gzip {path.stem}",
                )
            with gzip.open(file) if packed else file as content, io.TextIOWrapper(content, "utf-8-sig") as text:
                for number, line in enumerate(text, start=1):  # noqa: B007 - named in the errors below
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SpecError(
            f"{path}:{number + 1}: the gzip file is cut off or damaged: {error}", hint="fetch the file again"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}:{number + 1}: the file is not text", hint=_WANTED) from error
    except OSError as error:
        raise UsageError(
            f"the trace {path} cannot be read: {error.strerror or error}", hint="give the path of a CSV or CSV.gz file"
        ) from error


_WANTED = f"a trace is CSV with the header {','.join(COLUMNS)}"


def _column(path: Path, columns: Sequence[str], name: str) -> int:
    if name in columns:
        return columns.index(name)
    # A column that is wanted itself was not meant to be another.
    meant = get_close_matches(name, [column for column in columns if column not in COLUMNS], n=1)
    hint = f"rename the column {meant[0]!r} to {name!r}" if meant else _WANTED
    raise SpecError(f"{path}:1: the column {name!r} is missing", hint=hint)


def _refusal(path: Path, number: int, columns: Sequence[str], cells: Sequence[str], last_s: float) -> SpecError:
    """What is wrong with a row that was refused."""
    at = f"{path}:{number}"
    if len(cells) < len(columns):
        return SpecError(f"{at}: the row has {len(cells)} cells, its header has {len(columns)}", hint=_WANTED)
    for name in COLUMNS:
        cell = cells[columns.index(name)].strip()
        try:
            value: float = float(cell) if name == "arrival_s" else int(cell)
        except ValueError:
            kind = "a number of seconds" if name == "arrival_s" else "a whole number of tokens"
            return SpecError(f"{at}: {name} is {cell!r}, not {kind}", hint=_WANTED)
        if math.isnan(value):
            return SpecError(f"{at}: {name} is NaN", hint="leave out requests whose arrival is not known")
        if value < 0:
            return SpecError(f"{at}: {name} is {cell}, below zero", hint="count seconds from the first request")
        limit = ARRIVAL_LIMIT_S if name == "arrival_s" else TOKENS_LIMIT
        if value >= limit:
            return SpecError(
                f"{at}: {name} is {cell}, beyond {limit:g}",
                hint="check the unit: seconds since the first request, tokens",
            )
    arrival = cells[columns.index("arrival_s")].strip()
    return SpecError(
        f"{at}: arrival_s is {arrival}, before the row above it ({last_s:g})", hint="sort the rows by arrival_s"
    )


def _noted(note: str, more: str) -> str:
    return f"{note}; {more}" if note else more
