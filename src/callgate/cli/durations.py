"""Durations as a policy writes them."""

_UNITS = (("h", 3600), ("m", 60))


def duration_text(seconds: int) -> str:
    """`8h`, `5m`, `10s`, `0s`."""
    for unit, length in _UNITS:
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
