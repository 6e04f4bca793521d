"""From facts to one HTML file that works offline: templates, charts and scripts, under a content security policy.

HTML and prose stand in ``templates/`` alone. Whatever a page prints is escaped; no script runs but those of the page.
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

import jinja2
from markupsafe import Markup

from harness.data.datasets import dataset
from harness.evidence import leaderboard, ledger
from harness.search.race import allowed_errors
from harness.system.errors import typed
from reports import layers, numbers
from search_spaces.catalog import network_name
from search_spaces.ops import op_text, shape_text
from search_spaces.space import OBJECTIVES, size_text

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
    """Return the page of a template, which prints the facts.

    Args:
        template: the name of a file in ``templates/`` that extends ``base.html``.
        charts: Altair charts by the names under which ``figure`` shows them; None is left out. Data sets that a chart
            names stand in the page once, however many charts use them.
        styles: style sheets of this package beside ``page.css``; ``scripts`` those that run after ``page.js``.
        data: what these scripts read as ``page.data``; ``datasets`` rows that they read beside those of the charts.
        facts: what the template prints.
    """
    from altair import Undefined

    specs, embedded = {}, dict(datasets or {})
    for name, chart in (charts or {}).items():
        if chart is None:
            continue
        # Rows go around Altair, which would look at every value of theirs.
        rows, bare = chart._get("datasets"), chart.copy(deep=False)
        bare.datasets = Undefined
        specs[name] = bare.to_dict(validate=False)
        embedded |= specs[name].pop("datasets", {})  # Altair has moved there what ``over`` was given
        embedded |= {} if rows is Undefined else rows
    texts = [_vega()] if specs else []
    texts += map(_resource, ("page.js", *scripts))
    # Column by column, because the names of the columns weigh as much as the rows.
    columns = {
        name: {
            column: [row.get(column) for row in rows] for column in dict.fromkeys(key for row in rows for key in row)
        }
        for name, rows in embedded.items()
    }
    embedded_data = {"charts": specs, "datasets": columns, "data": data or {}}
    return _template(template).render(
        policy=_policy(texts),
        styles=[Markup(_resource(name)) for name in ("page.css", *styles)],
        scripts=[Markup(text) for text in texts],
        # JSON that no browser takes for markup or for a program.
        page_data=Markup(json.dumps(embedded_data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")),
        descriptions={name: spec.get("description", "") for name, spec in specs.items()},
        heights={name: spec.get("height", 0) for name, spec in specs.items()},
        **facts,
    )


def words(name: str, *facts: object) -> str:
    """Return what the macro of this name in ``words.txt`` says of some facts: plain text on one line."""
    said: str = getattr(_template("words.txt").module, name)(*facts)
    return " ".join(said.split())


def markdown(template: str, **facts: object) -> str:
    """Return what a template of Markdown makes of some facts; it escapes by its own filters."""
    return _template(template).render(**facts).replace("\N{NO-BREAK SPACE}%", " %")


def _policy(scripts: Sequence[str]) -> str:
    """Return a policy under which nothing is fetched and nothing runs but these scripts, even if escaping failed."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=lambda name: name is None or name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    named = (
        "count",
        "decimal",
        "pct",
        "short",
        "spread",
        "mean_and_deviation",
        "plural",
        "duration",
        "accuracy_words",
        "three_digits",
    )
    environment.filters.update({name: getattr(numbers, name) for name in named})
    environment.filters.update(op_text=op_text, shape_text=shape_text, code=code, sentence=sentence, fenced=_fenced)
    environment.globals.update(
        allowed_errors=allowed_errors,
        dash=numbers.DASH,
        dataset=dataset,
        layers=layers,
        leaderboard=leaderboard,
        ledger=ledger,
        network_name=network_name,
        objectives=OBJECTIVES,
        size_text=size_text,
        typed=typed,
        zip=zip,
    )
    return environment


def _printable(value: object) -> object:
    """Return what a template prints without forbidden characters; a number and its per cent sign stay together."""
    if isinstance(value, Markup | jinja2.Undefined):
        return value
    return _PER_CENT.sub("\N{NO-BREAK SPACE}%", _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value)))


@cache
def _resource(name: str) -> str:
    return resources.files("reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Return the drawing library; to put it together takes a second."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


# In Markdown, what others wrote stands in code spans, where it does nothing.


def code(words: str, longest: int = 300) -> str:
    """Return foreign words as a code span on one line, cut where they are too long."""
    line = _one_line(words)
    line = line if len(line) <= longest else f"{line[:longest]}\N{HORIZONTAL ELLIPSIS}"
    # A table, which ends its cells at bars even inside a span, would take a backslash before a bar for its own escape.
    line = re.sub(r"\\(?=\|)", "\\\\ ", line)
    # A span ends at as many backticks as began it.
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else numbers.DASH


def sentence(words: str) -> str:
    """Return words of ours, which may hold a foreign name, with all that Markdown would take for markup escaped."""
    # An at sign would call a person, so it is no longer one that a program knows.
    return re.sub(r"([\\`*_{}\[\]<>#~&!])", r"\\\1", _one_line(words)).replace("@", "&#64;")


def _fenced(lines: Sequence[str]) -> str:
    """Return commands as a block of code."""
    text = "\n".join(lines)
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}console\n{text}\n{fence}"


def _one_line(words: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", words).strip()
