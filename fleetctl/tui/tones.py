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
    "ready": ("●", "good"),
    "idle": ("○", "quiet"),
    "down": ("○", "quiet"),
    "scaling": ("▲", "busy"),
    "starting": ("▲", "busy"),
    "rolling": ("▶", "busy"),
    "going": ("▶", "busy"),
    "paused": ("‖", "warn"),
    "held": ("=", "warn"),
    "draining": ("▼", "quiet"),
    "failing": ("✗", "bad"),
    "aborted": ("✗", "bad"),
    "failed": ("✗", "bad"),
    "lost": ("✗", "bad"),
    "done": ("●", "good"),
    "undone": ("○", "quiet"),
    "pending": ("◌", "warn"),
    "intended": ("◌", "warn"),
    "preparing": ("▲", "busy"),
    "loading": ("▲", "busy"),
    "asleep": ("◔", "plan"),
    "launching": ("▲", "busy"),
    "booting": ("▲", "busy"),
    "stopping": ("▼", "quiet"),
    "stopped": ("◌", "plan"),
    "terminating": ("▼", "quiet"),
    "terminated": ("○", "quiet"),
}
"""Of Services, Replicas, Instances and Rollouts."""
_KINDS = {
    "hold": ("=", "quiet"),
    "up": ("▲", "busy"),
    "down": ("▼", "busy"),
    "schedule": ("◷", "plan"),
    "scale": ("▲", "busy"),
    "warning": ("✗", "bad"),
    "rollout": ("▶", "plan"),
    "intent": ("›", "plan"),
}
"""Of what was decided and what happened."""


def style_of(tone: str) -> Style:
    """The style of a tone; an unknown one is plain."""
    return _STYLES.get(tone, _NONE)


def state_text(state: str) -> str:
    """`● ready`."""
    glyph, _ = _STATES.get(state.partition(" ")[0], ("·", ""))
    return f"{glyph} {state}"


def state_tone(state: str) -> str:
    return _STATES.get(state.partition(" ")[0], ("", ""))[1]


def kind_glyph(kind: str) -> str:
    return _KINDS.get(kind, ("·", ""))[0]


def kind_tone(kind: str) -> str:
    return _KINDS.get(kind, ("", ""))[1]
