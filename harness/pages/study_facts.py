"""Facts of a study for the report pages: networks, answer, times, settings and evidence of the workspace.

Only this module reads files of a study. All facts are also defined for a study without events or results.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from harness.evidence import leaderboard_table
from harness.evidence.leaderboard_table import (
    LeaderboardRow,
    Survey,
    Verification,
    pareto_front,
    survey,
    validation_runs,
)
from harness.evidence.record import Record
from harness.pages.render import DASH, count
from harness.searching.ending import ending, key_of
from harness.searching.surrogate.prior import comparable_trainings, read_prior
from harness.spaces.catalog import network_name
from harness.spaces.network import Architecture
from harness.studies.candidate import MAX_SEEDS, NetworkState, costs_of, why_refuted
from harness.studies.config import StudyConfig, is_locked_by_a_process, read_config
from harness.studies.events import Proposal, RungReached, SessionBegan
from harness.studies.log import read_state
from harness.studies.study_state import StateDecision, StudyState
from harness.system import files, statistics
from harness.system.document import parse_json
from harness.system.files import Workspace
from harness.system.terminal import counted
from harness.training.result import Environment, Inspection, Purpose, Result, Status, read_inspections

# Networks that are named and drawn, best first; limited because a running search rewrites its report often.
MAX_NAMED = 100
DIGITS = 6  # of the hash, shown after the name of a network


@dataclass(frozen=True, slots=True, kw_only=True)
class PageNetwork:
    """Network of a study; unknown values are None.

    The *deciding* number of epochs is the number with which the network was confirmed or refuted, else the largest with
    a complete run. Accuracies and ``first`` are of runs with this number; ``remark`` and ``runs`` cover all runs.

    Attributes:
        second: Cost in the second metric, if any.
        label: Name from family and size with the first digits of the hash, such as ``posed-1462 1a2b3c``, or the digits
            alone.
        trials: Trials of the network with any number of epochs.
        origin: Source of the proposal, such as ``ladder`` (docs/project/glossary.md), or the name of a sampler.
        validation_accuracies_pct: Accuracy per seed at the last epoch, of fresh seeds if there are any; for a pruned
            network, at the epoch at which the run was stopped. Empty after a shortened run, until the shorter training
            has ended.
        is_fresh: Whether ``validation_accuracies_pct`` are of fresh seeds.
        first_run: First run, by whose accuracy the search selected the network.
        remark: Early ends of runs, and the reason of a failed confirmation.
        epochs: Deciding number of epochs; None for the epochs of the recipe, if no run has ended.
        runs: All runs, runs with the deciding number of epochs first.
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
    is_fresh: bool = False
    fresh_pct: tuple[float, ...] = ()
    first_run: Result | None = None
    row: LeaderboardRow | None = None
    remark: str = ""
    epochs: int | None = None
    runs: tuple[Result, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the values come from a complete training."""
        decided = (NetworkState.CONFIRMED, NetworkState.REFUTED, NetworkState.TRAINED)
        return self.state.is_verified or self.state in decided

    @property
    def accuracy_pct(self) -> float | None:
        """Mean of the validation accuracies in per cent."""
        return statistics.mean(self.validation_accuracies_pct) if self.validation_accuracies_pct else None

    @property
    def errors(self) -> float | None:
        """Wrong images out of ``validation_size``, mean over the seeds."""
        if self.accuracy_pct is None or self.validation_size is None:
            return None
        return (100 - self.accuracy_pct) / 100 * self.validation_size

    @property
    def first_pct(self) -> float | None:
        """Accuracy of the first run, biased upwards by selection; None before a complete training."""
        return self.first_run.validation_accuracy_pct if self.first_run and self.is_complete else None


def _networks(study: StudyState, rows: Mapping[str, LeaderboardRow]) -> tuple[PageNetwork, ...]:
    """Return all proposed networks of a study, best first.

    The order is: target reached, threshold met (both by lower cost), trained, pruned (both by higher accuracy), no
    accuracy. ``rows`` are the best rows of the leaderboard by hash.
    """
    runs = defaultdict[str, list[Result]](list)
    proposals = defaultdict[str, list[Proposal]](list)
    for result in study.results:
        runs[result.hash].append(result)
    for proposal in study.proposals.values():
        proposals[proposal.hash].append(proposal)
    rungs = [entry.event for entry in study.of_kind(RungReached) if entry.event.shorter_epochs is None]
    predicted_pct_by_trial = {event.trial: event.predicted_pct for event in rungs if event.pruned}
    networks = []
    for key, own_proposals in proposals.items():
        decision = study.last_decisions.get(key)
        networks.append(_network(study, own_proposals, runs[key], decision, rows.get(key), predicted_pct_by_trial))
    networks.sort(key=lambda network: _sort_key(network, study.config.threshold_pct))
    for index, item in enumerate(networks[:MAX_NAMED]):
        label = f"{network_name(item.architecture, item.parameters)} {item.label}".strip()
        networks[index] = replace(item, label=label)
    return tuple(networks)


def front_of(networks: Iterable[PageNetwork]) -> list[PageNetwork]:
    """Return the Pareto front of the trained networks, cost and validation accuracy, lowest cost first."""
    rivals = [network for network in networks if network.is_complete and network.accuracy_pct is not None]
    return pareto_front(
        rivals, lambda network: (network.cost, -statistics.mean(network.validation_accuracies_pct), network.hash)
    )


def _remark(decision: StateDecision | None, most_seeds: int, early_end_texts: Iterable[str]) -> str:
    """``most_seeds`` is the largest number of fresh seeds of a network."""
    parts = []
    if decision is not None and decision.state is NetworkState.REFUTED:
        why = why_refuted(decision.fresh_seeds, most_seeds, was_confirmed=decision.was_confirmed)
        parts.append(f"({counted(decision.fresh_seeds, 'fresh seed')}; {why})")
    return " ".join(filter(None, (*parts, *early_end_texts)))


def _network(
    study: StudyState,
    proposals: Sequence[Proposal],
    results: Sequence[Result],
    decision: StateDecision | None,
    row: LeaderboardRow | None,
    predicted_pct_by_trial: Mapping[int, float | None],
) -> PageNetwork:
    deciding_runs, other_length_runs = _by_length(results, decision)
    # The latest proposal if no run has ended.
    deciding_trials = [run.trial for run in deciding_runs[:1]]
    proposal = next((each for each in proposals if each.trial in deciding_trials), proposals[-1])
    confirming_runs = [run for run in deciding_runs if run.purpose is Purpose.CONFIRM]
    early_end_text, counted_runs = _progress(deciding_runs, predicted_pct_by_trial)
    early_end_texts = [early_end_text]
    for run in other_length_runs:
        if run.status in (Status.PRUNED, Status.SHORTENED):
            early_end_texts.append(f"({run.status} {_rung_text(run, predicted_pct_by_trial)})")
    costs = costs_of(proposal, study.config)
    first_run = next((run for run in deciding_runs if run.purpose is Purpose.SEARCH), None)
    validation_sizes = [run.validation_size for run in deciding_runs if run.validation_size]
    return PageNetwork(
        hash=proposal.hash,
        architecture=proposal.architecture,
        parameters=proposal.parameters,
        cost=costs[0],
        second=next(iter(costs[1:]), None),
        label=proposal.hash[:DIGITS],
        trial=proposal.trial,
        trials=frozenset({proposal.trial, *(run.trial for run in results)}),
        origin=proposal.origin,
        state=study.network_states[proposal.hash],
        validation_accuracies_pct=leaderboard_table.validation_accuracies_pct(counted_runs),
        validation_size=next(iter(validation_sizes), None),
        is_fresh=any(run.purpose is Purpose.CONFIRM for run in counted_runs),
        fresh_pct=leaderboard_table.validation_accuracies_pct(confirming_runs),
        first_run=first_run,
        row=row,
        remark=_remark(decision, study.config.group_folds or MAX_SEEDS, early_end_texts),
        epochs=deciding_runs[0].recipe.epochs if deciding_runs else proposal.epochs,
        runs=(*deciding_runs, *other_length_runs),
    )


def _by_length(results: Sequence[Result], decision: StateDecision | None) -> tuple[list[Result], list[Result]]:
    """Return the runs with the deciding number of epochs, and the remaining runs.

    The number of the decision decides, else the largest with a complete run, else the largest without a shortened run,
    else the largest.
    """
    by_length: dict[int, list[Result]] = defaultdict(list)
    for result in results:
        by_length[result.recipe.epochs].append(result)

    def preference(epochs: int) -> tuple[bool, bool, bool, int]:
        runs = by_length[epochs]
        is_decided = decision is not None and decision.trial in {run.trial for run in runs}
        return is_decided, bool(validation_runs(runs)), runs[0].status is not Status.SHORTENED, epochs

    epochs = max(by_length, key=preference, default=0)
    return by_length[epochs], [result for result in results if result.recipe.epochs != epochs]


def _progress(results: list[Result], predicted_pct_by_trial: Mapping[int, float | None]) -> tuple[str, list[Result]]:
    """Return why runs of equally many epochs ended early, and the runs whose accuracies count.

    The text may be empty. The complete runs count, else the pruned runs.
    """
    counted_runs = validation_runs(results)
    if counted_runs:
        incomplete = sum(result.status is not Status.COMPLETE for result in results)
        text = f"({incomplete} of {counted(len(results), 'run')} ended early)" if incomplete else ""
        return text, counted_runs
    rung_runs = [result for result in results if result.status in (Status.PRUNED, Status.SHORTENED)]
    if rung_runs:
        text = _rung_text(rung_runs[0], predicted_pct_by_trial)
        return text, [result for result in rung_runs if result.status is Status.PRUNED]
    return results[0].status.replace("_", " ") if results else "", []


def _rung_text(run: Result, predicted_pct_by_trial: Mapping[int, float | None]) -> str:
    """Return the rung at which a run ended; if pruned also its errors, and the 10 % quantile of the forecast errors."""
    place_text = f"in trial {run.trial} at epoch {run.trained_epochs} of {run.recipe.epochs}"
    predicted_pct = None if run.trial is None else predicted_pct_by_trial.get(run.trial)
    if predicted_pct is None or run.validation_errors is None or run.validation_size is None:
        return place_text
    # A forecast just above the limit must not be shown as the limit; 1e-9 absorbs rounding errors.
    prediction = count(math.ceil((100 - predicted_pct) / 100 * run.validation_size - 1e-9))
    errors = counted(run.validation_errors, "error")
    return f"{place_text}: {errors}; 10 % quantile of the forecast for the end: {prediction}"


def _sort_key(network: PageNetwork, threshold_pct: float) -> tuple[int, float, float, str]:
    accuracy = network.accuracy_pct
    if network.row is not None and network.row.reached:
        return (0, network.cost, 0.0, network.hash)
    if accuracy is None:
        return (4, network.cost, 0.0, network.hash)
    if not network.is_complete:
        return (3, -accuracy, network.cost, network.hash)
    if accuracy >= threshold_pct:
        return (1, network.cost, -accuracy, network.hash)
    return (2, -accuracy, network.cost, network.hash)


# A study --------------------------------------------------------------------------------------------------------------


class _MeasuredNetwork(NamedTuple):
    """Network with a recorded test accuracy; an inspection per seed that was verified on this machine."""

    record: Record
    row: LeaderboardRow
    inspections: tuple[Inspection, ...]


@dataclass(eq=False, repr=False)
class StudyFacts:
    """Facts of a study and the evidence of the workspace.

    Attributes:
        test_reads: Data set and purpose of each read of a test set.
        measured: Networks with a record for this data set and target, found by any study.
        origins: Source of each value of the configuration, such as ``default`` or ``call``.
        past_trainings: Prior observations of the surrogate; None if not recorded.
        is_searching: Whether a session is in progress, at work in the folder now.
        ending: End or state of the search.
        results: All finished runs, by trial; verifications are in records.
        last_utc: Time of the last event; empty without events.
        time_limit: Time limit of all sessions together in seconds, as stated in the last session; None if unknown or
            unlimited.
        networks: All proposed networks, best first, with the best row over the recipes of the records.
        answer: Network of the study (``StudyState.result``).
        record: Record of the answer; None without a verification.
        proof: Item of ``measured`` with the best row of the answer.
        network: Item of ``networks`` with the hash of the answer; None if the log has lost the proposal.
    """

    study: StudyState
    evidence: Survey
    measured: Sequence[_MeasuredNetwork] = ()
    _: KW_ONLY
    test_reads: Sequence[tuple[str, str]] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    past_trainings: int | None = None
    is_at_work: bool = False

    def __post_init__(self) -> None:
        study = self.study
        self.name = study.folder.name
        self.config = study.config
        self.results = study.results
        self.elapsed = study.seconds
        self.last_utc = study.entries[-1].utc if study.entries else ""
        self.sessions = study.of_kind(SessionBegan)
        self.time_limit = self.sessions[-1].event.seconds if self.sessions else None
        has_open_session = study.session is not None and isinstance(study.session.event, SessionBegan)
        self.is_searching = self.is_at_work and has_open_session
        rows: dict[str, LeaderboardRow] = {}
        for item in sorted(self.measured, key=lambda item: item.row.rank):
            rows.setdefault(item.row.hash, item.row)
        self.networks = _networks(study, rows)
        self.answer = study.result
        key = key_of(study, self.answer) if self.answer else None
        self.proof = next((item for item in self.measured if item.record.key == key), None)
        self.record = self.proof.record if self.proof else None
        self.row = self.proof.row if self.proof else None
        verdict = None if self.record is None else Verification.of(self.record, self.evidence.entries)
        self.ending = ending(study, verdict, is_at_work=self.is_at_work)
        self.network = next((item for item in self.networks if self.answer and item.hash == self.answer.hash), None)


def _test_read(line: str) -> tuple[str, str]:
    # Otherwise damage would hide reads of the test set.
    try:
        read = parse_json(line)
        return str(read.get("dataset", "")), str(read["purpose"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def read_study(
    folder: Path, workspace: Workspace, evidence: Survey | None = None, state: StudyState | None = None
) -> StudyFacts:
    """Read a study and the evidence about its networks, unless given."""
    study = state or read_state(folder)
    config = study.config
    evidence = evidence or survey(workspace, study)
    reads = [_test_read(line) for line in files.log_text(workspace.test_log).split("\n") if line.strip()]
    by_key = {row.key: row for row in evidence.rows}
    trained_hashes = {result.hash for result in study.results}
    measurements = []
    for item in evidence.records:
        if (item.dataset, item.target_pct) == (config.dataset, config.target_pct):
            inspections = _inspections_of(item, workspace) if item.hash in trained_hashes else ()
            measurements.append(_MeasuredNetwork(item, by_key[item.key, False], inspections))
    past = read_prior(folder)
    past_count = None if past is None else len(comparable_trainings(past, config.recipe))
    origins = read_config(folder).origins
    is_at_work = is_locked_by_a_process(folder)
    return StudyFacts(
        study,
        evidence,
        measurements,
        test_reads=reads,
        origins=origins,
        past_trainings=past_count,
        is_at_work=is_at_work,
    )


def _inspections_of(record: Record, workspace: Workspace) -> tuple[Inspection, ...]:
    """Inspections of a rerun with different weights are skipped."""
    weights = {run.index: run.weights_sha256 for run in record.seeds}
    inspections = read_inspections(workspace.runs, record.stem)
    return tuple(item for item in inspections if weights.get(item.seed_index) == item.weights_sha256)


def _text_of(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or DASH
    return str(value)


def settings(info: StudyFacts) -> list[tuple[str, str]]:
    """Return the configuration of a study as pairs of name and text, with sources."""
    config = info.config
    values = asdict(config)
    del values["recipe"], values["space_text"], values["known"]
    for name in ("start_from", "sampler_sha256", "image_folds", "group_folds", "validation_groups", "test_groups"):
        if not values[name]:
            del values[name]
    if not config.is_front:
        del values["second"], values["second_most"]
    if config.rungs:
        # With other numbers of epochs, the rungs are at the same fractions.
        rungs = _text_of(config.rungs)
        values["rungs"] = f"{rungs} of {config.recipe.epochs} epochs, the same fractions for all numbers of epochs"
    rows = []
    for name, value in values.items():
        # Options lack these suffixes.
        option = "epochs" if name == "lengths" else name.removesuffix("_pct").removesuffix("_name")
        source = info.origins.get(name, info.origins.get(option, "derived"))
        # The sources are names of click's ``ParameterSource``.
        source = {"commandline": "command line", "default_map": "file"}.get(source, source)
        rows.append((name, f"{_text_of(value)} ({source})"))
    return rows


def recipe_rows(config: StudyConfig) -> list[tuple[str, str]]:
    """Return the fields of the training recipe as pairs of name and text."""
    recipe = config.recipe.document
    if config.lengths:
        recipe["epochs"] = f"{', '.join(map(str, config.lengths))}: chosen for each network"
    return [(name, _text_of(value)) for name, value in recipe.items()]


def _code_text(environment: Environment) -> str:
    if environment.commit is None:
        return "not a git checkout"
    return environment.commit[:12] + (" with uncommitted changes" if environment.dirty else "")


def made_by(info: StudyFacts) -> dict[str, str]:
    """Return code version, machine and data of the results, different values joined by commas."""
    environments = [result.environment for result in info.results if result.environment is not None]
    if info.record is not None:
        environments += [run.environment for run in info.record.seeds]

    def joined(values: Iterable[str]) -> str:
        return ", ".join(sorted({value for value in values if value})) or DASH

    past = info.past_trainings
    return {
        "code": joined(map(_code_text, environments)),
        "Python": joined(item.python for item in environments),
        "torch": joined(item.torch for item in environments),
        "device": joined(item.device for item in environments),
        "instructions": joined(item.instructions for item in environments),
        "threads per worker": joined(str(item.threads) for item in environments),
        "data, SHA-256": joined([info.config.data_hash, *(item.data_hash for item in environments)]),
        "recipe hash": info.config.recipe.hash,
        "prior": DASH if past is None else f"{info.config.prior}: {counted(past, 'earlier training')}",
    }
