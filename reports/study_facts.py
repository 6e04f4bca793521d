"""A study as pages see it: what its folder and its workspace hold, read once; its networks, its answer, its origins.

Everything else in this package computes on these values and touches no file. A study that has only just begun, or was
killed, lacks events and results; nothing here needs any of them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from harness.data.datasets import dataset
from harness.evidence import leaderboard, record
from harness.evidence.events import SessionBegan, SessionEnded, Verified, WinnerChosen
from harness.evidence.leaderboard import LeaderboardRow, cost_of
from harness.evidence.record import Record
from harness.evidence.study import Study, StudyConfig, is_owned, read_config
from harness.search import surrogate
from harness.system.files import Workspace
from harness.training import inspection
from harness.training.inspection import Inspection, unpacked
from harness.training.recipe import recipe_document
from reports.networks import networks
from reports.numbers import DASH, plural


class Measured(NamedTuple):
    """A network whose test accuracy is on record: the evidence and the row that it makes.

    With what verifications on this machine have left to look at, one inspection a seed; of networks that the study
    knows, and of recorded weights only.
    """

    record: Record
    row: LeaderboardRow
    inspections: tuple[Inspection, ...]


class Winner(NamedTuple):
    """A study's answer: its accuracy on fresh validation seeds, or, once it is verified, its evidence and its row."""

    hash: str
    parameters: int
    validation_accuracy_pct: float | None
    record: Record | None = None
    row: LeaderboardRow | None = None


class Standings(NamedTuple):
    """What a workspace holds beside its studies: all evidence, the rows made from all, and reads of test sets.

    Of each read the data set and the purpose, empty texts where a line has none; of what does not hold together, and so
    is left out, a line each.
    """

    records: tuple[Record, ...] = ()
    rows: tuple[LeaderboardRow, ...] = ()
    test_reads: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


class StudyFacts:
    """A study.

    Attributes:
        study: what has happened to it.
        standings: of its workspace.
        measured: networks of this data set and target with a record, whichever study found them.
        origins: where each value of the configuration came from.
        past_trainings: how many earlier trainings its surrogate began with; None where it does not say.
        at_work: a program works in its folder now; ``searching`` where a session goes on, too.
        results: all finished runs, in order of trial, purpose and seed.
        elapsed: seconds that it has been worked on, all sessions together.
        sessions: the calls of the search that worked on it; ``last_turn`` is the last event that began or ended one.
        time_limit: seconds that the last session was given; None for no end, or where its program did not note them.
        networks: all that it has decided to train, best first; each with the best row over the recipes of its records.
        answer: the network of the lowest cost that is proven to reach the target, else the one that was chosen last.
            ``row`` is what its test evidence has earned, ``proof`` that evidence, with what is left to look at,
            ``network`` the answer among the networks, None where the log has lost it.
    """

    def __init__(
        self,
        study: Study,
        standings: Standings,
        measured: Sequence[Measured] = (),
        *,
        origins: Mapping[str, str] = MappingProxyType({}),
        past_trainings: int | None = None,
        at_work: bool = False,
    ) -> None:
        """Compute the rest."""
        self.study, self.standings, self.measured, self.origins = study, standings, measured, origins
        self.past_trainings, self.at_work = past_trainings, at_work
        self.name, self.config, self.results = study.folder.name, study.config, study.results
        self.elapsed, self.last_utc = study.seconds, study.entries[-1].utc if study.entries else ""
        self.sessions = study.of_kind(SessionBegan)
        self.time_limit = self.sessions[-1].event.seconds if self.sessions else None
        turns = (entry for entry in reversed(study.entries) if isinstance(entry.event, SessionBegan | SessionEnded))
        self.last_turn = next(turns, None)
        self.searching = at_work and self.last_turn is not None and isinstance(self.last_turn.event, SessionBegan)
        rows: dict[str, LeaderboardRow] = {}
        for item in sorted(measured, key=lambda item: item.row.rank):
            rows.setdefault(item.row.hash, item.row)
        self.networks = networks(study, rows)
        self.answer = self._answer()
        self.row = self.answer.row if self.answer else None
        self.proof = next((item for item in measured if self.row and item.row.key == self.row.key), None)
        self.network = next((item for item in self.networks if self.answer and item.hash == self.answer.hash), None)

    def _answer(self) -> Winner | None:
        chosen = [entry.event for entry in self.study.of_kind(WinnerChosen)]
        tried = {event.hash for event in chosen} | {entry.event.hash for entry in self.study.of_kind(Verified)}
        evidence = [
            item
            for item in self.measured
            if item.row.hash in tried or (item.record.found and item.record.found.study == self.name)
        ]
        reached = [item for item in evidence if item.row.reached]
        last = chosen[-1] if chosen else None
        best = min(reached, key=lambda item: (cost_of(item.row, self.config.minimise), item.row.rank), default=None)
        if best is None and last is not None:
            own = [item for item in evidence if item.row.hash == last.hash]
            best = min(own, key=lambda item: item.row.rank, default=None)
        if best is not None:
            return Winner(best.row.hash, best.row.parameters, None, best.record, best.row)
        return Winner(last.hash, last.parameters, last.validation_accuracy_pct) if last else None


