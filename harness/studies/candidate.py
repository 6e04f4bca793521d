"""Candidates of a study: proposed networks with their runs, and the rules that confirm and refute candidates.

Accuracies are per cent of the validation images; the threshold is the validation accuracy that corresponds to the
target.

- A candidate *is confirmed* while the fresh seeds predict that a verification passes, and *is refuted* when further
  seeds would be wasted. Both depend on the runs of the candidate alone.
- The *incumbent* is the confirmed candidate of the lowest cost whose verification has not missed the target; if two
  costs are minimised, these candidates form a Pareto front.
- A *contender* is confirmed or due a further run; among thousands of candidates, only few are.
- The *nearest miss* is the unconfirmed candidate with the fewest errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from harness.data.datasets import dataset
from harness.data.groups import GROUP_CONFIDENCE, GroupCounts
from harness.spaces.network import Architecture, Task, analyse
from harness.spaces.notation import parse_space
from harness.spaces.space import Metric, Objective, SearchSpace, Weighted, measured, size_text
from harness.studies.config import StudyConfig
from harness.studies.events import Proposal
from harness.system import statistics
from harness.system.terminal import counted
from harness.training.result import Errors, Result, Status

CONFIRM_SEEDS = 2  # fewest fresh seeds of a confirmed candidate
MAX_SEEDS = 6  # most fresh seeds; a candidate that is not confirmed by then is refuted
# Probability that a verification on ``VERIFY_SEEDS`` seeds passes, given the fresh seeds and the error ratio measured
# on training images, from which a candidate is confirmed. Of 53 recorded verifications 3 missed (diary 104).
CONFIDENCE = 0.80
_SURE = 0.98  # probability to pass from which candidates are verified in the order of cost (``surest_first``)
VERIFY_SEEDS = 6  # of a predicted verification; with many workers up to 8 (``time_budget.verify_seeds``)
_REFUTED_BELOW = 0.25  # smallest ``chance_to_confirm`` without a refutation
# Standard deviation between seeds as a share of the errors: 0.06 to 0.08 for networks with 100 and with 400 errors
# (diary 52).
SEED_SHARE = 0.08
# Fewest errors for which ``SEED_SHARE`` holds. Below, the squared share is inversely proportional to the number of
# errors (diary 124).
_COUNTED_ERRORS = 60.0
MIN_COUNTED = 0.5  # errors assumed in place of 0 errors, which prove little on few images and have no logarithm
_CONTINUITY = 0.5  # images, continuity correction of a count of errors (Yates 1934)
# Selection bias of a first run that passed, as a share of the errors: half of ``SEED_SHARE``. The bias is the whole
# share if networks are drawn from many that miss (diary 49), less if networks are chosen by the predicted chance.
_SELECTION_BIAS_SHARE = 0.04
# Degrees of freedom of ``SEED_SHARE`` as the prior of the standard deviation between a few seeds (moderated variance,
# Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004).
_SEED_FREEDOM = 20
# Standard deviation between networks of the ratio of errors on unseen images to validation errors, as a share: 0.032
# among five networks of five to eight epochs, nothing beyond the seeds among five of 12 to 60 epochs (diary 56 and
# 91). The larger value is used.
_NETWORK_SHARE = 0.032
# Squared relative deviation of the mean of a verification from the validation mean.
_VERIFY_SQUARE = SEED_SHARE**2 / VERIFY_SEEDS + _NETWORK_SHARE**2
# Final errors per error at a rung, median on MNIST, by share of the epochs (diary 5).
_TYPICAL_RATIO = {0.25: 0.62, 0.4: 0.74, 0.5: 0.81, 0.6: 0.89}
_TYPICAL_RUNS = 4  # weight of ``_TYPICAL_RATIO`` in runs; low, as errors on hard data hardly fall after a rung


BASELINE = "baseline"  # origin of the networks with which a search begins, because their training is cheap
SURROGATE = "surrogate"  # origin of the networks that the surrogate model proposes; name of the default sampler


def is_linear(origin: str, network: Architecture) -> bool:
    """Return whether a network of this origin (``Proposal.origin``) is a linear baseline."""
    return origin == BASELINE and "conv" not in str(network)


class NetworkState(StrEnum):
    """Progress of a network in a study, best state first; ``TRANSITIONS`` lists the changes of state."""

    MET = "met"
    OPEN = "open"
    CONFIRMED = "confirmed"
    MISSED = "missed"
    REFUTED = "failed confirmation"
    TRAINED = "trained"
    PRUNED = "pruned"
    FAILED = "failed"
    SHORTENED = "shortened"
    TRAINING = "training"
    WAITING = "waiting"

    @property
    def is_verified(self) -> bool:
        """Whether the network was verified."""
        return self in (NetworkState.MET, NetworkState.OPEN, NetworkState.MISSED)

    @property
    def is_confirmed(self) -> bool:
        """Whether the network was confirmed, and no verification missed the target."""
        return self in (NetworkState.MET, NetworkState.OPEN, NetworkState.CONFIRMED)


# If the search ends before the shorter training, a network stays shortened.
_BEFORE_A_RUN = (NetworkState.WAITING, NetworkState.TRAINING, NetworkState.SHORTENED)
_UNVERIFIED = tuple(state for state in NetworkState if not state.is_verified)
# States from which an event of the log leads to a state; from any other state, the event changes nothing. Logs of older
# programs may lack events, so confirmations, refutations and verdicts do not depend on earlier events. Only a further
# verdict changes a verdict.
TRANSITIONS: Mapping[NetworkState, Sequence[NetworkState]] = {
    NetworkState.TRAINING: _BEFORE_A_RUN,  # the first run reached a rung
    NetworkState.SHORTENED: _BEFORE_A_RUN,
    NetworkState.FAILED: _BEFORE_A_RUN,
    # With several numbers of epochs, the best first run counts.
    NetworkState.PRUNED: (*_BEFORE_A_RUN, NetworkState.FAILED),
    NetworkState.TRAINED: (*_BEFORE_A_RUN, NetworkState.FAILED, NetworkState.PRUNED),
    NetworkState.CONFIRMED: _UNVERIFIED,
    NetworkState.REFUTED: _UNVERIFIED,
    NetworkState.MET: tuple(NetworkState),
    NetworkState.OPEN: tuple(NetworkState),
    NetworkState.MISSED: tuple(NetworkState),
}


@dataclass(slots=True)
class Candidate:
    """A proposed network with all runs.

    Attributes:
        cost: Value of the minimised metric; if two are minimised, the geometric mean of both values.
        first_run: None until this run has ended.
        fresh_runs: Ended runs on fresh seeds, in order.
        confirm_seeds: Fewest fresh seeds for a confirmation; 0 if the first run suffices.
        groups: Set if each fresh seed validates on a separate fold of groups.
        cases_of_a_run: Largest effective number of images of a run; infinite without copies.
        shorter_epochs: Epochs of a training that replaces the first run (``scheduler.shorter_epochs``); else None.
    """

    proposal: Proposal
    cost: int
    first_run: Result | None = None
    fresh_runs: list[Result] = field(default_factory=list)
    repeats: int = 0
    confirm_seeds: int = CONFIRM_SEEDS
    threshold_pct: float = field(kw_only=True)
    costs: tuple[int, ...] = ()
    classes: int = 10
    groups: GroupCounts | None = None
    cases_of_a_run: float = math.inf
    shorter_epochs: int | None = None

    def __post_init__(self) -> None:
        self.costs = self.costs or (self.cost,)

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: lowest cost first, earlier trial first at equal cost."""
        return (self.cost, self.proposal.trial)

    @property
    def runs(self) -> list[Result]:
        """All ended runs."""
        return [*self.fresh_runs] if self.first_run is None else [self.first_run, *self.fresh_runs]

    @property
    def guessing_pct(self) -> float:
        """Accuracy of guessing, which is assumed for a run that ended without an accuracy."""
        return 100 / self.classes

    @property
    def fresh_pct(self) -> list[float]:
        """Accuracies on the fresh seeds; ``guessing_pct`` for a run without one."""
        accuracies = [result.validation_accuracy_pct for result in self.fresh_runs]
        return [self.guessing_pct if accuracy is None else accuracy for accuracy in accuracies]

    @property
    def passed_first(self) -> bool:
        """Whether the first run reached the threshold (``reaches_threshold``)."""
        first = self.first_run
        if first is None or first.status is not Status.COMPLETE or first.validation is None:
            return False
        return reaches_threshold(first.validation.wrong, first.validation.images, self.threshold_pct)

    @property
    def is_confirmed(self) -> bool:
        """Whether the fresh seeds predict a passed verification; ``passed_first`` if ``confirm_seeds`` is 0."""
        if not self.confirm_seeds:
            return self.passed_first
        return len(self.fresh_runs) >= self.confirm_seeds and self.chance_to_verify >= self.confidence

    @property
    def confidence(self) -> float:
        """Smallest ``chance_to_verify`` of a confirmed candidate."""
        return CONFIDENCE if self.groups is None else GROUP_CONFIDENCE

    @property
    def is_refuted(self) -> bool:
        """Whether further seeds would be wasted: ``most_seeds`` were run, or ``chance_to_confirm`` is too low."""
        if not self.fresh_runs or self.is_confirmed:
            return False
        return len(self.fresh_runs) >= self.most_seeds or self.chance_to_confirm < _REFUTED_BELOW

    @property
    def most_seeds(self) -> int:
        """Most fresh seeds: a seed per fold of groups, as further seeds show no further groups; else ``MAX_SEEDS``."""
        return MAX_SEEDS if self.groups is None else self.groups.folds

    @property
    def is_contender(self) -> bool:
        """Whether the candidate is confirmed or due a further run; verifications are not considered."""
        if self.first_run is None or self.is_confirmed:
            return True
        return self.seeds_wanted > len(self.fresh_runs) and not self.is_refuted

    @property
    def seeds_wanted(self) -> int:
        """Fresh seeds that the candidate shall have by now: ended, in training and due.

        A candidate that passed the first run gets ``confirm_seeds`` fresh seeds at once, then single seeds, while
        ``chance_to_confirm`` is at least ``_REFUTED_BELOW``; the first fresh seed does not depend on this chance
        (diary 141). A candidate whose complete first run missed the threshold gets a seed for each repeated proposal.
        """
        if self.passed_first:
            if self.chance_to_confirm >= _REFUTED_BELOW:
                return max(self.confirm_seeds, len(self.fresh_runs) + 1)
            return max(min(1, self.confirm_seeds), len(self.fresh_runs))
        is_complete = self.first_run is not None and self.first_run.status is Status.COMPLETE
        return self.repeats if is_complete else 0

    @property
    def _images_of_a_run(self) -> float:
        """Mean effective number of validation images of a run; infinite if unknown: ``_COUNTED_ERRORS`` is off."""
        sizes = [float(run.validation_size) for run in self.runs if run.validation_size]
        return min(statistics.mean(sizes), self.cases_of_a_run) if sizes else math.inf

    def _least_errors_pct(self, runs: int) -> float:
        return 100 * MIN_COUNTED / (self._images_of_a_run * runs)

    @property
    def chance_to_verify(self) -> float:
        """Probability that the mean of a verification reaches the target, given the fresh seeds, at least one.

        ``T((log(e) - log(m)) / sqrt(v / n + _VERIFY_SQUARE))`` with Student's distribution function ``T``
        (``_SEED_FREEDOM + n - 1`` degrees of freedom), the allowed error rate ``e``, and the mean error rate ``m`` and
        the moderated squared relative deviation ``v`` of ``n`` fresh seeds (Smyth 2004). With folds of groups, ``v`` is
        the deviation between folds, and the deviation of the test groups is added (``GroupCounts``).
        """
        errors_pct = [100 - accuracy for accuracy in self.fresh_pct]
        seeds = len(errors_pct)
        images = self._images_of_a_run
        mean_pct = max(statistics.mean(errors_pct), self._least_errors_pct(seeds))
        seed_square = seed_share_square(mean_pct / 100 * images)
        if self.groups is not None:
            fold_square = self.groups.fold_square(seed_square, [errors_pct])
            unseen_square = self.groups.unseen_square(fold_square, seed_square)
            deviation = math.sqrt(fold_square / seeds + unseen_square + _VERIFY_SQUARE)
            margin = _log_ratio(100 - self.threshold_pct, mean_pct)
            return statistics.student_share(margin / deviation, self.groups.freedom(seeds))
        squares = math.fsum((error_pct / mean_pct - 1) ** 2 for error_pct in errors_pct)
        freedom = _SEED_FREEDOM + seeds - 1
        moderated_square = (_SEED_FREEDOM * seed_square + squares) / freedom
        deviation = math.sqrt(moderated_square / seeds + _VERIFY_SQUARE)
        return statistics.student_share(_log_ratio(100 - self.threshold_pct, mean_pct) / deviation, freedom)

    @property
    def chance_to_confirm(self) -> float:
        """Probability that the candidate is confirmed by the next fresh seeds, given all runs.

        ``Phi((log(e) - log(m)) / d)`` with the standard normal distribution function ``Phi``, the largest mean error
        rate ``e`` that is confirmed (``needed_share``), the predicted mean error rate ``m`` over all fresh seeds, the
        next seeds included, and the relative deviation ``d`` of ``m``. The next seeds are predicted by the mean of all
        runs, the first run included; if no run makes an error, by ``MIN_COUNTED`` errors in all runs together. With
        folds of groups, the next seeds validate on further groups (``GroupCounts.fold_square``).
        """
        first_pct = self.guessing_pct
        if self.first_run is not None and self.first_run.validation_accuracy_pct is not None:
            first_pct = self.first_run.validation_accuracy_pct
        bias_factor = 1 + _SELECTION_BIAS_SHARE if self.passed_first else 1.0
        fresh_errors_pct = [100 - accuracy for accuracy in self.fresh_pct]
        errors_pct = [bias_factor * (100 - first_pct), *fresh_errors_pct]
        total = max(CONFIRM_SEEDS, self.confirm_seeds, len(fresh_errors_pct) + 1)  # fresh seeds, with the next seeds
        remaining_seeds = total - len(fresh_errors_pct)
        next_pct = max(statistics.mean(errors_pct), self._least_errors_pct(len(errors_pct)))
        mean_pct = (math.fsum(fresh_errors_pct) + remaining_seeds * next_pct) / total
        run_square = seed_share_square(mean_pct / 100 * self._images_of_a_run)
        if self.groups is not None:
            run_square = self.groups.fold_square(run_square, [errors_pct])
        deviation = remaining_seeds / total * math.sqrt(run_square * (1 / remaining_seeds + 1 / len(errors_pct)))
        needed_pct = (100 - self.threshold_pct) * needed_share(total, self.groups)
        # The standard normal distribution function.
        return 0.5 * math.erfc(-_log_ratio(needed_pct, mean_pct) / deviation / math.sqrt(2))

    def expected_errors(self, ratios: Mapping[float, float]) -> float | None:
        """Return the expected final validation errors, on as many images as the first run validated on.

        The mean over the runs with an error count or, for a first run that ended at a rung, the errors times the ratio
        of the nearest rung (``rung_ratios``). None if the first run has no error count, diverged, or has not ended.
        """
        first = self.first_run
        if first is None or first.validation_errors is None:
            return None
        if first.status is Status.COMPLETE:
            images = first.required_validation.images
            evaluations = [run.required_validation for run in self.runs if run.validation_errors is not None]
            return statistics.mean([errors.wrong * images / errors.images for errors in evaluations])
        if not first.status.ended_without_failure:
            return None
        return ratios[_nearest_share(first.trained_epochs / first.recipe.epochs)] * first.validation_errors

    @property
    def on_fresh_seeds(self) -> dict[str, Any]:
        """Arguments of the events about fresh seeds (``Confirmed``, ``FailedConfirmation``, ``WinnerChosen``)."""
        return {
            "trial": self.proposal.trial,
            "hash": self.proposal.hash,
            "parameters": self.proposal.parameters,
            "validation_accuracy_pct": statistics.mean(self.fresh_pct),
            "validation_seeds": len(self.fresh_runs),
        }


