"""``toy.html``: one offline page on which a person trains the toy and sees every number of it.

What the page shows before the script has run, Python has computed; the script does the same arithmetic again at each
step, and tests compare the two in a browser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.toy.backprop import (
    BACKWARD,
    FORWARD,
    LEARNING_RATES,
    START,
    UPDATE,
    losses,
    passes,
    update,
    with_numbers,
)
from reports import charts
from reports.numbers import short
from reports.render import page
from reports.toy_workbook import workbook

UPDATES = 1_000
_FIRST_RATE = 0.5
# The plot within a picture of the loss, in its own units, and what its upward axis spans.
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 554, 28, 364
_LOWEST, _HIGHEST = 1e-5, 0.3
# Between two labels; less and they touch.
_LABEL_DISTANCE = 15.0


def contents() -> dict[str, bytes]:
    """Return the page, the workbook and the figure of the learning rates by the names of their files."""
    chart = charts.toy_rates({rate: losses(START, rate, UPDATES) for rate in LEARNING_RATES})
    return {
        "toy.html": render().encode(),
        "toy.xlsx": workbook(START, _FIRST_RATE),
        "learning-rates.svg": charts.svg(chart).encode(),
        "learning-rates.png": charts.png(chart),
    }


def render() -> str:
    """Return the page."""
    known = passes(START)
    numbers = known | {"learning_rate": _FIRST_RATE}
    curves = {rate: losses(START, rate, UPDATES) for rate in LEARNING_RATES}
    return page(
        "toy.html",
        styles=["toy.css"],
        scripts=["toy.js"],
        data={"start": START},
        rate=_FIRST_RATE,
        rates=LEARNING_RATES,
        updates=UPDATES,
        start=START,
        numbers=numbers,
        moved=update(known, _FIRST_RATE),
        tables={"forward": FORWARD, "backward": BACKWARD, "update": UPDATE},
        put_in=lambda formula: with_numbers(formula, numbers),
        pictures=[_picture(curves, logarithmic=logarithmic) for logarithmic in (False, True)],
        area={"left": _LEFT, "right": _RIGHT, "top": _TOP, "bottom": _BOTTOM},
    )


def _picture(curves: Mapping[float, Sequence[float]], *, logarithmic: bool) -> dict[str, object]:
    """Return a picture of the loss in its own units: ticks, lines, and where the label of each line stands."""
    low = _LOWEST if logarithmic else 0.0
    scale = math.log if logarithmic else float

    def height(loss: float) -> float:
        share = (scale(min(max(loss, low), _HIGHEST)) - scale(low)) / (scale(_HIGHEST) - scale(low))
        return round(_BOTTOM + share * (_TOP - _BOTTOM), 1)

    # Every update at the beginning, where the curve bends, then fewer and fewer.
    shown = sorted({round(UPDATES * (number / 150) ** 2) for number in range(151)} | set(range(12)))
    ends = [height(curve[-1]) for curve in curves.values()]
    labels, free = [0.0] * len(ends), math.inf
    for number in sorted(range(len(ends)), key=lambda number: -ends[number]):
        labels[number] = min(ends[number], free)
        free = labels[number] - _LABEL_DISTANCE
    levels = [10.0**power for power in range(-5, 0)] if logarithmic else [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    said = "; ".join(f"{rate}: {short(curve[-1])}" for rate, curve in curves.items())
    return {
        "kind": "logarithmic" if logarithmic else "linear",
        "low": low,
        "high": _HIGHEST,
        "description": f"Loss after {UPDATES:,} updates by learning rate: {said}. The thick line is your own run.",
        "levels": [(height(level), short(level)) for level in levels],
        "lines": [
            " ".join(f"{_LEFT + at * (_RIGHT - _LEFT) / UPDATES:.1f},{height(curve[at])}" for at in shown)
            for curve in curves.values()
        ],
        "labels": list(zip(curves, ends, labels, strict=True)),
    }