def read_standings(workspace: Workspace) -> Standings:
    """Read what all studies of a workspace share; what does not hold together is left out and named.

    Raises:
        ContentError: the ledger does not hold together.
    """
    found = leaderboard.survey(workspace)
    log = workspace.test_log
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    reads = [_test_read(line) for line in lines if line.strip()]
    return Standings(found.records, found.rows, tuple(reads), tuple(error.told for error in found.damage))


def _test_read(line: str) -> tuple[str, str]:
    # A damaged line is a read all the same.
    try:
        read = json.loads(line)
        return str(read.get("dataset", "")), str(read["purpose"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def read_study(
    folder: Path, workspace: Workspace, standings: Standings | None = None, study: Study | None = None
) -> StudyFacts:
    """Read a study and what its workspace knows about its networks.

    Args:
        folder: of the study.
        workspace: that it belongs to.
        standings: of that workspace, where they have been read already; ``study`` likewise.

    Raises:
        ContentError: there is no study, or one of its files or the ledger does not hold together.
    """
    study = study or Study.read(folder)
    config = study.config
    standings = standings or read_standings(workspace)
    by_key = {row.key: row for row in standings.rows}
    past, known = surrogate.kept(folder), {result.hash for result in study.results}
    measured = [
        Measured(item, by_key[*item.key, False], inspections_of(item, workspace) if item.hash in known else ())
        for item in standings.records
        if (item.dataset, item.target_pct) == (config.dataset, config.target_pct)
    ]
    trainings = None if past is None else surrogate.observations(past, config.recipe, dataset(config.dataset).task)
    return StudyFacts(
        study,
        standings,
        measured,
        origins=read_config(folder).origins,
        past_trainings=None if trainings is None else len(trainings),
        at_work=is_owned(folder),
    )


def inspections_of(evidence: Record, workspace: Workspace) -> tuple[Inspection, ...]:
    """Return the inspections of a record's own weights; those of a re-run that gave others say nothing about it."""
    weights = {run.index: run.weights_sha256 for run in evidence.seeds}
    found = inspection.read_inspections(workspace.runs, record.path_of(workspace.records, evidence).stem)
    return tuple(item for item in found if weights.get(item.seed_index) == item.weights_sha256)


def recipe_options(name: str, epochs: int | None) -> list[str]:
    """Return the options that name a recipe; one with other epochs than its own is called ``NAME-20ep``."""
    changed = f"-{epochs}ep"
    if epochs is not None and name.endswith(changed):
        return ["--recipe", name.removesuffix(changed), "--epochs", str(epochs)]
    return ["--recipe", name]


def shown(value: object) -> str:
    """Return a value of a setting in words."""
    return (" ".join(map(str, value)) or DASH) if isinstance(value, tuple | list) else str(value)


def settings(info: StudyFacts) -> list[tuple[str, str]]:
    """Return the configuration of a study, each value with where it came from."""
    config = info.config
    values = asdict(config)
    del values["recipe"], values["space_text"]
    if config.rungs:
        # A training of another length is looked at after the same shares of it.
        rungs = shown(config.rungs)
        values["rungs"] = f"{rungs} of {config.recipe.epochs} epochs, and the same shares of other lengths"
    found = []
    for name, value in values.items():
        # The options that people give are named a little differently.
        option = "epochs" if name == "lengths" else name.removesuffix("_pct").removesuffix("_name")
        origin = info.origins.get(name, info.origins.get(option, "derived"))
        origin = {"commandline": "command line", "default_map": "file"}.get(origin, origin)
        found.append((name, f"{shown(value)} ({origin})"))
    return found


def recipe_rows(config: StudyConfig) -> list[tuple[str, str]]:
    """Return the fields of the training recipe."""
    recipe = recipe_document(config.recipe)
    if config.lengths:
        recipe["epochs"] = f"{', '.join(map(str, config.lengths))}: chosen for each network"
    return [(name, shown(value)) for name, value in recipe.items()]


def made_by(info: StudyFacts) -> dict[str, str]:
    """Return the code, machine and data behind the results, each with all values that occur."""
    record = info.answer.record if info.answer else None
    environments = [result.environment for result in info.results if result.environment is not None]
    environments += [run.environment for run in record.seeds] if record else []

    def every(values: Iterable[str]) -> str:
        return ", ".join(sorted({value for value in values if value})) or DASH

    past = info.past_trainings
    commits = [
        "not a checkout"
        if item.commit is None
        else item.commit[:12] + (" with uncommitted changes" if item.dirty else "")
        for item in environments
    ]
    return {
        "code": every(commits),
        **{name: every(getattr(item, name.lower()) for item in environments) for name in ("Python", "torch", "device")},
        "instructions": every(item.instructions for item in environments),
        "threads a worker": every(str(item.threads) for item in environments),
        "data, SHA-256": every([info.config.data_hash, *(item.data_hash for item in environments)]),
        "recipe hash": info.config.recipe.hash,
        "prior": DASH if past is None else f"{info.config.prior}: {plural(past, 'earlier training')}",
    }


# Mistakes ----------------------------------------------------------------------------------------------------

# A record has the indices of the test images that a network's seeds got wrong, and the classes said. Labels and pixels
# come from inspections, which verifications leave on the machine that ran them; nothing here reads the test set.

# Test images of MNIST whose label most of five raters rejected: Northcutt, Athalye and Mueller 2021 (arXiv 2103.14749),
# data cleanlab/label-errors, mnist_mturk. The corrected labels are not known here, only which labels are wrong.
CONFIRMED_LABEL_ERRORS: dict[str, frozenset[int]] = {
    "mnist": frozenset((947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729))
}


class _Mistake(NamedTuple):
    """One test image that so many seeds got wrong, and what by how many, most frequent first.

    The class it has and its pixels, a byte each, are None where no inspection tells.
    """

    image: int
    label: int | None
    said: tuple[tuple[int, int], ...]
    seeds: int
    mislabelled: bool
    pixels: bytes | None


class Mistakes(NamedTuple):
    """All mistakes of a network's so many recorded seeds, those of most seeds first.

    ``confusion`` counts images by label (row) and class said (column), summed over the seeds, None where a label or the
    number of images of a class is not known; ``image_shape`` is rows and columns, None where no image is known.
    """

    seeds: int
    mistakes: tuple[_Mistake, ...]
    confusion: list[list[int]] | None
    image_shape: tuple[int, int] | None


def mistakes(record: Record, inspections: Sequence[Inspection]) -> Mistakes:
    """Return the mistakes of a record; ``inspections`` are those of its own seeds, and may be none."""
    said: dict[int, Counter[int]] = defaultdict(Counter)
    for run in record.seeds:
        for image, answer in run.wrong:
            said[image][answer] += 1
    seen = {miss.image: miss for inspection in reversed(inspections) for miss in inspection.misses}
    suspects = CONFIRMED_LABEL_ERRORS.get(record.dataset, frozenset())
    found = [
        _Mistake(
            image=image,
            label=seen[image].label if image in seen else None,
            said=tuple(sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))),
            seeds=answers.total(),
            mislabelled=image in suspects,
            pixels=unpacked(seen[image].pixels) if image in seen else None,
        )
        for image, answers in said.items()
    ]
    return Mistakes(
        seeds=len(record.seeds),
        mistakes=tuple(sorted(found, key=lambda mistake: (-mistake.seeds, mistake.image))),
        confusion=_confusion(found, inspections[0].label_counts, len(record.seeds)) if inspections else None,
        image_shape=inspections[0].image_shape if inspections else None,
    )