def _nearest_share(ended_share: float) -> float:
    return min(_TYPICAL_RATIO, key=lambda share: abs(share - ended_share))


def reaches_threshold(wrong: float, images: int, threshold_pct: float) -> bool:
    """Return whether a single run reaches a threshold, with a continuity correction of half an image.

    Without the correction, a run on a fold of few images would have to be better than the threshold: at 87 % of 7
    images, 0.9 errors are allowed, and a network that makes 0.9 errors per run makes at least one in 60 % of the runs.
    """
    return statistics.reaches(100 * (1 - (wrong - _CONTINUITY) / images), threshold_pct)


def rung_ratios(candidates: Iterable[Candidate]) -> dict[float, float]:
    """Return the final errors per error at a rung, by the shares of the epochs in ``_TYPICAL_RATIO``.

    Geometric means over ``_TYPICAL_RUNS`` runs with ``_TYPICAL_RATIO`` and all evaluated epochs, except the last, of
    the complete runs of the candidates; 0.5 is added to each count of errors.
    """
    log_ratios = {share: [math.log(ratio)] * _TYPICAL_RUNS for share, ratio in _TYPICAL_RATIO.items()}
    for run in (run for candidate in candidates for run in candidate.runs):
        if run.status is not Status.COMPLETE or run.validation_errors is None:
            continue
        for epoch in run.history[:-1]:
            if epoch.validation_errors is not None:
                ratio = (run.validation_errors + 0.5) / (epoch.validation_errors + 0.5)
                log_ratios[_nearest_share(epoch.epoch / run.recipe.epochs)].append(math.log(ratio))
    return {share: math.exp(statistics.mean(values)) for share, values in log_ratios.items()}


