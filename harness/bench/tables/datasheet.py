"""``DATASHEET.md`` of a table, in Markdown, made from the facts of the table and from nothing else.

The questions are those of Gebru and others, Datasheets for Datasets (arXiv 1803.09010).
"""

from __future__ import annotations

from collections import Counter

from harness.bench.tables.summary import Summary, range_text, seeds_text, summary
from harness.bench.tables.table import Machine, Table, is_exhaustive
from harness.system.terminal import duration_text
from harness.training.recipe import recipe_document


def datasheet(table: Table, rows_sha256: str) -> str:
    """Return the datasheet of a table whose ``table.csv`` has this SHA-256."""
    facts, found = table.facts, summary(table)
    parts = (
        f"# Table {facts.name}",
        "Written by `harness bench table` from the table itself; an edit is lost.",
        "## What it is for",
        "To replay methods of architecture search on recorded trainings, hundreds of times, and to compare them by the "
        "validation accuracy that they would have seen and the seconds that they would have spent.",
        "Not for claims about accuracy: it holds no test figures, and the best of many networks on validation is in "
        "part the luckiest. `harness verify` proves a network, on other seeds. Not for another recipe, space or data "
        "set than those below. Seconds of different machines do not compare.",
        "## What was trained",
        _what(table, found),
        "## How networks were chosen",
        _chosen(table),
        "## The space",
        f"```text\n{facts.space.strip()}\n```",
        "## The recipe",
        f"`{facts.recipe_name}`, hash {facts.recipe.hash}:",
        "\n".join(f"- {name}: {value}" for name, value in recipe_document(facts.recipe).items()),
        "## What the rungs say",
        _rungs(found),
        "## Machines",
        _machines(table),
        "## Check",
        f"`table.csv` has {found.rows:,} rows and the SHA-256 `{rows_sha256}`; `table.json` notes it, and whatever "
        f"reads the table checks it. Data {facts.data_hash[:12]}..., split {facts.split_sha256[:12]}..., protocol "
        f"{facts.protocol_version}.",
    )
    return "\n\n".join(parts) + "\n"


def _what(table: Table, found: Summary) -> str:
    return "\n".join(
        (
            f"- {found.networks:,} distinct networks of {range_text(found.parameters)} parameters and "
            f"{range_text(found.macs)} multiply-adds.",
            f"- {seeds_text(found)} seeds a network, {found.runs:,} runs in all, {found.diverged:,} of them diverged; "
            "a diverged run keeps what its last weights gave. Seeds are hashes of network, recipe and index, with the "
            "purpose `bench`: nobody chose one, and no search or verification uses them.",
            f"- {table.facts.dataset}: trained on the search split's training images, looked at on its validation "
            "images.",
            f"- One run to epoch {table.rungs[-1]} under one schedule, read after epochs "
            f"{', '.join(map(str, table.rungs))}: an early rung is a prefix of the schedule, not a short training.",
            f"- {duration_text(found.train_seconds)} of training, all runs together; `seconds` is training since the "
            "start of the run, without looking at validation images.",
        )
    )


def _chosen(table: Table) -> str:
    lines = []
    if is_exhaustive(table.facts):
        lines.append("All networks that the space allows were trained.")
    for sample in table.facts.samples:
        limit = "" if sample.budget is None else f" of at most {sample.budget:,} parameters"
        how = (
            "all there are"
            if sample.bands == 0
            else f"equal numbers from {sample.bands} bands of parameters that are equally wide in the logarithm, where "
            "a band had enough"
        )
        lines.append(f"- Up to {sample.networks:,} networks{limit}, seed {sample.seed}: {how}.")
    return "\n".join(lines)


def _rungs(found: Summary) -> str:
    lines = [
        "| epoch | validation accuracy %, lowest, median, highest network | deviation between seeds | rank correlation "
        "with the last rung | median seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rung in found.rungs:
        spread = rung.accuracy_pct
        cells = (
            str(rung.epoch),
            f"{spread.low:.2f}, {spread.median:.2f}, {spread.high:.2f}",
            _number(rung.seed_deviation_pct, 3),
            _number(rung.rank_correlation, 2),
            f"{rung.seconds.median:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _machines(table: Table) -> str:
    last = table.rungs[-1]
    runs = Counter(row.machine for row in table.rows if row.rung == last)
    return "\n".join(
        f"- {index}: {_machine_text(machine)}; {runs[index]:,} runs"
        for index, machine in enumerate(table.facts.machines)
    )


def _machine_text(machine: Machine) -> str:
    environment = machine.environment
    commit = "unknown" if environment.commit is None else environment.commit[:12]
    dirty = " with changes" if environment.dirty else ""
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.workers} runs side by side, engine "
        f"`{environment.engine}`, torch {environment.torch}, Python {environment.python}, commit {commit}{dirty}"
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
