"""`fleetctl completion` (Files): Print the completion script of bash, zsh or fish, or the manual page.

Example: fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
"""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from fleetctl import __version__
from fleetctl.cli import manual, shells
from fleetctl.cli.output import Format, Output, document

app = typer.Typer(add_completion=False)


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    MAN = "man"


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish; man: the manual page")],
    output: Output = Format.TABLE,
) -> None:
    """Print the completion script of a shell; the same scripts lie in completions/."""
    text = script(shell)
    if output in (Format.JSON, Format.YAML):
        document({"shell": shell, "script": text}, output)
    else:
        sys.stdout.write(text)


def script(shell: Shell) -> str:
    """The script, or the manual page."""
    match shell:
        case Shell.BASH:
            return shells.bash()
        case Shell.ZSH:
            return shells.zsh()
        case Shell.FISH:
            return shells.fish()
        case Shell.MAN:
            return manual.page(__version__)