def objective_of(config: StudyConfig, weight: float = 0.5) -> Objective:
    """Return the objective of a study: the minimised metric, or both metrics with ``weight`` for the first."""
    if not config.is_front:
        return config.minimised[0]
    first, second = config.minimised
    return Weighted((first, second), weight)


def combined_cost(costs: tuple[int, ...], objective: Objective) -> int:
    """Return costs of a network, or limits of costs, combined by an objective."""
    return objective.of(costs) if isinstance(objective, Weighted) else costs[0]


def study_space(config: StudyConfig, task: Task) -> SearchSpace:
    """Return the search space of a study, with its conditions and bits per weight."""
    space = parse_space(config.space_text, config.space, task)
    return replace(space, weight_bits=config.recipe.weight_bits)


def costs_of(proposal: Proposal, config: StudyConfig) -> tuple[int, ...]:
    """Return the value of each minimised metric of a study for a proposed network."""
    if config.minimised == (Metric.PARAMETERS,):
        return (proposal.parameters,)
    analysis = analyse(proposal.architecture, dataset(config.dataset).task, weight_bits=config.recipe.weight_bits)
    return tuple(measured(analysis, each) for each in config.minimised)


def confirm_seeds_of(config: StudyConfig) -> int:
    """Return the fewest fresh seeds of a confirmed candidate of a study: at least one per fold.

    With few images, two fresh seeds validate on few images: among many networks some pass on both folds by chance.
    """
    return max(CONFIRM_SEEDS, config.image_folds, config.group_folds)


