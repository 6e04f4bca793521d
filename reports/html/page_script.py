"""One more script for a finished page, which the page's policy then allows."""

from __future__ import annotations

import base64
import hashlib
import re

from reports.html.page import Html, element, resource, text

_POLICY = re.compile(r'(http-equiv="Content-Security-Policy" content=")([^"]*)')


def with_script(page: str, *names: str) -> str:
    """Return a page that ends with a script, that of these files of this package; others stay allowed."""
    source = "".join(map(resource, names))
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
