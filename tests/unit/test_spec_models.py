"""`model:` in files: malformed addresses refused at their line, and warnings of what may change or not fit."""

from pathlib import Path

import pytest

from fleetctl.spec.load import load
from fleetctl.spec.problems import FilesError, Problem

COMMIT = "5206a32e0bd3067aef1ce90f5528ade7d866253f"


def written(folder: Path, model: str, *, engine: str = "vllm", more: str = "") -> Path:
    path = folder / "chat.yaml"
    path.write_text(f"kind: service\nname: chat\nengine: {engine}\nimage: a:1\nmodel: {model}\ngpu: L40S:1\n{more}")
    return path


def warnings(path: Path) -> list[Problem]:
    return [one for one in load([path], warnings=True).warnings if one.path == "model"]


@pytest.mark.parametrize(
    ("model", "message", "fix"),
    [
        ("hff://org/name", "no model comes from hff://; did you mean hf://?", "write hf://organisation/name@revision"),
        ("huggingface://org/name", "did you mean hf://?", "write hf://organisation/name@revision"),
        ("gcs://bucket/a", "did you mean gs://?", "write gs://bucket/folder"),
        ("S3://bucket/a", "did you mean s3://?", "write s3://bucket/folder"),
        ("ollama://llama", "no model comes from ollama://", "write one of:"),
        ("https://huggingface.co/org/name", "is a page of the hub", "write hf://org/name"),
        ("file://models/a", "from its root", "write file:///models/a"),
    ],
)
def test_a_malformed_model_is_refused_at_its_line(tmp_path: Path, model: str, message: str, fix: str) -> None:
    path = written(tmp_path, model)

    with pytest.raises(FilesError) as caught:
        load([path])

    assert caught.value.message.startswith(f"{path}:5: service/chat: model: ")
    assert message in caught.value.message
    assert fix in caught.value.hint


def test_a_model_that_is_not_pinned_is_warned_of(tmp_path: Path) -> None:
    (warning,) = warnings(written(tmp_path, "hf://org/name"))

    assert (warning.line, warning.message) == (5, "no revision is written, so two nodes may hold different weights")
    assert "write hf://org/name@COMMIT" in warning.fix
    assert "@main is a branch or a tag" in warnings(written(tmp_path, "hf://org/name@main"))[0].message


@pytest.mark.parametrize(
    ("model", "engine"),
    [
        (f"hf://org/name@{COMMIT}", "vllm"),
        ("hf://org/name@5206a32", "vllm"),
        ("s3://bucket/name", "vllm"),
        ("/models/name", "vllm"),
        ("hf://org/name", "rehearsal"),
    ],
)
def test_what_is_pinned_or_not_fetched_is_not(tmp_path: Path, model: str, engine: str) -> None:
    assert warnings(written(tmp_path, model, engine=engine)) == []


FLEET = "---\nkind: fleet\nproviders: {aws: {regions: [us-east-1]%s}, ssh: {hosts: [10.0.0.1]}}\n"


def test_weights_that_no_disk_holds_are_warned_of(tmp_path: Path) -> None:
    large = f"hf://org/Llama-405B@{COMMIT}"

    (warning,) = warnings(written(tmp_path, large, more=FLEET % ""))

    assert "weights of about 810 GB" in warning.message
    assert "machines of aws get a disk of 200 GB" in warning.message
    assert warning.fix == "write disk_gb: 900 under providers: aws in kind: fleet"
    assert warnings(written(tmp_path, large, more=FLEET % ", disk_gb: 900")) == []
    assert warnings(written(tmp_path, f"hf://org/Llama-70B@{COMMIT}", more=FLEET % "")) == []


def test_machines_that_may_be_rented_elsewhere_only_are_not_looked_at(tmp_path: Path) -> None:
    more = "placement: {providers: [ssh]}\n" + FLEET % ""

    assert warnings(written(tmp_path, f"hf://org/Llama-405B@{COMMIT}", more=more)) == []