def seed_share_square(errors: float) -> float:
    """Return the square of the relative standard deviation between seeds with ``errors`` errors per run."""
    # At least ``MIN_COUNTED`` errors in the most fresh seeds together.
    return SEED_SHARE**2 * max(1.0, _COUNTED_ERRORS / max(errors, MIN_COUNTED / MAX_SEEDS))


def needed_share(
    seeds: int = CONFIRM_SEEDS, groups: GroupCounts | None = None, errors: Sequence[Sequence[float]] = ()
) -> float:
    """Return the largest mean error on ``seeds`` fresh seeds that is confirmed, as a share of the allowed error.

    Assumes the usual deviation: ``exp(-t * sqrt(SEED_SHARE**2 / seeds + _VERIFY_SQUARE))``, with Student's quantile
    ``t`` at ``CONFIDENCE`` for ``_SEED_FREEDOM + seeds - 1`` degrees of freedom. With folds of groups, the deviations
    between folds and of the test groups are computed from all networks of the study.
    """
    if groups is None:
        square = SEED_SHARE**2 / seeds + _VERIFY_SQUARE
        return math.exp(-statistics.quantile(CONFIDENCE, _SEED_FREEDOM + seeds - 1) * math.sqrt(square))
    fold_square = groups.fold_square(SEED_SHARE**2, errors)
    square = fold_square / seeds + groups.unseen_square(fold_square, SEED_SHARE**2) + _VERIFY_SQUARE
    return math.exp(-statistics.quantile(GROUP_CONFIDENCE, groups.freedom(seeds)) * math.sqrt(square))


