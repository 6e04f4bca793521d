"""A study as pages see it: the contents of its folder and its workspace, read once; its networks and its answer.

The contents of a study are read here only; pages write files and look for links. A study that has only just begun, or
was killed, lacks events and results, and its facts need none of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from harness.evidence import leaderboard, record
from harness.evidence.leaderboard import LeaderboardRow, pareto_front, validation_runs
from harness.evidence.record import Record
from harness.searching.surrogate.past import alike, read_prior
from harness.studies.candidate import VERIFIED_STATES, NetworkState, costs_of, why_refuted
from harness.studies.config import StudyConfig, is_owned, read_config, settings_of
from harness.studies.events import Proposal, RungReached, SessionBegan, SessionEnded, WinnerChosen
from harness.studies.log import read_state
from harness.studies.state import Decision, StudyState
from harness.system import statistics
from harness.system.document import parse_json
from harness.system.files import Workspace
from harness.training.recipe import recipe_document
from harness.training.result import Environment, Inspection, Purpose, Result, Status, read_inspections
from reports.render import DASH, count, plural
from search_spaces.catalog import network_name
from search_spaces.network import Architecture

# Only the best networks are named and drawn, which takes time: a search rewrites its report again and again.
MOST_NAMED = 100
# Digits of the hash that stand beside the name of a network.
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of a study; a figure that is not known is None.

    Attributes:
        cost: its cost in the metric that the study minimises; ``second`` in the second metric, None without one.
        label: a name from form and size, such as ``posed-1462``, and first digits of the hash, or these alone.
        origin: who proposed it, such as ``ladder``, ``aim`` (the surrogate) or a sampler.
        validation_accuracies_pct: at the last epoch, one per seed; of fresh seeds only, if there are any (``fresh``).
            That of a pruned network comes from the epoch at which it was stopped.
        first: the run that the search began with.
        remark: which of its runs ended early, and why its confirmation failed; empty where neither is so.
        epochs: length of the training that the figures are about; ``runs`` lists those of this length first.
    """

    hash: str
    architecture: Architecture
    parameters: int
    cost: int
    second: int | None = None
    label: str
    trial: int
    trials: frozenset[int | None]
    origin: str
    state: NetworkState
    validation_accuracies_pct: tuple[float, ...] = ()
    validation_size: int | None = None
    fresh: bool = False
    fresh_pct: tuple[float, ...] = ()
    first: Result | None = None
    row: LeaderboardRow | None = None
    remark: str = ""
    epochs: int | None = None
    runs: tuple[Result, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the figures are those of a whole training."""
        return self.state in (*VERIFIED_STATES, NetworkState.CONFIRMED, NetworkState.REFUTED, NetworkState.TRAINED)

    @property
    def accuracy_pct(self) -> float | None:
        """The mean of its validation accuracies."""
        return statistics.mean(self.validation_accuracies_pct) if self.validation_accuracies_pct else None

    @property
    def errors(self) -> float | None:
        """Wrong validation images of ``validation_size``, the mean of its seeds."""
        if self.accuracy_pct is None or self.validation_size is None:
            return None
        return (100 - self.accuracy_pct) / 100 * self.validation_size

    @property
    def first_pct(self) -> float | None:
        """The accuracy that the search chose it by, which luck has raised; None before a whole training."""
        return self.first.validation_accuracy_pct if self.first and self.complete else None


def _networks(study: StudyState, rows: Mapping[str, LeaderboardRow]) -> tuple[Network, ...]:
    """Return all networks that a study has decided to train, best first, with their rows by hash.

    Reached targets come first, then what meets the threshold (a lower cost is better), then the other trained networks
    and the pruned ones (more accurate is better), then those without any figure.
    """
    runs, proposals = defaultdict[str, list[Result]](list), defaultdict[str, list[Proposal]](list)
    for result in study.results:
        runs[result.hash].append(result)
    for proposal in study.proposals.values():
        proposals[proposal.hash].append(proposal)
    rungs = [entry.event for entry in study.of_kind(RungReached)]
    predicted_pct_by_trial = {event.trial: event.predicted_pct for event in rungs if event.pruned}
    networks = [
        _network(study, each, runs[key], study.last_decisions.get(key), rows.get(key), predicted_pct_by_trial)
        for key, each in proposals.items()
    ]
    networks.sort(key=lambda network: _order(network, study.config.threshold_pct))
    for index, item in enumerate(networks[:MOST_NAMED]):
        label = f"{network_name(item.architecture, item.parameters)} {item.label}".strip()
        networks[index] = replace(item, label=label)
    return tuple(networks)


def front_of(networks: Iterable[Network]) -> list[Network]:
    """Return the trained networks that beat all of equal or lower cost on validation, the lowest cost first."""
    trained = [network for network in networks if network.complete and network.accuracy_pct is not None]
    return pareto_front(trained, lambda network: (network.cost, -(network.accuracy_pct or 0.0), network.hash))


def _remark(decision: Decision | None, early_end_text: str, pruned_texts: Iterable[str]) -> str:
    """Return why a network was given up, what ended its runs early, and when those of other lengths were pruned."""
    parts = []
    if decision is not None and decision.state is NetworkState.REFUTED:
        why = why_refuted(decision.fresh_seeds, was_confirmed=decision.was_confirmed)
        parts.append(f"({plural(decision.fresh_seeds, 'fresh seed')}; {why})")
    if early_end_text:
        parts.append(early_end_text)
    parts += [f"(pruned {text})" for text in pruned_texts]
    return " ".join(parts)


def _network(
    study: StudyState,
    proposals: Sequence[Proposal],
    results: Sequence[Result],
    decision: Decision | None,
    row: LeaderboardRow | None,
    predicted_pct_by_trial: Mapping[int, float | None],
) -> Network:
    deciding_runs, other_length_runs = _by_length(results, decision)
    proposal = _deciding_proposal(proposals, deciding_runs)
    confirming_runs = [run for run in deciding_runs if run.purpose is Purpose.CONFIRM]
    progress = _progress(deciding_runs, predicted_pct_by_trial)
    pruned_texts = [
        _pruned_text(run, predicted_pct_by_trial) for run in other_length_runs if run.status is Status.PRUNED
    ]
    costs = costs_of(proposal, study.config)
    return Network(
        hash=proposal.hash,
        architecture=proposal.architecture,
        parameters=proposal.parameters,
        cost=costs[0],
        second=costs[1] if costs[1:] else None,
        label=proposal.hash[:DIGITS],
        trial=proposal.trial,
        trials=frozenset({proposal.trial, *(run.trial for run in results)}),
        origin=proposal.origin,
        state=study.network_states[proposal.hash],
        validation_accuracies_pct=_accuracies(progress.counted_runs),
        validation_size=next((run.validation_size for run in deciding_runs if run.validation_size), None),
        fresh=any(run.purpose is Purpose.CONFIRM for run in progress.counted_runs),
        fresh_pct=_accuracies(confirming_runs),
        first=next((run for run in deciding_runs if run.purpose is Purpose.SEARCH), None),
        row=row,
        remark=_remark(decision, progress.early_end_text, pruned_texts),
        epochs=deciding_runs[0].recipe.epochs if deciding_runs else proposal.epochs,
        runs=(*deciding_runs, *other_length_runs),
    )


def _deciding_proposal(proposals: Sequence[Proposal], deciding_runs: Sequence[Result]) -> Proposal:
    """Return the proposal of the first run by which a network is judged; the latest where there is none."""
    trial = deciding_runs[0].trial if deciding_runs else None
    return next((proposal for proposal in proposals if proposal.trial == trial), proposals[-1])


def _by_length(results: Sequence[Result], decision: Decision | None) -> tuple[list[Result], list[Result]]:
    """Return the runs of the length by which a network is judged, and those of other lengths.

    It is the length of the decision, else the longest that was trained whole.
    """
    by_length: dict[int, list[Result]] = defaultdict(list)
    for result in results:
        by_length[result.recipe.epochs].append(result)

    def weight(epochs: int) -> tuple[bool, bool, int]:
        runs = by_length[epochs]
        is_decided = decision is not None and decision.trial in {run.trial for run in runs}
        return is_decided, bool(validation_runs(runs)), epochs

    epochs = max(by_length, key=weight, default=0)
    return by_length[epochs], [result for result in results if result.recipe.epochs != epochs]


def _accuracies(runs: Iterable[Result]) -> tuple[float, ...]:
    return tuple(pct for run in runs if (pct := run.validation_accuracy_pct) is not None)


class _Progress(NamedTuple):
    """Why some runs of a network ended early, and the runs whose figures count, by those of one length alone."""

    early_end_text: str
    counted_runs: list[Result]


def _progress(results: list[Result], predicted_pct_by_trial: Mapping[int, float | None]) -> _Progress:
    counted_runs = validation_runs(results)
    if counted_runs:
        early = sum(result.status is not Status.COMPLETE for result in results)
        text = f"({early} of {plural(len(results), 'run')} ended early)" if early else ""
        return _Progress(text, counted_runs)
    pruned = [result for result in results if result.status is Status.PRUNED]
    if pruned:
        return _Progress(_pruned_text(pruned[0], predicted_pct_by_trial), pruned)
    if results:
        return _Progress(results[0].status.replace("_", " "), [])
    return _Progress("", [])


def _pruned_text(run: Result, predicted_pct_by_trial: Mapping[int, float | None]) -> str:
    """Return when a run was pruned, its errors then, and the errors below which one training in ten would end."""
    where = f"in trial {run.trial} at epoch {len(run.history)} of {run.recipe.epochs}"
    predicted_pct = predicted_pct_by_trial.get(-1 if run.trial is None else run.trial)
    if predicted_pct is None or run.validation_errors is None or run.validation_size is None:
        return where
    # Round up, so that a forecast just over the limit is not shown as the limit itself; 1e-9 absorbs float error.
    end = count(math.ceil((100 - predicted_pct) / 100 * run.validation_size - 1e-9))
    return f"{where}: {plural(run.validation_errors, 'error')} then; one training in ten ends below {end}"


def _order(network: Network, threshold_pct: float) -> tuple[int, float, float, str]:
    accuracy = network.accuracy_pct
    if network.row is not None and network.row.reached:
        return (0, network.cost, 0.0, network.hash)
    if accuracy is None:
        return (4, network.cost, 0.0, network.hash)
    if not network.complete:
        return (3, -accuracy, network.cost, network.hash)
    if accuracy >= threshold_pct:
        return (1, network.cost, -accuracy, network.hash)
    return (2, -accuracy, network.cost, network.hash)


# A study --------------------------------------------------------------------------------------------------------------


class _MeasuredNetwork(NamedTuple):
    """A network whose test accuracy is on record: its record, its row, and inspections of its recorded weights.

    There is one inspection per seed that was verified on this machine, for networks that the study has trained.
    """

    record: Record
    row: LeaderboardRow
    inspections: tuple[Inspection, ...]


class _StudyAnswer(NamedTuple):
    """The answer of a study with its accuracy on fresh validation seeds or its record and row."""

    hash: str
    parameters: int
    validation_accuracy_pct: float | None
    record: Record | None = None
    row: LeaderboardRow | None = None


class WorkspaceEvidence(NamedTuple):
    """The evidence of a workspace, which all its studies share.

    Attributes:
        rows: the leaderboard made from all records.
        test_reads: data set and purpose of each read of a test set.
        left_out: one line per file that does not hold together, which the rows lack.
    """

    records: tuple[Record, ...] = ()
    rows: tuple[LeaderboardRow, ...] = ()
    test_reads: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


class StudyFacts:
    """A study: what has happened to it, and the evidence of its workspace.

    Attributes:
        measured: networks of this data set and target with a record, whichever study found them.
        origins: where each value of the configuration came from, such as a file or the command line.
        past_trainings: how many earlier trainings its surrogate began with; None where the study does not say.
        at_work: a program works in its folder now; ``searching`` where a session goes on, too.
        results: all finished runs, in order of trial, purpose and seed.
        elapsed: seconds of all sessions together.
        sessions: the calls of the search that worked on it; ``last_turn`` is the last event that began or ended one.
        time_limit: seconds that the last session was given; None for no end, or where its program did not note them.
        networks: all that it has decided to train, best first; each with the best row over the recipes of its records.
        answer: ``StudyState.answer``, else the winner that was chosen last and missed; ``row`` is its row, ``proof``
            the measured network of that row, ``network`` the answer among the networks, None where the log has lost it.
    """

    def __init__(
        self,
        study: StudyState,
        evidence: WorkspaceEvidence,
        measured: Sequence[_MeasuredNetwork] = (),
        *,
        origins: Mapping[str, str] = MappingProxyType({}),
        past_trainings: int | None = None,
        at_work: bool = False,
    ) -> None:
        """Derive the networks, the answer and the times from the study and the evidence."""
        self.study = study
        self.evidence = evidence
        self.measured = measured
        self.origins = origins
        self.past_trainings, self.at_work = past_trainings, at_work
        self.name = study.folder.name
        self.config = study.config
        self.results = study.results
        self.elapsed, self.last_utc = study.seconds, study.entries[-1].utc if study.entries else ""
        self.sessions = study.of_kind(SessionBegan)
        self.time_limit = self.sessions[-1].event.seconds if self.sessions else None
        turns = (entry for entry in reversed(study.entries) if isinstance(entry.event, SessionBegan | SessionEnded))
        self.last_turn = next(turns, None)
        self.searching = at_work and self.last_turn is not None and isinstance(self.last_turn.event, SessionBegan)
        rows: dict[str, LeaderboardRow] = {}
        for item in sorted(measured, key=lambda item: item.row.rank):
            rows.setdefault(item.row.hash, item.row)
        self.networks = _networks(study, rows)
        self.answer = self._answer()
        self.row = self.answer.row if self.answer else None
        self.proof = next((item for item in measured if self.row and item.row.key == self.row.key), None)
        self.network = next((item for item in self.networks if self.answer and item.hash == self.answer.hash), None)

    def _answer(self) -> _StudyAnswer | None:
        answer = self.study.answer
        chosen = [entry.event for entry in self.study.of_kind(WinnerChosen)]
        if answer is None and not chosen:
            return None
        # Without an answer the page is about the network whose verification missed last.
        trial = chosen[-1].trial if answer is None else answer.proposal.trial
        candidate = self.study.candidates.get(trial)
        if candidate is None:
            return _StudyAnswer(chosen[-1].hash, chosen[-1].parameters, chosen[-1].validation_accuracy_pct)
        proposal = candidate.proposal
        recipe, _ = self.config.recipe_of(proposal.epochs)
        own = [item for item in self.measured if item.row.hash == proposal.hash]
        rows = [item for item in own if item.row.recipe_hash == recipe.hash]
        best = min(rows, key=lambda item: item.row.rank, default=None)
        if best is not None:
            return _StudyAnswer(proposal.hash, proposal.parameters, None, best.record, best.row)
        accuracies = candidate.fresh_pct
        validation_pct = statistics.mean(accuracies) if accuracies else None
        return _StudyAnswer(proposal.hash, proposal.parameters, validation_pct)


def read_evidence(workspace: Workspace) -> WorkspaceEvidence:
    """Read what all studies of a workspace share; files that do not hold together are left out and named."""
    survey = leaderboard.survey(workspace)
    log = workspace.test_log
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    reads = [_test_read(line) for line in lines if line.strip()]
    return WorkspaceEvidence(survey.records, survey.rows, tuple(reads), tuple(error.told for error in survey.damage))


def _test_read(line: str) -> tuple[str, str]:
    # A damaged line counts as a read, too.
    try:
        read = parse_json(line)
        return str(read.get("dataset", "")), str(read["purpose"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def read_study(
    folder: Path, workspace: Workspace, evidence: WorkspaceEvidence | None = None, state: StudyState | None = None
) -> StudyFacts:
    """Read a study and what its workspace knows about its networks.

    Args:
        evidence: that of the workspace, if it has been read already; ``state`` of the study likewise.
    """
    study = state or read_state(folder)
    config = study.config
    evidence = evidence or read_evidence(workspace)
    by_key = {row.key: row for row in evidence.rows}
    past = read_prior(folder)
    known = {result.hash for result in study.results}
    measured = [
        _MeasuredNetwork(item, by_key[*item.key, False], inspections_of(item, workspace) if item.hash in known else ())
        for item in evidence.records
        if (item.dataset, item.target_pct) == (config.dataset, config.target_pct)
    ]
    trainings = None if past is None else alike(past, config.recipe)
    return StudyFacts(
        study,
        evidence,
        measured,
        origins=read_config(folder).origins,
        past_trainings=None if trainings is None else len(trainings),
        at_work=is_owned(folder),
    )


def inspections_of(evidence: Record, workspace: Workspace) -> tuple[Inspection, ...]:
    """Return the inspections of a record's own weights; a rerun that gave other weights says nothing about them."""
    weights = {run.index: run.weights_sha256 for run in evidence.seeds}
    inspections = read_inspections(workspace.runs, record.path_of(workspace.records, evidence).stem)
    return tuple(item for item in inspections if weights.get(item.seed_index) == item.weights_sha256)


def shown(value: object) -> str:
    """Return a value of a setting in words."""
    return (" ".join(map(str, value)) or DASH) if isinstance(value, tuple | list) else str(value)


def settings(info: StudyFacts) -> list[tuple[str, str]]:
    """Return the configuration of a study, each value with where it came from."""
    config = info.config
    values = settings_of(config)
    del values["recipe"], values["space_text"], values["known"]
    for name in ("start_from", "sampler_sha256"):
        if not values[name]:
            del values[name]
    if not config.is_front:
        del values["second"], values["second_most"]
    if config.rungs:
        # A training of another length has its rungs after the same shares of its epochs.
        rungs = shown(config.rungs)
        values["rungs"] = f"{rungs} of {config.recipe.epochs} epochs, and the same shares of other lengths"
    rows = []
    for name, value in values.items():
        # Options of the command line differ from fields in these endings.
        option = "epochs" if name == "lengths" else name.removesuffix("_pct").removesuffix("_name")
        origin = info.origins.get(name, info.origins.get(option, "derived"))
        origin = {"commandline": "command line", "default_map": "file"}.get(origin, origin)
        rows.append((name, f"{shown(value)} ({origin})"))
    return rows


def recipe_rows(config: StudyConfig) -> list[tuple[str, str]]:
    """Return the fields of the training recipe."""
    recipe = recipe_document(config.recipe)
    if config.lengths:
        recipe["epochs"] = f"{', '.join(map(str, config.lengths))}: chosen for each network"
    return [(name, shown(value)) for name, value in recipe.items()]


def _code_text(environment: Environment) -> str:
    if environment.commit is None:
        return "not a checkout"
    return environment.commit[:12] + (" with uncommitted changes" if environment.dirty else "")


def made_by(info: StudyFacts) -> dict[str, str]:
    """Return the code, machine and data behind the results, each with all values that occur."""
    evidence = info.answer.record if info.answer else None
    environments = [result.environment for result in info.results if result.environment is not None]
    environments += [run.environment for run in evidence.seeds] if evidence else []

    def every(values: Iterable[str]) -> str:
        return ", ".join(sorted({value for value in values if value})) or DASH

    past = info.past_trainings
    return {
        "code": every(map(_code_text, environments)),
        **{name: every(getattr(item, name.lower()) for item in environments) for name in ("Python", "torch", "device")},
        "instructions": every(item.instructions for item in environments),
        "threads a worker": every(str(item.threads) for item in environments),
        "data, SHA-256": every([info.config.data_hash, *(item.data_hash for item in environments)]),
        "recipe hash": info.config.recipe.hash,
        "prior": DASH if past is None else f"{info.config.prior}: {plural(past, 'earlier training')}",
    }
