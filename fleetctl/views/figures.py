"""Figures as people read them."""


def bytes_text(size: float) -> str:
    """`950 B`, `12 MB`, `1.5 GB`: powers of ten, as networks and disks are sold."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= length:
            return f"{size / length:.1f} {unit}" if size < 10 * length else f"{size / length:.0f} {unit}"
    return f"{size:.0f} B"


def dollars(value: float | None) -> str:
    """`$1.80`, or `?` where the price is not known: unknown is never zero."""
    return "?" if value is None else f"${value:,.2f}"


def several(count: int, what: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def ago(seconds: float) -> str:
    """An age: `5s`, `3m`, `2h`, `4d`."""
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length * (1 if unit == "d" else 2 if unit == "m" else 1):
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


def figure(value: float | None) -> str:
    """A load: `12`, `3.5`, or `?` for unknown."""
    if value is None:
        return "?"
    return f"{value:.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"
