"""Checks of a page in the browser with axe-core, a library of accessibility rules.

``scripts/test`` installs axe-core with npm; ``tests/package-lock.json`` fixes the version and the checksum. Without
the library, tests that use axe-core are skipped, or fail if ``CI`` is ``true``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests import browser

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"


def violations(page: browser.Page, within: str = "html") -> list[str]:
    """Return the serious and critical violations in an element, each with the first elements that break the rule."""
    if not AXE.exists():
        browser.skip_or_fail("no axe-core in tests/node_modules; scripts/test installs it where npm is")
    page.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    results: list[dict[str, Any]] = page.evaluate(
        f"axe.run({within!r}, "
        "{resultTypes: ['violations'], elementRef: false}).then((result) => result.violations"
        ".filter(({impact}) => impact === 'serious' || impact === 'critical')"
        ".map(({id, help, nodes}) => ({id, help, nodes: nodes.slice(0, 3).map(({html}) => html.slice(0, 300))})))"
    )
    return [f"{item['id']}: {item['help']}: {item['nodes']}" for item in results]
