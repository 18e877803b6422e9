"""What the last word of a line may become: a subcommand, an option, a value, or a name from the local store."""

from collections.abc import Sequence

from fleetctl.cli.completing import answer
from fleetctl.cli.options import LINES


def ends(words: Sequence[str]) -> Sequence[str]:
    """Of the words after `fleetctl`, the last being written; nothing where nothing is known. Asks no network."""
    before, word = words[:-1], words[-1]
    path = next((one for one in (" ".join(before[:2]), *before[:1]) if one in LINES), "")
    if not path:
        return ()
    inner = [one.removeprefix(f"{path} ") for one in LINES if one.startswith(f"{path} ")] if len(before) == 1 else []
    _, options, arguments = LINES[path]
    written = [name for names, *_ in options for name in names.split()] if word.startswith("-") else []
    takes = next((takes for names, _, takes, _ in options if before[-1] in names.split()), "")
    values = takes or next((one[1] for one in arguments if one[1].startswith("one of ")), "")
    listed = values.removeprefix("one of ").split() if values.startswith("one of ") else []
    return [one for one in (*inner, *written, *listed, *answer(words).split()) if one.startswith(word)]
