"""Draw the figure of the README: sizes and accuracies of leaderboard.csv and of published networks.

    python -m measurements.frontier

writes docs/images/frontier-light.svg and docs/images/frontier-dark.svg.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.evidence import leaderboard_table
from harness.pages import charts
from harness.pages.board import frontier
from harness.studies.standing import Standing
from harness.system import files

ROOT = Path(__file__).resolve().parent.parent
# Parameters, test accuracy in per cent, GitHub repository. Only the second accuracy is a mean over seeds. The first two
# networks were selected by the test images.
PUBLISHED = (
    (697, 99.03, "JoshWarn/Parameter-Efficient-MNIST"),
    (997, 98.76, "JoshWarn/Parameter-Efficient-MNIST"),
    (1_936, 99.10, "ruslangrimov/mnist-minimal-model"),
    (3_762, 99.52, "adilsammar/woolly-of-cv"),
    (4_838, 99.41, "adilsammar/woolly-of-cv"),
    (5_184, 99.36, "gkdivya/EVA"),
    (5_760, 99.45, "adilsammar/woolly-of-cv"),
    (6_174, 99.47, "firekind/ERA4"),
    (6_720, 99.50, "gkdivya/EVA"),
    (7_704, 99.55, "gkdivya/EVA"),
    (15_794, 99.59, "divya-r-kamat/EfficientMnist-Under20K"),
    (19_972, 99.57, "Shilpaj1994/ERA"),
)
# Colour of the dark theme by colour of the light theme, of charts, axes and text.
DARK = {
    "white": "#0d1117",
    charts.Colour.TEXT: "#e6eaee",
    charts.Colour.GREEN: "#6fd39b",
    charts.Colour.ORANGE: "#ff9b57",
    charts.Colour.PURPLE: "#d59acb",
    charts.Colour.GREY: "#98a4ae",
    "#d3dae0": "#3a444d",
}


def rows() -> list[dict[str, Any]]:
    """Return the rows of the chart: networks measured on the MNIST test set here, and published networks.

    ``best`` marks the smallest network that is proven for its target.
    """
    # Rows without a recipe hash are claims.
    tested = [
        row
        for row in leaderboard_table.read(ROOT / "leaderboard.csv")
        if row.dataset == "mnist" and row.tier is not Standing.SEARCHED and row.recipe_hash
    ]
    best: dict[float, Any] = {}
    for row in sorted(tested, key=lambda row: row.parameters):
        if row.tier.is_proven:
            best.setdefault(row.target_pct, row)
    own_rows = [
        {
            "network": row.name or row.hash[:6],
            "parameters": row.parameters,
            "accuracy": row.mean_test_accuracy_pct,
            "tier": row.tier.value,
            "target": row.target_pct,
            "recipe": row.recipe,
            "best": best.get(row.target_pct) is row,
        }
        for row in sorted(tested, key=lambda row: row.target_pct)
    ]
    published_rows = [
        {"network": source, "parameters": size, "accuracy": accuracy, "tier": "claimed", "target": 0, "best": False}
        for size, accuracy, source in PUBLISHED
    ]
    return [*own_rows, *published_rows]


def pictures() -> dict[str, str]:
    """Return the SVG texts by file name in docs/images/."""
    return themes("frontier", charts.svg(frontier(rows(), 99.4, height=420), 820))


def themes(name: str, light: str) -> dict[str, str]:
    """Return a chart in the light and in the dark theme, as SVG texts by file name."""
    dark = light
    for light_colour, dark_colour in DARK.items():
        # In attributes and in style sheets.
        dark = dark.replace(f'"{light_colour}"', f'"{dark_colour}"').replace(f": {light_colour};", f": {dark_colour};")
    return {f"{name}-light.svg": light, f"{name}-dark.svg": dark}


if __name__ == "__main__":
    for name, content in pictures().items():
        files.write_text(ROOT / "docs" / "images" / name, content + "\n")
