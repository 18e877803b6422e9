"""A Schedule from the words of a command, checked as one in the Service's file would be."""

from collections.abc import Mapping as Texts
from dataclasses import replace

from fleetctl.errors import UsageError
from fleetctl.model.records import dataclass
from fleetctl.model.services import Schedule, Service
from fleetctl.spec import nouns
from fleetctl.spec.problems import Problem
from fleetctl.spec.scaling_documents import ScheduleDoc
from fleetctl.spec.schedule_checks import schedule_problems, schedule_warnings
from fleetctl.spec.trees import Entry, Mapping, Scalar
from fleetctl.spec.units import duration_text
from fleetctl.spec.validation import Source, validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A Schedule that may be added to a Service."""

    schedule: Schedule
    warnings: tuple[str, ...]
    """What is allowed and hardly meant, in sentences."""


def addition(service: Service, words: Texts[str, str | int | None]) -> Addition:
    """The Schedule that `words` say (fields as in the file, None: not given) for a Service with those it has already.

    Raises `UsageError` with what is wrong and what to write instead.
    """
    given = {field: value for field, value in words.items() if value is not None}
    node = Mapping(
        line=1,
        entries=tuple(
            Entry(line=1, key=field, node=Scalar(line=1, value=value, text=str(value)))
            for field, value in given.items()
        ),
    )
    source = Source(file=service.name, line=1, subject=f"service/{service.name}", node=node)
    doc, problems = validated(ScheduleDoc, source)
    if doc is None:
        raise _refused(service, problems[0])
    made = nouns.schedule(doc)
    if made in service.schedule:
        return Addition(schedule=made, warnings=())
    together = replace(service, schedule=(*service.schedule, made))
    # What is wrong without it is not its doing.
    for problem in sorted({*schedule_problems(together, source)} - {*schedule_problems(service, source)}):
        raise _refused(service, problem)
    new = sorted({*schedule_warnings(together, source)} - {*schedule_warnings(service, source)})
    return Addition(schedule=made, warnings=tuple(f"{_sentence(problem)} - {problem.fix}" for problem in new))


def file_line(schedule: Schedule) -> str:
    """The Schedule as an entry of `schedule:` in a file."""
    parts = [f'cron: "{schedule.cron}"']
    if schedule.tz != Schedule(cron="").tz:
        parts.append(f"tz: {schedule.tz}")
    parts.append(f"for: {duration_text(schedule.duration_s)}")
    counts = (("min", schedule.min), ("max", schedule.max), ("replicas", schedule.replicas))
    parts += [f"{name}: {count}" for name, count in counts if count is not None]
    return "- {" + ", ".join(parts) + "}"


def _refused(service: Service, problem: Problem) -> UsageError:
    field = problem.path.rpartition(".")[2]
    where = f"{service.name}: {field}: " if field and not field.startswith("schedule[") else f"{service.name}: "
    return UsageError(where + _sentence(problem), hint=problem.fix)


def _sentence(problem: Problem) -> str:
    """Without the line in a file: here there is none."""
    return problem.message.replace(" of line 1", "")
