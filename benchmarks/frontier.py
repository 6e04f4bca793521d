"""Draw the README's picture of sizes and accuracies from leaderboard.csv, for light and for dark pages.

    python -m benchmarks.frontier

writes docs/frontier-light.svg and docs/frontier-dark.svg: the smallest network found for each target, joined; what else
was measured on the test images; and the networks of the five documents.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from harness.evidence.leaderboard import LeaderboardRow, Tier, read
from harness.system import files

ROOT = Path(__file__).resolve().parent.parent
LEADERBOARD = ROOT / "leaderboard.csv"
DATASET = "mnist"
WIDTH, HEIGHT = 860, 420
# The plot's edges within the picture, and what its axes span: parameters, and errors in 10,000 images.
LEFT, RIGHT, TOP, BOTTOM = 78, 836, 76, 366
SIZES, ERRORS = (300.0, 25_000.0), (260.0, 28.0)
SIZE_TICKS = (300, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
ACCURACY_TICKS = (98.0, 98.5, 99.0, 99.2, 99.4, 99.5, 99.6)
DOCUMENTS = ("seed0", "seed1", "seed2", "seed3", "seed4")


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of one picture."""

    text: str
    muted: str
    line: str
    proven: str
    page: str


THEMES = {
    "light": Colours("#1b2127", "#55606b", "#d3dae0", "#0f7a4d", "#ffffff"),
    "dark": Colours("#e6eaee", "#a7b2bc", "#3a444d", "#4cc78f", "#0d1117"),
}


def picture(rows: Iterable[LeaderboardRow], colours: Colours) -> str:
    """Return the picture as SVG; ``rows`` are those of the leaderboard."""
    tested = [row for row in rows if row.dataset == DATASET and row.tier not in (Tier.SEARCHED, Tier.CLAIMED)]
    best = smallest(tested)
    theirs = [row for row in tested if row.name in DOCUMENTS and row.recipe in (row.name, "documents")]
    others = [row for row in tested if row not in best and row not in theirs]
    parts = [*_axes(colours), _joined(best, colours)]
    parts += [_dot(row, colours.muted, 3.5, hollow=True) for row in others]
    parts += [_dot(row, colours.muted, 5.0) + _name(row, row.name, colours.muted) for row in theirs]
    for row in best:
        certified = row.tier is Tier.CERTIFIED
        parts.append(_dot(row, colours.proven, 8.0 if certified else 6.0))
        weight = ' font-weight="700"' if certified else ""
        parts.append(_text(_x(row), _y(row) - 15, f"{row.parameters:,}", colours.text, "middle", weight))
    return _svg(parts, _said(best, theirs), colours)


def smallest(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    """Return the smallest certified or verified row of each target, by rising target."""
    proven = [row for row in rows if row.dataset == DATASET and row.tier in (Tier.CERTIFIED, Tier.VERIFIED)]
    found = []
    for target in sorted({row.target_pct for row in proven}):
        found.append(min((row for row in proven if row.target_pct == target), key=lambda row: row.parameters))
    return found


def current() -> dict[str, str]:
    """Return the pictures that docs/ should hold, by file name."""
    rows = read(LEADERBOARD)
    return {f"frontier-{theme}.svg": picture(rows, colours) for theme, colours in THEMES.items()}


def _svg(parts: Sequence[str], said: tuple[str, str], colours: Colours) -> str:
    title = _text(16, 26, said[0], colours.text, "start", ' font-size="16" font-weight="700"')
    beside = _text(16, 46, said[1], colours.text, "start", ' font-size="14"')
    font = 'font-family="system-ui, \'Segoe UI\', Helvetica, Arial, sans-serif" font-size="13"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {font}>',
            f"<title>{escape(', '.join(said))}</title>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{colours.page}"/>',
            title,
            beside,
            *parts,
            "</svg>",
            "",
        ]
    )


def _said(best: Sequence[LeaderboardRow], theirs: Sequence[LeaderboardRow]) -> tuple[str, str]:
    """Return the title and a comparison."""
    certified = min((row for row in best if row.tier is Tier.CERTIFIED), key=lambda row: row.parameters)
    reaching = [row for row in theirs if (row.mean_test_accuracy_pct or 0) >= certified.target_pct]
    least = min(reaching, key=lambda row: row.parameters)
    share = least.parameters / certified.parameters
    learned = f"{certified.parameters:,} learned numbers read {certified.target_pct:g} % of MNIST's test digits"
    fewer = f"{share:.1f} times fewer than {least.name} ({least.tier}, {least.seeds} runs)"
    return f"{learned} (mean of {certified.seeds} runs)", fewer


def _axes(colours: Colours) -> list[str]:
    parts = []
    for size in SIZE_TICKS:
        x = _across(size)
        parts.append(_line(x, TOP, x, BOTTOM, colours.line))
        parts.append(_text(x, BOTTOM + 20, f"{size:,}", colours.muted, "middle"))
    for accuracy in ACCURACY_TICKS:
        y = _up(10_000 * (100 - accuracy) / 100)
        parts.append(_line(LEFT, y, RIGHT, y, colours.line))
        parts.append(_text(LEFT - 8, y + 4, f"{accuracy:g} %", colours.muted, "end"))
    middle = (LEFT + RIGHT) / 2
    parts.append(_text(middle, BOTTOM + 42, "learned parameters (logarithmic)", colours.muted, "middle"))
    said = (
        "green: the smallest found for each target; named: the five documents; rings: other networks that were measured"
    )
    parts.append(_text(16, TOP - 10, said, colours.muted, "start"))
    return parts


def _joined(rows: Sequence[LeaderboardRow], colours: Colours) -> str:
    points = " ".join(f"{_x(row):.1f},{_y(row):.1f}" for row in rows)
    return f'<polyline points="{points}" fill="none" stroke="{colours.proven}" stroke-width="2"/>'


def _dot(row: LeaderboardRow, colour: str, radius: float, *, hollow: bool = False) -> str:
    fill = f'fill="none" stroke="{colour}"' if hollow else f'fill="{colour}"'
    said = f"{row.parameters:,} parameters, {row.mean_test_accuracy_pct:.3f} %, {row.tier}, {row.hash[:6]}"
    return f'<circle cx="{_x(row):.1f}" cy="{_y(row):.1f}" r="{radius:g}" {fill}><title>{escape(said)}</title></circle>'


def _name(row: LeaderboardRow, name: str, colour: str) -> str:
    return _text(_x(row) + 9, _y(row) + 4, name, colour, "start")


def _text(x: float, y: float, words: str, colour: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _x(row: LeaderboardRow) -> float:
    return _across(row.parameters)


def _y(row: LeaderboardRow) -> float:
    return _up(10_000 * (100 - (row.mean_test_accuracy_pct or 0)) / 100)


def _across(size: float) -> float:
    return LEFT + (RIGHT - LEFT) * _share(size, *SIZES)


def _up(errors: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * _share(min(max(errors, ERRORS[1]), ERRORS[0]), *ERRORS)


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low)


if __name__ == "__main__":
    for name, content in current().items():
        files.write_text(ROOT / "docs" / name, content)
