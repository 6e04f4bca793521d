"""Durations as people write them: 90s, 45m, 1h30m."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"h": 3600, "m": 60, "s": 1}
# A hundred years; what is longer is a slip, and infinity is no number of seconds.
LONGEST = 100 * 365 * 24 * 3600
_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """An option's value in seconds, from a text such as 1h30m; a bare number has no unit and is refused."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = _FORM.fullmatch(value)
        seconds = 0.0
        if match:
            seconds = sum(float(part or 0) * unit for part, unit in zip(match.groups(), _UNITS.values(), strict=True))
        if seconds > LONGEST:
            self.fail(f"{value!r} is more than a hundred years.", param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r} is not a duration above zero, such as 90s, 45m or 1h30m.", param, ctx)
        return seconds


DURATION = Duration()


def duration_text(seconds: float) -> str:
    """Return seconds in the largest two units: 1 h 30 min, 45 min 10 s."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def duration_option(seconds: float) -> str:
    """Return seconds as an option takes them, to the microsecond: 1h30m, 90.5s."""
    minutes, left = divmod(round(seconds, 6), 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = {"h": f"{hours}", "m": f"{minutes}", "s": f"{left:.6f}".rstrip("0").rstrip(".")}
    return "".join(number + unit for unit, number in parts.items() if number not in ("0", "")) or "0s"
