"""What is wrong with the files, all of it at once, each at its file and line."""

from collections.abc import Iterable, Sequence

from fleetctl.errors import SpecError
from fleetctl.model.records import dataclass

PROBLEMS_SHOWN_MAX = 50
"""Lines of one message. Nobody mends more in one go, and one wrong habit can repeat in a thousand files."""


class Unfit(ValueError):
    """A value that cannot be what it should be: why, and what to write instead."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One thing to mend."""

    file: str
    line: int
    """From 1."""
    subject: str
    """`service/chat`, `pool/gpus`, `fleet`, `preset/night`; empty when the file could not be read so far."""
    path: str
    """`scaling.behavior.up.policies[0].percent`; empty for the whole document."""
    message: str
    fix: str
    """What to write or to run."""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.subject, self.path) if part)
        return (
            f"{self.file}:{self.line}: {where}: {self.message}" if where else f"{self.file}:{self.line}: {self.message}"
        )


class FilesError(SpecError):
    """Everything that is wrong with the files. `problems` has all of it, the message the first ones, a line each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = sorted(set(problems))
        first = self.problems[0]
        if len(self.problems) == 1:
            super().__init__(str(first), hint=first.fix)
            return
        lines = [f"{problem} - {problem.fix}" for problem in self.problems[:PROBLEMS_SHOWN_MAX]]
        left = len(self.problems) - len(lines)
        if left:
            lines.append(f"… and {left} more problems")
        hint = f"mend the {len(self.problems)} places above, then run the command again"
        super().__init__("\n".join(lines), hint=hint)


def path_text(path: Sequence[str | int]) -> str:
    """`("scaling", "policies", 0)` as `scaling.policies[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