def _log_ratio(allowed_errors: float, errors: float) -> float:
    return math.log(max(1e-9, allowed_errors) / max(1e-9, errors))


def why_refuted(fresh_seeds: int, most_seeds: int, *, was_confirmed: bool) -> str:
    """Return the rule that ended the confirmation of a network, as text for users."""
    if was_confirmed:
        return "confirmation withdrawn after a further seed"
    if fresh_seeds >= most_seeds:
        return f"not confirmed within the maximum of {most_seeds} seeds"
    return f"probability of a confirmation by further seeds below {100 * _REFUTED_BELOW:g} %"


def confirmed_by_cost(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the confirmed candidates, lowest cost first."""
    return sorted((each for each in candidates if each.is_confirmed), key=lambda each: each.order)


def surest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return confirmed candidates in the order of verification after a miss.

    After a miss, the test images are probably harder than the validation images for all networks. Candidates with a
    chance of at least ``_SURE`` come first, by cost; the rest follow by descending chance.
    """

    def order(candidate: Candidate) -> tuple[float, tuple[int, int]]:
        return (-min(_SURE, candidate.chance_to_verify), candidate.order)

    return sorted(candidates, key=order)


def likeliest(candidates: Iterable[Candidate], target_pct: float) -> list[Candidate]:
    """Return candidates whose mean validation accuracy on fresh seeds reaches the target, likeliest to verify first.

    The candidates need not be confirmed, as the threshold of a confirmation may differ from the target.
    """
    contenders = [each for each in candidates if each.fresh_runs and statistics.mean(each.fresh_pct) >= target_pct]
    return sorted(contenders, key=lambda each: (-each.chance_to_verify, each.order))


def confirmed_front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the Pareto front of the confirmed candidates; with a single cost, the cheapest candidate."""
    front = list[Candidate]()
    # By ascending first cost, the second cost must be the lowest so far.
    for candidate in sorted(confirmed_by_cost(candidates), key=lambda each: (each.costs, each.order)):
        if not front or candidate.costs[-1] < front[-1].costs[-1]:
            front.append(candidate)
    return front


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """Figures of the unconfirmed candidate with the fewest errors (``nearest_miss``).

    Attributes:
        errors: Wrong validation images: mean over the fresh seeds, else of the first run.
        allowed: Most errors of ``size`` images that reach the threshold.
        rung: Epoch of the rung at which the only run was pruned or shortened; None for a complete run.
    """

    trial: int
    hash: str
    parameters: int
    epochs: int
    errors: float
    runs: int
    allowed: int
    size: int
    cost: int
    rung: int | None = None


def allowed_errors(threshold_pct: float, size: int) -> int:
    """Return the most wrong images, of ``size``, that reach a threshold of at most 100 per cent."""
    limit = min(size, math.floor((100 - threshold_pct) / 100 * size) + 1)
    # ``reaches_threshold`` decides, with a tolerance for float rounding.
    while limit > 0 and not reaches_threshold(limit, size, threshold_pct):
        limit -= 1
    return limit


def nearest_miss(candidates: Iterable[Candidate]) -> NearestMiss | None:
    """Return the unconfirmed candidate with the fewest errors, the cheapest at equal errors, if any.

    A candidate whose run ended at a rung is returned only if no unconfirmed candidate has a complete run.
    """

    def errors_of(candidate: Candidate, first: Result) -> float:
        images = first.required_validation.images
        # A failed fresh run has the accuracy of guessing, as in ``fresh_pct``.
        guesses = Errors(round((1 - candidate.guessing_pct / 100) * images), images)
        evaluations = [guesses if run.validation is None else run.validation for run in candidate.fresh_runs or [first]]
        # Folds may have different sizes.
        errors = [each.wrong if each.images == images else each.wrong * images / each.images for each in evaluations]
        # A count of a single run stays an integer.
        return errors[0] if len(errors) == 1 else statistics.mean(errors)

    usable = []
    for candidate in candidates:
        first = candidate.first_run
        if first is None or first.validation is None or not first.status.ended_without_failure:
            continue
        errors = errors_of(candidate, first)
        # First runs validate on folds of different sizes.
        rank = (first.status is not Status.COMPLETE, errors / first.required_validation.images, candidate.order)
        usable.append((rank, errors, candidate, first))
    # Called after each event of a search, so ``is_confirmed`` is computed for the nearest candidates only.
    for (is_at_rung, _, _), errors, candidate, first in sorted(usable, key=lambda item: item[0]):
        if not candidate.is_confirmed:
            size = first.required_validation.images
            return NearestMiss(
                trial=candidate.proposal.trial,
                hash=candidate.proposal.hash,
                parameters=candidate.proposal.parameters,
                epochs=first.recipe.epochs,
                errors=errors,
                runs=max(1, len(candidate.fresh_runs)),
                allowed=allowed_errors(candidate.threshold_pct, size),
                size=size,
                rung=first.trained_epochs if is_at_rung else None,
                cost=candidate.costs[0],
            )
    return None


def miss_text(miss: NearestMiss, minimise: Metric) -> str:
    """Return a nearest miss as text: size, beginning of the hash, errors and allowed errors."""
    size = f"{size_text(miss.parameters, [miss.cost], [minimise])} ({miss.hash[:6]})"
    accuracy = f"{100 * (1 - miss.errors / miss.size):.2f} %"
    errors = counted(round(miss.errors), "error")
    if miss.rung is not None:
        return f"{size}, {errors} ({accuracy}) at epoch {miss.rung} of {miss.epochs}, {miss.allowed:,} allowed"
    if miss.runs > 1:
        errors = f"mean {miss.errors:,.1f} errors of {miss.runs} runs"
    if miss.errors > miss.allowed:
        doubt = ""
    elif miss.runs > 1:
        doubt = "; the runs are too few or differ too much for a confirmation"
    else:
        doubt = "; not confirmed yet, further seeds have not been run"
    return f"{size}, {errors} ({accuracy}), {miss.allowed:,} allowed{doubt}"
