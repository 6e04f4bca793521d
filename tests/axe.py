"""axe-core in a page: which rules of accessibility it breaks.

The library lies in ``tests/vendor``, so that no test needs a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import browser

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"


def violations(page: browser.Page) -> list[str]:
    """Return the serious and critical violations, each with the first elements that break the rule."""
    page.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run(document, {resultTypes: ['violations'], elementRef: false}).then((result) => result.violations"
        ".filter(({impact}) => impact === 'serious' || impact === 'critical')"
        ".map(({id, help, nodes}) => ({id, help, nodes: nodes.slice(0, 3).map(({html}) => html.slice(0, 300))})))"
    )
    return [f"{item['id']}: {item['help']}: {item['nodes']}" for item in found]
