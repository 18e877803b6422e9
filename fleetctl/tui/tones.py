"""Colours and glyphs. No meaning rests on colour: every state has a word, a glyph and a colour of its own."""

from rich.style import Style

# The palette of Okabe and Ito, which people who see colours differently can tell apart.
_STYLES = {
    "good": Style(color="#009E73"),
    "busy": Style(color="#56B4E9"),
    "warn": Style(color="#E69F00"),
    "bad": Style(color="#D55E00", bold=True),
    "plan": Style(color="#CC79A7"),
    "quiet": Style(dim=True),
    "strong": Style(bold=True),
}
_NONE = Style()

_STATES = {
    "ready": ("●", "*", "good"),
    "idle": ("○", "o", "quiet"),
    "down": ("○", "o", "quiet"),
    "scaling": ("▲", "^", "busy"),
    "starting": ("▲", "^", "busy"),
    "rolling": ("▶", ">", "busy"),
    "paused": ("‖", "|", "warn"),
    "held": ("=", "=", "warn"),
    "draining": ("▼", "v", "quiet"),
    "failing": ("✗", "x", "bad"),
    "aborted": ("✗", "x", "bad"),
    "failed": ("✗", "x", "bad"),
    "pending": ("◌", ".", "warn"),
    "preparing": ("▲", "^", "busy"),
    "loading": ("▲", "^", "busy"),
    "asleep": ("◔", "z", "plan"),
    "launching": ("▲", "^", "busy"),
    "booting": ("▲", "^", "busy"),
    "stopping": ("▼", "v", "quiet"),
    "stopped": ("◌", ".", "plan"),
    "terminating": ("▼", "v", "quiet"),
    "terminated": ("○", "o", "quiet"),
}
"""Of Services, Replicas and Instances: glyph, the same in ASCII, tone."""


def style_of(tone: str) -> Style:
    """The style of a tone; an unknown one is plain."""
    return _STYLES.get(tone, _NONE)


def state_text(state: str, *, ascii_only: bool) -> str:
    """`● ready`."""
    glyph, plain, _ = _STATES.get(state.partition(" ")[0], ("·", "-", ""))
    return f"{plain if ascii_only else glyph} {state}"


def state_tone(state: str) -> str:
    return _STATES.get(state.partition(" ")[0], ("", "", ""))[2]
