"""Presets: policies with parameters, from the files of fleetctl or of the user."""

from dataclasses import dataclass, replace
from pathlib import Path

from fleetctl.errors import NotFound
from fleetctl.model.services import REACTIVE, Scaling
from fleetctl.spec.checks import scaling_problems
from fleetctl.spec.files import SUFFIXES, read
from fleetctl.spec.nouns import tuned
from fleetctl.spec.parameters import parameter_problems
from fleetctl.spec.preset_files import preset_names, presets_folder
from fleetctl.spec.problems import FilesError, Problem
from fleetctl.spec.scaling_documents import PresetDoc
from fleetctl.spec.suggestions import did_you_mean, write_one_of
from fleetctl.spec.validation import Source, validated


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A Policy with parameters."""

    name: str
    """As `scaling.policy` names it."""
    why: str
    """One line: for whom it is, and where it comes from."""
    file: Path
    scaling: Scaling
    """The preset's values over the defaults of its rule; its min and max say nothing."""


def preset(name: str, *, folder: Path = Path()) -> Preset:
    """The preset that `name` names: one that comes with fleetctl, or a YAML file, its path taken from `folder`.

    Raises `NotFound`, and `FilesError` with everything that is wrong with the file.
    """
    file = _file(name, folder)
    nodes, problems = read(file)
    if problems:
        raise FilesError(problems)
    source = Source(file=str(file), line=nodes[0].line, subject=f"preset/{file.stem}", node=nodes[0])
    if len(nodes) > 1:
        line = nodes[1].line
        raise FilesError(
            [
                Problem(
                    file=source.file,
                    line=line,
                    subject=source.subject,
                    path="",
                    message="a second document",
                    fix="write one preset a file",
                )
            ]
        )
    doc, problems = validated(PresetDoc, source)
    if doc is None:
        raise FilesError(problems)
    base = Scaling() if doc.policy == Scaling().policy else REACTIVE
    scaling = replace(tuned(doc, base), preset=name, policy=doc.policy)
    # A preset for `fixed` may leave the count to each Service.
    wrong = (
        *scaling_problems(scaling, source, (), needs_replicas=False),
        *parameter_problems(scaling, doc, source, ()),
    )
    if wrong:
        raise FilesError(wrong)
    return Preset(name=name, why=doc.why, file=file, scaling=scaling)


def presets() -> tuple[Preset, ...]:
    """Those that come with fleetctl."""
    return tuple(preset(name) for name in preset_names())


def _file(name: str, folder: Path) -> Path:
    if name.endswith(SUFFIXES) or "/" in name:
        file = folder / Path(name).expanduser()
        if not file.is_file():
            raise NotFound(
                f"there is no preset file {file}", hint=f"write it, or name one of: {', '.join(preset_names())}"
            )
        return file
    known = preset_names()
    if name not in known:
        raise NotFound(f"there is no preset {name!r}{did_you_mean(name, known)}", hint=write_one_of(name, known))
    return presets_folder() / f"{name}.yaml"
