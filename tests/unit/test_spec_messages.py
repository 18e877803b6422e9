"""What a user reads of a file that is wrong, whole: line, place, what is wrong, what to write."""

from pathlib import Path

import pytest

from fleetctl.errors import SpecError
from fleetctl.spec.load import load
from fleetctl.spec.problems import PROBLEMS_SHOWN_MAX, FilesError, Problem

GOLDEN = Path(__file__).parent.parent / "golden"


def test_every_problem_of_a_file_is_said_at_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)

    with pytest.raises(FilesError) as caught:
        load([Path("spec_problems.yaml")])

    said = "\n".join(f"{problem}\n    {problem.fix}" for problem in caught.value.problems)
    assert f"{said}\n" == (GOLDEN / "spec_problems.txt").read_text(encoding="utf-8")


def test_one_problem_is_one_line_and_its_fix_is_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("kind: service\nname: a\nengine: rehearsal\nmodle: m\ngpu: L40S:1\n")

    with pytest.raises(SpecError) as caught:
        load([Path("a.yaml")])

    assert caught.value.message == "a.yaml:4: service/a: modle: unknown field; did you mean 'model'?"
    assert caught.value.hint == "write model"
    assert caught.value.exit_code == 2


def test_problems_of_all_files_come_together_in_the_order_of_the_files(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.yaml").write_text(f"kind: pool\nname: {name}\n")

    with pytest.raises(FilesError) as caught:
        load([tmp_path])

    assert [Path(problem.file).name for problem in caught.value.problems] == ["a.yaml", "b.yaml", "c.yaml"]
    assert caught.value.message.count("\n") == 2
    assert caught.value.hint == "mend the 3 places above, then run the command again"


def test_a_message_is_bounded() -> None:
    problems = [
        Problem(file="a.yaml", line=line, subject="", path="", message="is wrong", fix="mend it")
        for line in range(1, PROBLEMS_SHOWN_MAX + 8)
    ]

    error = FilesError(problems)

    assert len(error.problems) == PROBLEMS_SHOWN_MAX + 7
    assert error.message.splitlines()[-1] == "… and 7 more problems"
    assert len(error.message.splitlines()) == PROBLEMS_SHOWN_MAX + 1
