"""Whether the evidence of a workspace holds together: records, weights, ledger, reads, and the table made of them.

Two rules. A line that was ever committed below ``records/`` is still there, and of weights the very file. Each figure
that is stated is computed once more from the seeds. That finds mistakes and careless edits; who rewrites the history
too is found only by a commit that was published elsewhere (``anchor``). Nothing is trained or evaluated here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

from harness.evidence import bounds, history, ledger, weight_file
from harness.evidence.history import Memory
from harness.evidence.leaderboard import LeaderboardRow, Survey, collect, read, shipped_table, survey, to_csv
from harness.evidence.ledger import Ledger, Outcome
from harness.system import files
from harness.system.errors import ContentError
from harness.system.files import Workspace


def faults(place: Workspace, anchor: str | None = None) -> list[str]:
    """Return what does not hold together, ``file: field: stated, computed`` each; nothing where all does.

    What is shipped is checked, and what the workspace has beside it.

    Args:
        anchor: a commit that was published; what its records hold is still there, and it is part of the history.
    """
    shipped = (files.SHIPPED / "records").resolve()
    memories = [history.remembered(folder) for folder in (shipped, place.records)]
    said = [fault for memory in memories for fault in _lost(memory)]
    said += _since(shipped, anchor) if anchor else ()
    found = survey(place)
    said += [error.told for error in found.damage]
    # What is computed from records and ledger would only repeat their faults.
    if not said:
        try:
            said += _table_faults()
            said += _weight_faults(place.records, found)
            said += _ledger_faults(place.ledger, ledger.read_sound(place.ledger), found, memories)
        except ContentError as error:
            said = [error.told]
    return list(dict.fromkeys(said))


def _lost(memory: Memory) -> Iterator[str]:
    now = history.blobs(path for path in memory.blobs if path.suffix == ".safetensors")
    for path, (commit, blob) in sorted(memory.blobs.items()):
        if path.suffix not in (".json", ".jsonl", ".safetensors"):
            continue
        if not path.exists():
            yield f"{path}: file: removed, committed in {commit[:12]}"
        elif now.get(path, blob) != blob:
            yield f"{path}: file: {now[path][:12]} stated, {blob[:12]} in commit {commit[:12]}"
        # What others claim may be told better.
        elif path.suffix != ".safetensors" and path.name != "claims.json":
            yield from _lost_lines(path, memory.lines[path])


def _lost_lines(path: Path, lines: dict[str, str]) -> Iterator[str]:
    now = set(map(history.line_of, files.log_text(path).split("\n")))
    for line, commit in lines.items():
        # A field that was empty may be filled in: a name, how a search came to the network.
        if line not in now and not line.endswith((": null", ': ""', ": 0.0", ": []")):
            yield f"{path}: line: lacking, commit {commit[:12]} has {line[:100]}"


def _since(records: Path, anchor: str) -> Iterator[str]:
    if history.git(records, "merge-base", "--is-ancestor", anchor, "HEAD") is None:
        yield f"{records}: anchor: {anchor} stated, the history here has no such commit"
        return
    changes = history.git(records, "diff", "--name-status", "--no-renames", "--relative", anchor, "--", ".") or ""
    for status, name in (line.split("\t") for line in changes.splitlines()):
        path = records / name
        if path.suffix in (".json", ".jsonl") and path.exists():
            then = history.git(records, "show", f"{anchor}:./{name}") or ""
            yield from _lost_lines(path, {history.line_of(line): anchor for line in then.split("\n")})
        elif status != "A":
            yield f"{path}: file: {'removed' if status == 'D' else 'changed'} since commit {anchor[:12]}"


def _table_faults() -> Iterator[str]:
    path = shipped_table()
    if not path.exists():
        return
    rows, made = read(path), collect(Workspace(files.SHIPPED))
    if files.read_bytes(path).decode() == to_csv(made):
        return
    stated, due = ({row.key: row for row in each} for each in (rows, made))
    told = False
    for key in stated.keys() | due.keys():
        row = due.get(key) or stated[key]
        name = f"{path}: {row.hash} ({row.recipe}, {row.target_pct:g} %)"
        for item in fields(LeaderboardRow):
            said, computed = (getattr(each.get(key), item.name, "no row") for each in (stated, due))
            if said != computed:
                told = True
                yield f"{name}: {item.name}: {said} stated, {computed} computed"
                if "no row" in (said, computed):
                    break
    if not told:
        yield f"{path}: rows: another order or number stated, {len(made)} computed"


def _weight_faults(records: Path, found: Survey) -> Iterator[str]:
    for evidence in found.records:
        for index in weight_file.kept_indices(records, evidence):
            try:
                weight_file.read_recorded(records, evidence, index)
            except ContentError as error:
                yield error.told


def _ledger_faults(path: Path, entered: Ledger, found: Survey, memories: list[Memory]) -> Iterator[str]:
    shipped = (files.SHIPPED / "records").resolve() / path.name
    published = files.log_text(shipped).splitlines()
    evidence_of = {evidence.key: evidence for evidence in found.records}
    for attempt in entered.attempts:
        name = f"{path}: attempt {attempt.number}"
        evidence = evidence_of.get(attempt.key)
        if evidence is None and attempt.outcome is not Outcome.OPEN:
            yield f"{name}: outcome: {attempt.outcome} stated, {attempt.hash} has no record"
        if evidence and attempt.outcome is Outcome.OPEN and bounds.ending(attempt, evidence)[1] is not None:
            yield f"{name}: outcome: open stated, {bounds.ending(attempt, evidence)[0]} computed"
        if attempt.rules < 2:
            continue
        due = ledger.next_alpha((each for each in entered.attempts if each.number < attempt.number), attempt.dataset)
        if attempt.alpha > due:
            yield f"{name}: alpha: {attempt.alpha:g} stated, {due:g} computed"
        begun = {run.beacon for run in evidence.seeds if run.index in attempt.indices} if evidence else set()
        is_published = any(ledger.is_declaration(line, attempt) for line in published)
        where, memory = (shipped, memories[0]) if is_published else (path, memories[1])
        beacon = history.declared_in([memory], attempt)
        # Outside a repository, and where its history is cut off, nobody knows.
        if begun - {beacon} and memory.lines and history.is_whole(where.parent):
            yield f"{name}: beacon: {', '.join(map(str, begun))} stated, its declaration is in {beacon}"
    for item in entered.registrations:
        accuracies = [100 - 100 * errors / item.images for errors in item.errors]
        yield from _bound_faults(f"{path}: evaluation of {item.hash} on {item.on}", accuracies, item.lower_bound_pct)


def _bound_faults(name: str, accuracies: Iterable[float], stated: float | None) -> Iterator[str]:
    computed = bounds.over_seeds(list(accuracies))
    if stated is not None and (computed is None or abs(stated - computed) > bounds.TOLERANCE):
        yield f"{name}: lower_bound_pct: {stated} stated, {computed} computed"
