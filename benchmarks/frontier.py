"""Draw the README's picture of sizes and accuracies from leaderboard.csv, for light and for dark pages.

    python -m benchmarks.frontier

writes docs/frontier-light.svg and docs/frontier-dark.svg: the smallest network found for each target, joined; what else
was measured on the test images; and the networks of the five documents.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from harness.evidence.leaderboard import LeaderboardRow, Tier, read
from harness.system import files

ROOT = Path(__file__).resolve().parent.parent
DATASET = "mnist"
WIDTH, HEIGHT = 860, 420
# The plot's edges within the picture, and what its axes span: parameters, and errors in 10,000 images.
LEFT, RIGHT, TOP, BOTTOM = 78, 836, 76, 366
SIZES, ERRORS = (300.0, 25_000.0), (260.0, 28.0)
SIZE_TICKS = (300, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
ACCURACY_TICKS = (98.0, 98.5, 99.0, 99.2, 99.4, 99.5, 99.6)
DOCUMENTS = ("seed0", "seed1", "seed2", "seed3", "seed4")
SAID = "green: the smallest found for each target; named: the five documents; rings: other networks that were measured"
FONT = 'font-family="system-ui, \'Segoe UI\', Helvetica, Arial, sans-serif" font-size="13"'
# Colours of the text, of what is muted, of lines, of what is proven, and of the page.
THEMES = {
    "light": ("#1b2127", "#55606b", "#d3dae0", "#0f7a4d", "#ffffff"),
    "dark": ("#e6eaee", "#a7b2bc", "#3a444d", "#4cc78f", "#0d1117"),
}


def picture(rows: Iterable[LeaderboardRow], colours: tuple[str, str, str, str, str]) -> str:
    """Return the picture as SVG; ``rows`` are those of the leaderboard."""
    text, muted, line, proven, page = colours
    tested = [row for row in rows if row.dataset == DATASET and row.tier not in (Tier.SEARCHED, Tier.CLAIMED)]
    best = smallest(tested)
    theirs = [row for row in tested if row.name in DOCUMENTS and row.recipe in (row.name, "documents")]
    parts = []
    for size in SIZE_TICKS:
        x = _across(size)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP:.1f}" x2="{x:.1f}" y2="{BOTTOM:.1f}" stroke="{line}"/>')
        parts.append(_text(x, BOTTOM + 20, f"{size:,}", muted, "middle"))
    for accuracy in ACCURACY_TICKS:
        y = _up(accuracy)
        parts.append(f'<line x1="{LEFT:.1f}" y1="{y:.1f}" x2="{RIGHT:.1f}" y2="{y:.1f}" stroke="{line}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{accuracy:g} %", muted, "end"))
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 42, "learned parameters (logarithmic)", muted, "middle"))
    parts.append(_text(16, TOP - 10, SAID, muted, "start"))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_place, best))
    parts.append(f'<polyline points="{points}" fill="none" stroke="{proven}" stroke-width="2"/>')
    parts += [_dot(row, muted, 3.5, hollow=True) for row in tested if row not in best and row not in theirs]
    for row in theirs:
        x, y = _place(row)
        parts.append(_dot(row, muted, 5.0) + _text(x + 9, y + 4, row.name, muted, "start"))
    for row in best:
        (x, y), certified = _place(row), row.tier is Tier.CERTIFIED
        parts.append(_dot(row, proven, 8.0 if certified else 6.0))
        parts.append(_text(x, y - 15, f"{row.parameters:,}", text, "middle", ' font-weight="700"' * certified))
    title, beside = _said(best, theirs)
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {FONT}>',
        f"<title>{escape(f'{title}, {beside}')}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{page}"/>',
        _text(16, 26, title, text, "start", ' font-size="16" font-weight="700"'),
        _text(16, 46, beside, text, "start", ' font-size="14"'),
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


def smallest(rows: Sequence[LeaderboardRow]) -> list[LeaderboardRow]:
    """Return the smallest certified or verified row of each target, by rising target."""
    proven = [row for row in rows if row.dataset == DATASET and row.tier in (Tier.CERTIFIED, Tier.VERIFIED)]
    targets = sorted({row.target_pct for row in proven})
    return [min((row for row in proven if row.target_pct == each), key=lambda row: row.parameters) for each in targets]


def current() -> dict[str, str]:
    """Return the pictures that docs/ should hold, by file name."""
    rows = read(ROOT / "leaderboard.csv")
    return {f"frontier-{theme}.svg": picture(rows, colours) for theme, colours in THEMES.items()}


def _said(best: Sequence[LeaderboardRow], theirs: Sequence[LeaderboardRow]) -> tuple[str, str]:
    certified = min((row for row in best if row.tier is Tier.CERTIFIED), key=lambda row: row.parameters)
    reaching = [row for row in theirs if (row.mean_test_accuracy_pct or 0) >= certified.target_pct]
    least = min(reaching, key=lambda row: row.parameters)
    share = least.parameters / certified.parameters
    learned = f"{certified.parameters:,} learned numbers read {certified.target_pct:g} % of MNIST's test digits"
    fewer = f"{share:.1f} times fewer than {least.name} ({least.tier}, {least.seeds} runs)"
    return f"{learned} (mean of {certified.seeds} runs)", fewer


def _dot(row: LeaderboardRow, colour: str, radius: float, *, hollow: bool = False) -> str:
    fill = f'fill="none" stroke="{colour}"' if hollow else f'fill="{colour}"'
    said = f"{row.parameters:,} parameters, {row.mean_test_accuracy_pct:.3f} %, {row.tier}, {row.hash[:6]}"
    x, y = _place(row)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" {fill}><title>{escape(said)}</title></circle>'


def _text(x: float, y: float, words: str, colour: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _place(row: LeaderboardRow) -> tuple[float, float]:
    return _across(row.parameters), _up(row.mean_test_accuracy_pct or 0)


def _across(size: float) -> float:
    return LEFT + (RIGHT - LEFT) * math.log(size / SIZES[0]) / math.log(SIZES[1] / SIZES[0])


def _up(accuracy_pct: float) -> float:
    errors = min(max(10_000 * (100 - accuracy_pct) / 100, ERRORS[1]), ERRORS[0])
    return BOTTOM - (BOTTOM - TOP) * math.log(errors / ERRORS[0]) / math.log(ERRORS[1] / ERRORS[0])


if __name__ == "__main__":
    for name, content in current().items():
        files.write_text(ROOT / "docs" / name, content)
