"""Completion scripts of bash, zsh and fish, from the lines that commands take (`options.py`).

Commands, options and closed sets stand in the script, which starts no process for them. Names are asked of
`fleetctl __complete`, which reads the local store.
"""

from collections.abc import Iterator

from fleetctl.cli.asked import FLAGS, FORMS, VALUED
from fleetctl.cli.commands import commands
from fleetctl.cli.everywhere import FLAGS as MORE_FLAGS
from fleetctl.cli.everywhere import VALUED as MORE_VALUED
from fleetctl.cli.options import LINES

EVERYWHERE = ("--help", *FLAGS, *MORE_FLAGS, *VALUED, *MORE_VALUED)
"""Options of every command, besides `-o`."""
SKIPPED = ("-o", "--output", *VALUED, *MORE_VALUED)
"""Those of them that take a word more, which is no command."""
NAMED = "name of "
CLOSED = "one of "


def bash() -> str:
    """The script for bash."""
    words = "\n".join(
        f"        {_case(path)}) words={_single(' '.join(_below(path)))} ;;" for path in ["", *LINES] if _below(path)
    )
    options = "\n".join(
        f"        {_case(path)}) options={_single(' '.join(_options(path)))} ;;" for path in LINES if LINES[path][1]
    )
    values = "\n".join(
        f"        {'|'.join(_single(f'{path} {name}') for name in names)}) {_bash_value(takes)}; return ;;"
        for path, names, takes in _values()
    )
    named = "|".join(_single(path) for path in LINES if _names_first(path))
    return f"""\
# bash completion for fleetctl; install: fleetctl completion bash > ~/.local/share/bash-completion/completions/fleetctl
_fleetctl_names() {{
    local names
    names=$(command fleetctl __complete "${{COMP_WORDS[@]:1:COMP_CWORD-1}}" "$word" 2>/dev/null)
    COMPREPLY=($(compgen -W "$names" -- "$word"))
}}
_fleetctl() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} path='' at words='' options=''
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${{COMP_WORDS[at]}}" in
            {"|".join(SKIPPED)}) ((at++)) ;;
            -*) ;;
            *) case " {" ".join(_groups())} " in
                   *" $path "*) [ -n "$path" ] && {{ path="$path ${{COMP_WORDS[at]}}"; break; }} ;;
               esac
               [ -n "$path" ] && break
               path=${{COMP_WORDS[at]}} ;;
        esac
    done
    case "$before" in
        -o|--output) COMPREPLY=($(compgen -W "{" ".join(FORMS)}" -- "$word")); return ;;
        --context) _fleetctl_names; return ;;
    esac
    case "$path $before" in
{values}
    esac
    case "$path" in
{words}
    esac
    case "$path" in
{options}
    esac
    if [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$options {" ".join(EVERYWHERE)} --output -o" -- "$word"))
    elif [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    else
        case "$path" in
            {named}) _fleetctl_names ;;
            *) compopt -o default 2>/dev/null ;;
        esac
    fi
}}
complete -F _fleetctl fleetctl
"""


def zsh() -> str:
    """The script for zsh."""
    listed = "\n".join(f"        {_single(f'{one.name}:{_colon(one.summary)}')}" for one in commands())
    words = "\n".join(
        f"        {_case(path)}) compadd -- {' '.join(_below(path))}; return ;;" for path in LINES if _below(path)
    )
    options = "\n".join(f"        {_case(path)}) options=({_zsh_options(path)}) ;;" for path in LINES if LINES[path][1])
    values = "\n".join(
        f"        {'|'.join(_single(f'{path} {name}') for name in names)}) {_zsh_value(takes)}; return ;;"
        for path, names, takes in _values()
    )
    named = "|".join(_single(path) for path in LINES if _names_first(path))
    everywhere = " ".join(_single(name) for name in (*EVERYWHERE, "--output", "-o"))
    return f"""\
#compdef fleetctl
# zsh completion for fleetctl; install: fleetctl completion zsh > a folder of $fpath, as _fleetctl
_fleetctl_names() {{
    local -a names
    names=(${{(f)"$(command fleetctl __complete "${{(@)words[2,CURRENT-1]}}" "$PREFIX" 2>/dev/null)"}})
    compadd -- $names
}}
_fleetctl() {{
    local -a listed options
    local where='' at
    listed=(
{listed}
    )
    for ((at = 2; at < CURRENT; at++)); do
        case $words[at] in
            {"|".join(SKIPPED)}) ((at++)) ;;
            -*) ;;
            *) if [[ -n $where ]]; then
                   [[ " {" ".join(_groups())} " == *" $where "* ]] && where="$where $words[at]"
                   break
               fi
               where=$words[at] ;;
        esac
    done
    case $words[CURRENT-1] in
        -o|--output) compadd -- {" ".join(FORMS)}; return ;;
        --context) _fleetctl_names; return ;;
    esac
    case "$where $words[CURRENT-1]" in
{values}
    esac
    if [[ $PREFIX == -* ]]; then
        case $where in
{options}
        esac
        _describe option options
        compadd -- {everywhere}
        return
    fi
    case $where in
        '') _describe command listed; return ;;
{words}
        {named}) _fleetctl_names ;;
        *) _files ;;
    esac
}}
if [[ $funcstack[1] == _fleetctl ]]; then
    _fleetctl "$@"
else
    compdef _fleetctl fleetctl
fi
"""


