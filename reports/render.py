"""From facts to one HTML file that works offline: templates, charts and scripts, under a content security policy.

HTML stands in ``templates/`` alone. Whatever a template prints is escaped; no script runs but those of the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import altair as alt
import jinja2
import vl_convert
from markupsafe import Markup

from harness.system.errors import typed
from reports import numbers

# HTML forbids these characters, and lone surrogates cannot be written as UTF-8.
_FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
_PER_CENT = re.compile(r"(?<=\d) %")


def page(
    template: str,
    *,
    charts: Mapping[str, Any] | None = None,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
    datasets: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    **facts: object,
) -> str:
    """Return a page.

    Args:
        template: the name of a file in ``templates/`` that extends ``base.html``.
        charts: Altair charts by the names under which the template's ``figure`` shows them. Data sets that a chart
            names (``datasets``) stand in the page once, however many charts use them.
        styles: style sheets of this package beside ``page.css``.
        scripts: scripts of this package that run after ``page.js``.
        data: what these scripts read as ``page.data``.
        datasets: rows that scripts read as ``page.datasets``, beside those of the charts.
        facts: what the template prints.
    """
    specs, embedded = {}, dict(datasets or {})
    for name, chart in (charts or {}).items():
        # Rows go around Altair, which would look at every value of theirs.
        rows, bare = chart._get("datasets"), chart.copy(deep=False)
        bare.datasets = alt.Undefined
        specs[name] = bare.to_dict(validate=False)
        embedded.update(specs[name].pop("datasets", {}))  # Altair has moved there what ``over`` was given
        if rows is not alt.Undefined:
            embedded.update(rows)
    texts = [_vega()] if specs else []
    texts += map(_resource, ("page.js", *scripts))
    return (
        _environment()
        .get_template(template)
        .render(
            policy=_policy(texts),
            styles=[Markup(_resource(name)) for name in ("page.css", *styles)],
            scripts=[Markup(text) for text in texts],
            # Column by column, because the names of the columns weigh as much as the rows.
            page_data=_embedded(
                {
                    "charts": specs,
                    "datasets": {name: _columns(rows) for name, rows in embedded.items()},
                    "data": data or {},
                }
            ),
            descriptions={name: spec.get("description", "") for name, spec in specs.items()},
            heights={name: spec.get("height", 0) for name, spec in specs.items()},
            **facts,
        )
    )


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}


def _policy(scripts: Sequence[str]) -> str:
    """Return a policy under which nothing is fetched and nothing runs but these scripts, even if escaping failed."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    for name in ("count", "decimal", "pct", "short", "spread", "mean_and_deviation", "plural", "duration"):
        environment.filters[name] = getattr(numbers, name)
    environment.globals.update(dash=numbers.DASH, typed=typed)
    return environment


def _printable(value: object) -> object:
    """Return what a template prints without forbidden characters; a number and its per cent sign stay together."""
    if isinstance(value, Markup | jinja2.Undefined):
        return value
    return _PER_CENT.sub("\N{NO-BREAK SPACE}%", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def _embedded(value: object) -> Markup:
    """Return JSON that no browser takes for markup or for a program."""
    return Markup(json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


@cache
def _resource(name: str) -> str:
    return resources.files("reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Return the drawing library; to put it together takes a second."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
