"""What other programs read of a study: a summary in Markdown, a table of its networks, its charts as files.

In the summary, short enough for the text of a pull request, what others wrote stands in code spans, where Markdown does
nothing with it. The table has raw numbers, one line a network, CSV and JSON alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.training.result import finite
from reports import charts
from reports.comparison.comparison import Quantity, ratio_text
from reports.comparison.comparison_networks import NetworkComparison
from reports.comparison.comparison_studies import StudyComparison
from reports.numbers import DASH, count, duration, pct, plural, short, spread
from reports.study.networks import Network, accuracy_words, minimised
from reports.study.study_charts import study_charts
from reports.study.study_info import StudyInfo
from search_spaces.cost import analyse
from search_spaces.space import OBJECTIVES

_MOST_NETWORKS = 8
_LONGEST = 300
# What stands for a bar inside the cell of a table.
_BAR = "\\|"


def study_summary(info: StudyInfo) -> str:
    """Return the summary of a study."""
    parts = [
        f"### {sentence(info.headline.outcome.capitalize())}: {code(info.name)}",
        sentence(info.headline.verdict),
        sentence(info.headline.progress),
        _table(("", ""), _facts(info)),
    ]
    if info.networks:
        shown = info.networks[:_MOST_NETWORKS]
        parts.append(
            f"The first {len(shown)} of {plural(len(info.networks), 'network')} in the order of the standings:"
        )
        columns = ("network", OBJECTIVES[info.config.minimise], "validation, %", "test, %", "state")
        parts.append(_table(columns, map(_network, shown)))
    if info.provenance.commands:
        parts.append(_fenced("\n".join(info.provenance.commands)))
    return "\n\n".join(parts) + "\n"


def networks_summary(facts: NetworkComparison) -> str:
    """Return the summary of a comparison of networks."""
    names = [side.name for side in facts.sides]
    parts = [
        "### Networks side by side",
        *map(sentence, facts.sentences),
        _quantities(names, facts.quantities),
        "\n".join(f"- {sentence(note)}" for note in facts.notes),
        "\n".join(f"- {code(side.name)}: {code(str(side.architecture), 10_000)}" for side in facts.sides),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def studies_summary(facts: StudyComparison) -> str:
    """Return the summary of a comparison of studies."""
    names = [info.name for info in facts.infos]
    parts = [
        "### Studies side by side",
        "\n".join(f"- {code(info.name)}: {sentence(info.headline.verdict)}" for info in facts.infos),
        *map(sentence, facts.sentences),
        _quantities(names, facts.quantities),
        _quantities(names, facts.settings) if facts.settings else "",
        "\n".join(f"- {sentence(note)}" for note in facts.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(words: str, longest: int = _LONGEST) -> str:
    """Return foreign words as a code span on one line, cut where they are too long."""
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", words).strip()
    line = line if len(line) <= longest else f"{line[:longest]}\N{HORIZONTAL ELLIPSIS}"
    # A table, which ends its cells at bars even inside a span, would take a backslash before a bar for its own escape.
    line = re.sub(r"\\(?=\|)", "\\\\ ", line)
    # A span ends at as many backticks as began it.
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else DASH


def sentence(words: str) -> str:
    """Return words of ours, which may hold a foreign name, with all that Markdown would take for markup escaped."""
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", words).strip()
    # An at sign would call a person, so it is no longer one that a program knows.
    return re.sub(r"([\\`*_{}\[\]<>#~&!])", r"\\\1", line).replace("@", "&#64;")


def _facts(info: StudyInfo) -> list[tuple[str, str]]:
    answer, config = info.answer, info.config
    row = answer.row if answer else None
    found = next((network for network in info.networks if answer and network.hash == answer.hash), None)
    facts = [
        ("network", code(answer.hash) if answer else DASH),
        ("parameters", count(answer.parameters if answer else None)),
        *minimised(found, config),
        (
            "mean test accuracy",
            f"{accuracy_words(row)} % over {plural(row.seeds, 'seed')}, 99 % lower bound {pct(row.lower_bound_pct, 3)}"
            if row
            else "not measured",
        ),
        ("tier", row.tier if row else DASH),
        ("target", sentence(f"{short(config.target_pct)} % on {config.dataset}")),
        ("budget", plural(config.budget, "parameter")),
        ("time, all told", duration(info.provenance.wall_seconds)),
        (
            "proposals",
            f"{count(info.accounting.proposed)}: {count(info.accounting.rejected)} rejected before anything was built, "
            f"{count(info.accounting.repeated)} known already, {count(info.accounting.to_train)} chosen for training",
        ),
        ("code", code(dict(info.provenance.facts).get("code", ""))),
    ]
    return [*facts, ("notation", code(str(found.architecture), 10_000))] if found else facts


def _network(network: Network) -> tuple[str, ...]:
    row = network.row
    return (
        code(network.hash),
        count(network.cost),
        spread(network.validation_accuracies_pct) if network.validation_accuracies_pct else DASH,
        accuracy_words(row) if row else DASH,
        sentence(f"{network.state} {network.remark}"),
    )


def _quantities(names: Sequence[str], quantities: Sequence[Quantity]) -> str:
    return _table(("", *map(code, names)), [(sentence(line.name), *_cells(line)) for line in quantities])


def _cells(line: Quantity) -> list[str]:
    return [
        sentence(words) + (f" ({ratio_text(ratio)})" if ratio is not None else "")
        for words, ratio in zip(line.words, line.ratios, strict=True)
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |" for cells in lines)


def _fenced(words: str) -> str:
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", words)), default=0) + 1)
    return f"{fence}console\n{words}\n{fence}"


_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _NetworkLine:
    """One network; the names of the fields are the columns, in this order. What is not known is None.

    ``place`` is that of the report's table, best first; ``macs`` is younger than the others, and so stands last.
    """

    place: int
    hash: str
    parameters: int
    tier: str | None
    state: str
    remark: str
    epochs: int | None
    validation_accuracy_pct: float | None
    validation_std_pct: float | None
    validation_seeds: int
    validation_fresh: bool
    mean_test_accuracy_pct: float | None
    std_test_accuracy_pct: float | None
    lower_bound_pct: float | None
    test_seeds: int
    reached: bool
    trial: int | None
    origin: str
    architecture: str
    macs: int


def lines(info: StudyInfo) -> list[_NetworkLine]:
    """Return a line a network, best first."""
    return [_line(place, network, info) for place, network in enumerate(info.networks, start=1)]


def write_tables(info: StudyInfo, folder: Path) -> list[Path]:
    """Write ``networks.csv`` and ``networks.json`` and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    columns = [item.name for item in fields(_NetworkLine)]
    rows = [[getattr(line, column) for column in columns] for line in lines(info)]
    document = {
        "study": info.name.encode(errors="replace").decode(),
        "dataset": info.config.dataset,
        "target_pct": info.config.target_pct,
        "threshold_pct": info.config.threshold_pct,
        "networks": [dict(zip(columns, _plain(row), strict=True)) for row in rows],
        "schema_version": _SCHEMA_VERSION,
    }
    made = {
        folder / "networks.csv": csv_text(columns, map(_plain, rows)),
        folder / "networks.json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    files.write_together({path: words.encode() for path, words in made.items()})
    return list(made)


def _line(place: int, network: Network, info: StudyInfo) -> _NetworkLine:
    row, accuracies = network.row, network.validation_accuracies_pct
    return _NetworkLine(
        place=place,
        hash=network.hash,
        parameters=network.parameters,
        tier=row.tier if row else "searched" if network.complete else None,
        state=network.state,
        remark=network.remark,
        epochs=network.epochs,
        validation_accuracy_pct=finite(network.accuracy_pct),
        validation_std_pct=finite(statistics.standard_deviation(accuracies)),
        validation_seeds=len(accuracies),
        validation_fresh=network.fresh,
        mean_test_accuracy_pct=finite(row.mean_test_accuracy_pct) if row else None,
        std_test_accuracy_pct=finite(row.std_test_accuracy_pct) if row else None,
        lower_bound_pct=finite(row.lower_bound_pct) if row else None,
        test_seeds=row.seeds if row else 0,
        reached=row.reached if row else False,
        trial=network.trial,
        origin=network.origin,
        architecture=str(network.architecture),
        macs=analyse(network.architecture, dataset(info.config.dataset).task).macs,
    )


def _plain(row: list[Any]) -> list[Any]:
    """Return values that UTF-8 can hold; a lone surrogate, which a journal may hide, cannot be written."""
    return [value.encode(errors="replace").decode() if isinstance(value, str) else value for value in row]


def write_figures(info: StudyInfo, folder: Path) -> list[Path]:
    """Write the charts of a study below ``folder`` as SVG and PNG and return their paths.

    Raises:
        UsageError: the folder cannot be written.
    """
    drawn = study_charts(info)
    words = charts.over([{"words": "nothing yet"}]).mark_text(fontSize=14).encode(text="words:N")
    nothing = charts.finished(words, "Nothing yet.")
    made: dict[Path, bytes] = {}
    for name, chart in (("accuracy", "accuracy"), ("budget", "over-time"), ("proposals", "steps")):
        made[folder / f"{name}.svg"] = charts.svg(drawn.get(chart, nothing)).encode()
        made[folder / f"{name}.png"] = charts.png(drawn.get(chart, nothing))
    files.write_together(made)
    return list(made)
