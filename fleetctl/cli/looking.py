"""Options of the commands that list things and look again: each is declared once, and means the same everywhere."""

from typing import Annotated

import typer

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again and again; a pipe gets changes as JSON")]
Interval = Annotated[str, typer.Option("--interval", help="Between two looks with --watch")]
EVERY = "2s"
"""The interval where none is given: replicas start and drain within seconds, and nobody reads faster."""
Chosen = Annotated[
    str | None,
    typer.Option(
        "--selector", "-l", metavar="LABEL=VALUE", help="Only those with these labels: team=search,tier!=test,canary"
    ),
]