def _confusion(found: Sequence[_Mistake], label_counts: Sequence[int], seeds: int) -> list[list[int]] | None:
    table = [[0] * len(label_counts) for _ in label_counts]
    for mistake in found:
        if mistake.label is None:
            return None
        for answer, count in mistake.said:
            table[mistake.label][answer] += count
    for label, images in enumerate(label_counts):
        table[label][label] = images * seeds - sum(table[label])
    return table


class _SharedMistake(NamedTuple):
    """One test image, as the first network that got it wrong and has its pixels knows it.

    For each network the classes said, most frequent first, and the share of its seeds that got it wrong.
    """

    mistake: _Mistake
    shape: tuple[int, int]
    said: tuple[tuple[list[int], float], ...]


def shared_mistakes(images: Collection[int], sides: Sequence[Mistakes]) -> list[_SharedMistake]:
    """Return those of these images whose pixels are known, the one that most seeds get wrong first."""
    by_image = [{mistake.image: mistake for mistake in side.mistakes} for side in sides]
    found = []
    for image in images:
        made = [known.get(image) for known in by_image]
        said = tuple(
            ([answer for answer, _ in one.said], one.seeds / side.seeds) if one else ([], 0.0)
            for one, side in zip(made, sides, strict=True)
        )
        for one, side in zip(made, sides, strict=True):
            if one is not None and one.pixels is not None and side.image_shape is not None:
                found.append(_SharedMistake(one, side.image_shape, said))
                break
    return sorted(found, key=lambda item: (-sum(share for _, share in item.said), item.mistake.image))
