"""Mean ranks of search methods over several tables, the measure of docs/bench.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.bench.comparison import (
    AT_THE_END,
    DECIMALS,
    DEFAULT,
    OVER_TIME,
    Findings,
    Pair,
    p_text,
    sentences_on_too_few_repeats,
    tested_pairs,
)
from harness.system.terminal import aligned, counted


def ranks_of(comparisons: Mapping[str, Findings]) -> dict[str, Any]:
    """Return the ranking of methods over several tables; all comparisons have the same methods and seeds.

    Methods are ranked in two ways (docs/bench.md, "Several tables"):

    1. By the mean score over the repeats of a table: ``tables`` has these ranks, ``over_time`` and ``at_the_end`` the
       means over the tables.
    2. Within each repeat of a table, only for the tests in ``pairs``: the means over the tables are compared by repeat,
       the default with each remaining method. A ``difference`` below 0 means that the default is better.

    Args:
        comparisons: Findings by name of the table.
    """
    findings = list(comparisons.values())
    methods = list(findings[0].scores[OVER_TIME])
    repeats = findings[0].document["repeats"]
    ranks: dict[str, Any] = {}
    within_repeats: dict[str, dict[str, list[float]]] = {}
    for when in (OVER_TIME, AT_THE_END):
        # A score is log(size / smallest feasible size) or its mean over time; (tables, methods, repeats).
        scores = np.array([[item.scores[when][name] for name in methods] for item in findings])
        ranks[when] = _ranked(scores.mean(axis=2))  # (tables, methods)
        repeat_ranks = _ranked(scores).mean(axis=0)  # (methods, repeats)
        within_repeats[when] = dict(zip(methods, repeat_ranks.tolist(), strict=True))
    rivals = [name for name in methods if name != DEFAULT] if DEFAULT in methods else []
    pairs = tested_pairs(within_repeats, [(DEFAULT, name) for name in rivals])
    methods_document = []
    for index, name in enumerate(methods):
        # Keys of JSON have underscores, the names of scores have spaces.
        over_time = ranks[OVER_TIME][:, index]
        at_the_end = ranks[AT_THE_END][:, index]
        tables = []
        for table, rank, final_rank in zip(comparisons, over_time.tolist(), at_the_end.tolist(), strict=True):
            tables.append({"table": table, "over_time": rank, "at_the_end": final_rank})
        mean_ranks = {"over_time": float(over_time.mean()), "at_the_end": float(at_the_end.mean())}
        methods_document.append({"name": name, **mean_ranks, "tables": tables})
    methods_document.sort(key=lambda method: (method["over_time"], method["at_the_end"]))
    return {
        "tables": list(comparisons),
        "repeats": repeats,
        "sentences": [*sentences_on_too_few_repeats(repeats, len(pairs)), *_sentences(pairs)],
        "methods": methods_document,
        "pairs": [pair._asdict() | {"differs": pair.differs} for pair in pairs],
    }


def _ranked(scores: Any) -> Any:
    """Return ranks along the axis 1 (methods), 1 for the lowest score; ties get the mean rank."""
    from scipy.stats import rankdata

    return rankdata(scores.round(DECIMALS), axis=1)


def _sentences(pairs: Sequence[Pair]) -> list[str]:
    """Return sentences that compare the default with the remaining methods by the score over time."""
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "not shown to differ from": []}
    for pair in pairs:
        if pair.when == OVER_TIME:
            relation = "better than" if pair.difference < 0 else "worse than"
            if not pair.differs:
                relation = "not shown to differ from"
            groups[relation].append(pair.second)
    return [f"{DEFAULT} is {relation} {', '.join(names)} {OVER_TIME}." for relation, names in groups.items() if names]


def ranks_text(document: Mapping[str, Any]) -> str:
    """Return the ranks as a text table."""
    pairs = {pair["second"]: pair for pair in document["pairs"] if pair["when"] == OVER_TIME}
    lines = [["method", OVER_TIME, AT_THE_END, *document["tables"]]]
    for method in document["methods"]:
        tables = [f"{line['over_time']:g}, {line['at_the_end']:g}" for line in method["tables"]]
        lines.append([method["name"], f"{method['over_time']:.2f}", f"{method['at_the_end']:.2f}", *tables])
    head = f"mean ranks over {counted(len(document['tables']), 'table')} (1 is best), and ranks on each table"
    if not pairs:
        return "\n".join([head, *aligned(lines), *document["sentences"]])
    lines[0] += [f"{DEFAULT} - method", "corrected p"]
    for line in lines[1:]:
        if line[0] in pairs:
            pair = pairs[line[0]]
            line += ["{difference:.2f} ({low:.2f} to {high:.2f})".format(**pair), p_text(pair["corrected_p"])]
        else:
            line += ["-", "-"]
    note = (
        f"{DEFAULT} - method: difference of the ranks {OVER_TIME} within a repeat, mean over "
        f"{counted(document['repeats'], 'repeat')} and uncorrected 95 % interval"
    )
    return "\n".join([head, *aligned(lines), note, *document["sentences"]])
