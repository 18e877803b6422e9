"""Tokens as an engine counted them, read from the end of its answer without parsing the rest."""

import re
from typing import Final

USAGE_WINDOW_BYTES: Final = 4096
"""Of an answer's end looked into: `usage` and what engines put behind it is a few hundred bytes."""
_CACHED: Final = b"cache"
_NEEDLE: Final = b'"usage"'
_BEGINS: Final = re.compile(rb'"usage"\s*+:\s*+\{')
_ENTRY: Final = re.compile(
    rb'"(prompt_tokens|input_tokens|completion_tokens|output_tokens|cached_tokens|cache_read_input_tokens)"'
    rb"\s*+:\s*+([0-9]{1,12})(?![0-9.eE])"
)
_LENGTH_BYTES: Final = 1024
"""Of the `usage` object itself."""
_PLAIN: Final = re.compile(
    rb'"usage": ?+\{"prompt_tokens": ?+([0-9]{1,12}), ?+"total_tokens": ?+[0-9]{1,12}, ?+"completion_tokens": ?+'
    rb"([0-9]{1,12})[,}]"
)
"""As vLLM and those that follow it write it."""

NO_USAGE: Final = (0, 0, 0)


def usage_in(tail: bytes) -> tuple[int, int, int]:
    """Tokens of the prompt, of the answer, and those of the prompt that were cached; zeros: not said.

    From the last `usage` object in an answer's last bytes, as OpenAI's, Anthropic's and the engines' APIs say it.

    Within a JSON string a quote is escaped, so text that a model wrote is never taken for it.
    """
    start = tail.rfind(_NEEDLE, max(0, len(tail) - USAGE_WINDOW_BYTES))
    if start < 0:
        return NO_USAGE
    plain = _PLAIN.match(tail, start)
    if plain is not None and tail.find(_CACHED, start) < 0:
        return int(plain[1]), int(plain[2]), 0
    begins = _BEGINS.match(tail, start)
    if begins is None:
        return NO_USAGE
    taken = made = cached = 0
    for name, number in _ENTRY.findall(tail, begins.end(), start + _LENGTH_BYTES):
        if name[:1] == b"p" or name[:2] == b"in":
            taken = int(number)
        elif name[:3] == b"cac":
            cached = int(number)
        else:
            made = int(number)
    return taken, made, cached