def fish() -> str:
    """The script for fish."""
    rows = [
        f"complete -c fleetctl -n '__fleetctl_at \"\"' -f -a {one.name} -d {_single(one.summary)}" for one in commands()
    ]
    rows.append("complete -c fleetctl -n '__fleetctl_at \"\"' -f -a help -d 'Help of a command, or of a topic'")
    for path in LINES:
        for name in _below(path):
            summary = LINES[f"{path} {name}"][0] if f"{path} {name}" in LINES else ""
            rows.append(f"complete -c fleetctl -n '__fleetctl_at \"{path}\"' -f -a {name} -d {_single(summary)}")
        for names, _, takes, helped in LINES[path][1]:
            given = " ".join(_fish_name(name) for name in names.split())
            value = _fish_value(takes)
            rows.append(f"complete -c fleetctl -n '__fleetctl_at \"{path}\"' {given}{value} -d {_single(helped)}")
        if _names_first(path):
            rows.append(f"complete -c fleetctl -n '__fleetctl_at \"{path}\"' -f -a '(__fleetctl_names)'")
    rows.append(f"complete -c fleetctl -s o -l output -x -a '{' '.join(FORMS)}' -d 'Form of the output'")
    rows += [f"complete -c fleetctl {_fish_name(name)}" for name in (*FLAGS, *MORE_FLAGS, "--help")]
    rows += [f"complete -c fleetctl {_fish_name(name)} -x" for name in (*VALUED, *MORE_VALUED) if name != "--context"]
    rows.append("complete -c fleetctl -l context -x -a '(__fleetctl_names)'")
    listed = "\n".join(rows)
    return f"""\
# fish completion for fleetctl; install: fleetctl completion fish > ~/.config/fish/completions/fleetctl.fish
function __fleetctl_names
    set -l words (commandline -opc)
    command fleetctl __complete $words[2..-1] (commandline -ct) 2>/dev/null
end
function __fleetctl_at
    set -l words (commandline -opc)
    set -l path
    set -l skip 0
    for word in $words[2..-1]
        if test $skip = 1
            set skip 0
        else if contains -- $word {" ".join(SKIPPED)}
            set skip 1
        else if not string match -q -- '-*' $word
            if test (count $path) -eq 0
                set path $word
            else if contains -- "$path" {" ".join(_groups())}
                set path "$path $word"
                break
            else
                break
            end
        end
    end
    test "$path" = "$argv[1]"
end
{listed}
"""


def _groups() -> list[str]:
    return [path for path in LINES if any(other.startswith(f"{path} ") for other in LINES)]


def _below(path: str) -> list[str]:
    """The words that may follow: commands, those of a group, or a closed set that the first argument is of."""
    if not path:
        return [*(one.name for one in commands()), "help", "--version"]
    if below := [other.removeprefix(f"{path} ") for other in LINES if other.startswith(f"{path} ")]:
        return below
    arguments = LINES[path][2]
    return arguments[0][1].removeprefix(CLOSED).split() if arguments and arguments[0][1].startswith(CLOSED) else []


def _options(path: str) -> list[str]:
    return [name for names, _, _, _ in LINES[path][1] for name in names.split()]


def _values() -> Iterator[tuple[str, list[str], str]]:
    """(command, names of an option, what it takes) of each that takes a word."""
    for path, (_, options, _) in LINES.items():
        for names, _, takes, _ in options:
            if takes:
                yield path, names.split(), takes


def _names_first(path: str) -> bool:
    return any(takes.startswith(NAMED) for _, takes, _, _ in LINES[path][2])


def _bash_value(takes: str) -> str:
    if takes.startswith(CLOSED):
        return f'COMPREPLY=($(compgen -W "{takes.removeprefix(CLOSED)}" -- "$word"))'
    return (
        "_fleetctl_names" if takes.startswith(NAMED) else "compopt -o default 2>/dev/null" if takes == "file" else ":"
    )


def _zsh_value(takes: str) -> str:
    if takes.startswith(CLOSED):
        return f"compadd -- {takes.removeprefix(CLOSED)}"
    return "_fleetctl_names" if takes.startswith(NAMED) else "_files" if takes == "file" else ":"


def _fish_value(takes: str) -> str:
    if takes.startswith(CLOSED):
        return f" -x -a '{takes.removeprefix(CLOSED)}'"
    return {"": "", "file": " -r"}.get(takes, " -x -a '(__fleetctl_names)'" if takes.startswith(NAMED) else " -x")


def _fish_name(name: str) -> str:
    if name.startswith("--"):
        return f"-l {name[2:]}"
    return f"-s {name[1:]}" if len(name) == 2 else f"-o {name[1:]}"


def _zsh_options(path: str) -> str:
    return " ".join(
        _single(f"{name}:{_colon(helped)}") for names, param, _, helped in LINES[path][1] for name in names.split()
    )


def _case(path: str) -> str:
    return _single(path)


def _single(text: str) -> str:
    """In single quotes; the scripts hold none within, since no two of these shells quote them alike."""
    return "'" + text.replace("'", "’").replace("\\", "/") + "'"


def _colon(text: str) -> str:
    return text.replace(":", ";")
