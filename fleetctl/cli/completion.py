"""`fleetctl completion` (Files): Print the completion script of bash, zsh or fish."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from fleetctl.cli.commands import commands
from fleetctl.cli.output import Format, Output, document

app = typer.Typer(add_completion=False)

FORMATS = "table json yaml name"
SUBCOMMANDS = {
    "catalog": "ls refresh",
    "daemon": "start stop status",
    "keys": "create ls revoke",
    "provider": "ls setup permissions",
    "rollout": "status pause resume undo",
}
"""Of the commands that have any."""


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(
    shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish")], output: Output = Format.TABLE
) -> None:
    """Print the completion script of a shell; the same scripts lie in completions/."""
    text = script(shell)
    if output in (Format.JSON, Format.YAML):
        document({"shell": shell, "script": text}, output)
    else:
        sys.stdout.write(text)


def script(shell: Shell) -> str:
    """The script, from the table alone: it starts no process when a key is pressed."""
    match shell:
        case Shell.BASH:
            return _bash()
        case Shell.ZSH:
            return _zsh()
        case Shell.FISH:
            return _fish()


def _bash() -> str:
    names = " ".join(command.name for command in commands())
    subcommands = "\n".join(
        f"""\
    elif [ "${{COMP_WORDS[1]}}" = {name} ] && [ "$COMP_CWORD" -eq 2 ]; then
        COMPREPLY=($(compgen -W "{words}" -- "$word"))"""
        for name, words in SUBCOMMANDS.items()
    )
    return f"""\
# bash completion for fleetctl; install: fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
_fleetctl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{names} --help --version" -- "$word"))
    elif [ "$before" = -o ] || [ "$before" = --output ]; then
        COMPREPLY=($(compgen -W "{FORMATS}" -- "$word"))
{subcommands}
    elif [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "--help --output -o" -- "$word"))
    else
        compopt -o default
    fi
}}
complete -F _fleetctl fleetctl
"""


def _zsh() -> str:
    lines = "\n".join(f"        '{command.name}:{_quoted(command.summary)}'" for command in commands())
    subcommands = "\n".join(
        f"    elif [[ $words[2] == {name} ]] && (( CURRENT == 3 )); then\n        compadd {words}"
        for name, words in SUBCOMMANDS.items()
    )
    return f"""\
#compdef fleetctl
# zsh completion for fleetctl; install: fleetctl completion zsh > a folder of $fpath, as _fleetctl
_fleetctl() {{
    local -a commands
    commands=(
{lines}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
    elif [[ $words[CURRENT-1] == (-o|--output) ]]; then
        compadd {FORMATS}
{subcommands}
    else
        _files
    fi
}}
_fleetctl "$@"
"""


def _fish() -> str:
    lines = "\n".join(
        f"complete -c fleetctl -n __fish_use_subcommand -f -a {command.name} -d '{_quoted(command.summary)}'"
        for command in commands()
    )
    subcommands = "\n".join(
        f"complete -c fleetctl -n '__fish_seen_subcommand_from {name}' -f -a '{words}'"
        for name, words in SUBCOMMANDS.items()
    )
    return f"""\
# fish completion for fleetctl; install: fleetctl completion fish > ~/.config/fish/completions/fleetctl.fish
{lines}
{subcommands}
complete -c fleetctl -s o -l output -x -a '{FORMATS}' -d 'Output format'
"""


def _quoted(text: str) -> str:
    return text.replace("'", "").replace(":", ";")
