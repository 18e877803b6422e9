"""The page that `man fleetctl` shows, from the same lines as completion."""

from fleetctl.cli.commands import PANELS, commands, example
from fleetctl.cli.options import LINES
from fleetctl.cli.topics import TOPICS


def page(version: str) -> str:
    """The page, as roff."""
    parts = [
        f'.TH FLEETCTL 1 "" "fleetctl {version}" "fleetctl manual"',
        ".SH NAME\nfleetctl \\- a terminal control plane for GPU fleets",
        ".SH SYNOPSIS\n.B fleetctl\n.I COMMAND\n[\\fIOPTIONS\\fR]",
    ]
    for panel in PANELS:
        parts.append(f".SH {_text(panel).upper()}")
        for command in commands():
            if command.panel == panel:
                for path in LINES:
                    if path.split()[0] == command.name:
                        parts.append(_command(path))
                        if shown := example(command, path):
                            parts.append(f".PP\n.nf\n$ {_text(shown)}\n.fi")
    titles = {"exit-codes": "EXIT STATUS", "output": "OUTPUT", "env": "ENVIRONMENT"}
    parts += [f".SH {titles[topic]}\n.nf\n{_lines(text)}.fi" for topic, text in TOPICS.items()]
    return "\n".join(parts) + "\n"


def _command(path: str) -> str:
    summary, options, arguments = LINES[path]
    words = " ".join(f"[\\fI{_text(param.upper())}\\fR{' ...' if many else ''}]" for param, _, many, _ in arguments)
    lines = [f".SS fleetctl {_text(path)} {words}".rstrip(), f"{_text(summary)}."]
    for names, param, takes, helped in options:
        given = ", ".join(f"\\fB{_text(name)}\\fR" for name in names.split())
        value = f" \\fI{_text(param.upper())}\\fR" if takes else ""
        lines.append(f".TP\n{given}{value}\n{_text(helped) or _text(param)}")
    return "\n".join(lines)


def _lines(text: str) -> str:
    return "".join(f"{_text(line)}\n" for line in text.splitlines())


def _text(text: str) -> str:
    """As it stands: roff takes a backslash, a hyphen and a leading dot or quote for its own."""
    shown = text.replace("\\", "\\e").replace("-", "\\-")
    shown = "".join(letter if letter.isascii() else f"\\[u{ord(letter):04X}]" for letter in shown)
    return f"\\&{shown}" if shown[:1] in (".", "'") else shown
