"""Numbers as people read them at a glance."""

from __future__ import annotations

NONE = "\N{EN DASH}"


def amount(value: float) -> str:
    """A count: ``12,345``."""
    return f"{value:,.0f}"


def each_second(value: float) -> str:
    """A rate: with a decimal while it is small."""
    return "0" if value < 0.05 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def percent(share: float) -> str:
    """A part of one: ``33 %``."""
    return f"{share:.0%}".replace("%", "\N{NO-BREAK SPACE}%")


def duration(seconds: float | None) -> str:
    """``0.8 ms``, ``35 ms``, ``1.5 s``, ``30 s``."""
    if seconds is None:
        return NONE
    if seconds < 0.01:
        return f"{seconds * 1000:.1f}\N{NO-BREAK SPACE}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}\N{NO-BREAK SPACE}ms"
    return (
        f"{seconds:.1f}\N{NO-BREAK SPACE}s" if seconds < 10 else f"{seconds:.0f}\N{NO-BREAK SPACE}s"
    )


def span(seconds: float) -> str:
    """A long time in two units: ``3 d 4 h``."""
    left = int(max(seconds, 0))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def ago(seconds: float) -> str:
    """How long since: ``12 s ago``."""
    return f"{span(seconds).partition(' ')[0]} {span(seconds).split()[1]} ago"
