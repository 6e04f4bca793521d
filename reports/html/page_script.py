"""One more script for a finished page, which the page's policy then allows."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from reports.html.page import Html, element, text

_POLICY = re.compile(r'(http-equiv="Content-Security-Policy" content=")([^"]*)')


def with_script(page: str, name: str) -> str:
    """Return a page that ends with the script in the file ``name`` of this package; others stay allowed."""
    source = resources.files("reports").joinpath(name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    allowed = text(f"'sha256-{digest}'")
    page, changed = _POLICY.subn(lambda found: found[1] + _allowing(found[2], allowed), page, count=1)
    assert changed == 1, "every page has a policy"
    body, end, rest = page.rpartition("</body>")
    return f"{body}{element('script', Html(source))}{end}{rest}"


def _allowing(policy: str, source: str) -> str:
    """Return a policy, as it stands in the page, that allows one more script."""
    if "script-src " in policy:
        return policy.replace("script-src ", f"script-src {source} ", 1)
    return f"{policy}; script-src {source}"
