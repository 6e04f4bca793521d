"""The networks of a study with their runs: which stand by their fresh seeds, and what came nearest.

Accuracies are per cent of the validation images; the threshold is what stands for the target there.

- A network *is confirmed* while its fresh seeds say that its verification would pass, and *is refuted* when further
  seeds would be wasted. Both follow from its runs alone, and further runs may change both.
- It *stands* while it is confirmed and no verification of it has missed. Of those that stand a study names the one of
  the lowest cost; where two costs are minimised, the front.
- It is a *contender* while it is confirmed or is to have another run. Nearly all of thousands are none.
- Its *state* (``NetworkState``) is what the log says of it, event by event: ``TRANSITIONS``.
- The *nearest miss* is the network with the fewest errors of those that are not confirmed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.data.datasets import dataset
from harness.studies.config import StudyConfig
from harness.studies.events import Proposal
from harness.system import statistics
from harness.training.result import Result, Status, accuracy_pct
from search_spaces.network import Architecture, analyse
from search_spaces.space import Metric, Objective, Weighted, measured, size_text

# Fresh seeds that a network has before it may stand, and with which it is given up.
CONFIRM_SEEDS = 2
MOST_SEEDS = 6
# A network stands when its verification on so many seeds passes with this probability, by its fresh seeds alone and by
# the ratio that was measured on training images. Of 53 verifications on record 3 missed
# (docs/lab, "the main job with a second verification").
CONFIDENCE = 0.80
# One with this probability has much to spare.
SURE = 0.98
VERIFY_SEEDS = 6
# A network gets fresh seeds while its chance to stand is at least this, and is given up when it is not.
_LEAST_CHANCE = 0.25
_CHANCE_PCT = 10.0
# What the seeds of a network differ by, as a share of its errors: 0.06 to 0.08 whether it makes 100 or 400 of them
# (docs/lab, "the table of the bench"), and for how many degrees of freedom that stands: the deviation of a
# few seeds is moderated by it (Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004).
SEED_SHARE = 0.08
# That holds where at least so many errors are counted. Fewer waver more: the square of the share grows as their number
# falls (docs/lab, "what transfers"), and no error at all in all runs together is taken for a half.
COUNTED_ERRORS = 60.0
LEAST_COUNTED = 0.5
# A first run that passed is luckier than others: by a whole deviation of a seed where networks are drawn from many that
# miss (docs/lab, "what first looks owe to luck"), by less where they are chosen for their predicted chance.
_SELECTION_BIAS_SHARE = 0.04
_SEED_FREEDOM = 20
# What networks differ by in the ratio of errors on unseen images to errors on the validation images, as a share: 0.032
# among five of five to eight epochs, nothing beyond their seeds among five of 12 to 60 (docs/lab, "the
# threshold from ..."). The larger is kept.
_NETWORK_SHARE = 0.032
# The squared relative deviation of a verification's mean from a network's mean on validation.
_VERIFY_SQUARE = SEED_SHARE**2 / VERIFY_SEEDS + _NETWORK_SHARE**2
# Errors at the end per error at a rung of the run in the middle on MNIST, by share of the epochs (docs/lab, "rungs").
# It counts for as many runs as this beside a study's own: on hard data errors hardly fall after a rung.
TYPICAL_RATIO = {0.25: 0.62, 0.4: 0.74, 0.5: 0.81, 0.6: 0.89}
_TYPICAL_RUNS = 4


# The origin of networks with which a search begins, as they cost nothing to train.
FLOOR = "floor"


def is_linear(origin: str, network: Architecture) -> bool:
    """Return whether a network of this origin is a linear model of the floor."""
    return origin == FLOOR and "conv" not in str(network)


class NetworkState(StrEnum):
    """How far a network has come in its study, best first; ``TRANSITIONS`` lists the ways between two states."""

    MET = "met"
    OPEN = "open"
    CONFIRMED = "confirmed"
    MISSED = "missed"
    REFUTED = "failed confirmation"
    TRAINED = "trained"
    PRUNED = "pruned"
    FAILED = "failed"
    TRAINING = "training"
    WAITING = "waiting"


VERIFIED_STATES = (NetworkState.MET, NetworkState.OPEN, NetworkState.MISSED)
# A confirmed network that its verification has not refuted.
CONFIRMED_STATES = (NetworkState.MET, NetworkState.OPEN, NetworkState.CONFIRMED)


class Step(StrEnum):
    """A change that an event of the log brings to one network."""

    REACHED_A_RUNG = "its first run reached a rung"
    COMPLETED = "its first run went to its end"
    PRUNED = "its first run was pruned"
    FAILED = "its first run failed"
    CONFIRMED = "fresh seeds confirmed it"
    REFUTED = "fresh seeds refuted it"
    MET = "its verification met the target"
    LEFT_OPEN = "its verification ended without a verdict"
    MISSED = "its verification missed the target"


_BEFORE_A_RUN = (NetworkState.WAITING, NetworkState.TRAINING)
# The next state by state and step; a step that is not here changes nothing. A log of an older program may lack steps,
# so a decision holds whatever came before. A verdict is final.
TRANSITIONS: Mapping[tuple[NetworkState, Step], NetworkState] = {
    (NetworkState.WAITING, Step.REACHED_A_RUNG): NetworkState.TRAINING,
    **{(state, Step.FAILED): NetworkState.FAILED for state in _BEFORE_A_RUN},
    **{(state, Step.PRUNED): NetworkState.PRUNED for state in _BEFORE_A_RUN},
    **{(state, Step.COMPLETED): NetworkState.TRAINED for state in _BEFORE_A_RUN},
    # The same network is trained for another number of epochs; the best of its first runs counts.
    (NetworkState.FAILED, Step.PRUNED): NetworkState.PRUNED,
    (NetworkState.FAILED, Step.COMPLETED): NetworkState.TRAINED,
    (NetworkState.PRUNED, Step.COMPLETED): NetworkState.TRAINED,
    **{(state, Step.CONFIRMED): NetworkState.CONFIRMED for state in NetworkState if state not in VERIFIED_STATES},
    **{(state, Step.REFUTED): NetworkState.REFUTED for state in NetworkState if state not in VERIFIED_STATES},
    **{(state, Step.MET): NetworkState.MET for state in NetworkState},
    **{(state, Step.LEFT_OPEN): NetworkState.OPEN for state in NetworkState},
    **{(state, Step.MISSED): NetworkState.MISSED for state in NetworkState},
}


@dataclass(slots=True)
class Candidate:
    """A proposed network and the runs it has had.

    Attributes:
        cost: what it has of the metric that is minimised; of two, their geometric mean.
        costs: what it has of each.
        first: its run in the search, None until that has ended; ``fresh`` are those on fresh seeds, in their order.
        repeats: how often it was proposed again.
        confirm_seeds: fresh seeds that it stands on at the least; 0 where its first run suffices.
        threshold_pct: of the study.
    """

    proposal: Proposal
    cost: int
    first: Result | None = None
    fresh: list[Result] = field(default_factory=list)
    repeats: int = 0
    confirm_seeds: int = CONFIRM_SEEDS
    threshold_pct: float = field(kw_only=True)
    costs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Take the cost for all where there is one."""
        self.costs = self.costs or (self.cost,)

    @property
    def order(self) -> tuple[int, int]:
        """What orders networks: the lowest cost first, the earlier one of equal cost."""
        return (self.cost, self.proposal.trial)

    @property
    def runs(self) -> list[Result]:
        """All its runs that have ended."""
        return [*([] if self.first is None else [self.first]), *self.fresh]

    @property
    def fresh_pct(self) -> list[float]:
        """Accuracies on the fresh seeds; a run that ended without one counts as chance level."""
        known = [result.validation_accuracy_pct for result in self.fresh]
        return [_CHANCE_PCT if accuracy is None else accuracy for accuracy in known]

    @property
    def passed_first(self) -> bool:
        """Whether the run in the search reached the threshold."""
        first = self.first
        if first is None or first.status is not Status.COMPLETE:
            return False
        return statistics.reaches(first.validation_accuracy_pct or 0.0, self.threshold_pct)

    @property
    def is_confirmed(self) -> bool:
        """Whether it would pass its verification, by its fresh seeds and not by one lucky draw."""
        if not self.confirm_seeds:
            return self.passed_first
        return len(self.fresh) >= self.confirm_seeds and self.chance_to_verify >= CONFIDENCE

    @property
    def is_refuted(self) -> bool:
        """Whether further seeds would be wasted: many were run, or there is hardly a chance that it stands."""
        if not self.fresh or self.is_confirmed:
            return False
        return len(self.fresh) >= MOST_SEEDS or self.chance_to_stand < _LEAST_CHANCE

    @property
    def is_contender(self) -> bool:
        """Whether it is confirmed or is to have another run, as far as its runs tell."""
        if self.first is None or self.is_confirmed:
            return True
        return self.seeds_wanted > len(self.fresh) and not self.is_refuted

    @property
    def seeds_wanted(self) -> int:
        """Fresh seeds that it should have by now, those in flight included.

        A network that passed is to be confirmed: on two seeds at once, then one after the other while it has a chance
        to stand. Its first fresh seed does not depend on that chance: a network that has passed once is confirmed more
        often than a new one of its size (docs/lab, "did the default search regress"). A network that was trained to the
        end and missed gets one seed for each time it was proposed again.
        """
        if self.passed_first:
            if self.chance_to_stand >= _LEAST_CHANCE:
                return max(self.confirm_seeds, len(self.fresh) + 1)
            return max(min(1, self.confirm_seeds), len(self.fresh))
        return self.repeats if self.first is not None and self.first.status is Status.COMPLETE else 0

    @property
    def _images_of_a_run(self) -> float:
        """How many images validate a run; where none has said it so many that counts are no matter of chance."""
        sizes = [float(run.validation_size) for run in self.runs if run.validation_size]
        return statistics.mean(sizes) if sizes else math.inf

    @property
    def chance_to_verify(self) -> float:
        """The probability that the mean of a verification's seeds reaches the target, by the fresh seeds.

        It differs from theirs by what seeds differ by, and by what networks differ by in the ratio of errors on other
        images.
        """
        misses = [100 - accuracy for accuracy in self.fresh_pct]
        images = self._images_of_a_run
        centre = max(statistics.mean(misses), 100 * LEAST_COUNTED / (images * len(misses)))
        seed_square = seed_share_square(centre / 100 * images)
        squares = math.fsum((miss / centre - 1) ** 2 for miss in misses)
        freedom = _SEED_FREEDOM + len(misses) - 1
        share = (_SEED_FREEDOM * seed_square + squares) / freedom
        deviation = math.sqrt(share / len(misses) + _VERIFY_SQUARE)
        return statistics.student_share(_log_ratio(100 - self.threshold_pct, centre) / deviation, freedom)

    @property
    def chance_to_stand(self) -> float:
        """The probability that it stands with its next fresh seeds, by all its runs.

        What its next seeds come to is guessed from all of them; what it stands on is the mean of the fresh ones alone.
        """
        first = self.first.validation_accuracy_pct if self.first is not None else None
        luck = 1 + _SELECTION_BIAS_SHARE if self.passed_first else 1.0
        fresh = [100 - accuracy for accuracy in self.fresh_pct]
        misses = [luck * (100 - (first or 0.0)), *fresh]
        wanted = max(CONFIRM_SEEDS, len(fresh) + 1)
        coming = wanted - len(fresh)
        centre = (math.fsum(fresh) + coming * statistics.mean(misses)) / wanted
        seed_share = math.sqrt(seed_share_square(centre / 100 * self._images_of_a_run))
        deviation = coming / wanted * seed_share * math.sqrt(1 / coming + 1 / len(misses))
        allowed = (100 - self.threshold_pct) * needed_share(wanted)
        return statistics.normal_share(_log_ratio(allowed, centre) / deviation)

    def expected_errors(self, ratios: Mapping[float, float]) -> float | None:
        """Return validation errors that it makes at the end: the mean of its runs, a guess where it was pruned.

        None where it has no usable run. ``ratios`` are those of ``rung_ratios``.
        """
        first = self.first
        if first is None or first.validation_errors is None:
            return None
        if first.status is Status.COMPLETE:
            known = [run.validation_errors for run in (first, *self.fresh) if run.validation_errors is not None]
            return statistics.mean([float(errors) for errors in known])
        if first.status is not Status.PRUNED:
            return None
        # As the run in the middle goes on.
        return ratios[_nearest_share(len(first.history) / first.recipe.epochs)] * first.validation_errors

    @property
    def on_fresh_seeds(self) -> dict[str, Any]:
        """What is known of it on fresh seeds, as fields of an event."""
        return {
            "trial": self.proposal.trial,
            "hash": self.proposal.hash,
            "parameters": self.proposal.parameters,
            "validation_accuracy_pct": statistics.mean(self.fresh_pct),
            "validation_seeds": len(self.fresh),
        }


def _nearest_share(done: float) -> float:
    return min(TYPICAL_RATIO, key=lambda share: abs(share - done))


def rung_ratios(candidates: Iterable[Candidate]) -> dict[float, float]:
    """Return errors at the end per error at a rung, by share of the epochs: the typical ones and those of these runs.

    They are geometric means over runs that went to their end; half an error is added to each count.
    """
    logs = {share: [math.log(ratio)] * _TYPICAL_RUNS for share, ratio in TYPICAL_RATIO.items()}
    for run in (run for candidate in candidates for run in candidate.runs):
        if run.status is not Status.COMPLETE or run.validation_errors is None:
            continue
        for epoch in run.history[:-1]:
            if epoch.validation_errors is not None:
                ratio = (run.validation_errors + 0.5) / (epoch.validation_errors + 0.5)
                logs[_nearest_share(epoch.epoch / run.recipe.epochs)].append(math.log(ratio))
    return {share: math.exp(statistics.mean(of)) for share, of in logs.items()}


def objective_of(config: StudyConfig, weight: float = 0.5) -> Objective:
    """Return what a study has as little of as possible: its metric, or both with a weight of the first."""
    if not config.is_front:
        return config.minimised[0]
    first, second = config.minimised
    return Weighted((first, second), weight)


def combined_cost(costs: tuple[int, ...], objective: Objective) -> int:
    """Return what the costs of a network, or ceilings, come to by the objective of their study."""
    return objective.of(costs) if isinstance(objective, Weighted) else costs[0]


def costs_of(proposal: Proposal, config: StudyConfig) -> tuple[int, ...]:
    """Return what a network has of each metric that its study minimises."""
    if config.minimised == (Metric.PARAMETERS,):
        return (proposal.parameters,)
    analysis = analyse(proposal.architecture, dataset(config.dataset).task)
    return tuple(measured(analysis, each) for each in config.minimised)


def seed_share_square(counted: float) -> float:
    """Return the square of what seeds differ by, as a share of their errors, where so many are counted in a run."""
    return SEED_SHARE**2 * max(1.0, COUNTED_ERRORS / max(counted, LEAST_COUNTED / MOST_SEEDS))


def needed_share(seeds: int = CONFIRM_SEEDS) -> float:
    """Return how many of the allowed errors a network may make in the mean of so many fresh seeds to stand, as a share.

    That is where the seeds differ by as much as they usually do.
    """
    square = SEED_SHARE**2 / seeds + _VERIFY_SQUARE
    return math.exp(-statistics.quantile(CONFIDENCE, _SEED_FREEDOM + seeds - 1) * math.sqrt(square))


def _log_ratio(allowed: float, errors: float) -> float:
    return math.log(max(1e-9, allowed) / max(1e-9, errors))


def why_refuted(fresh_seeds: int, *, was_confirmed: bool) -> str:
    """Return which rule has ended the confirmation of a network, for people."""
    if was_confirmed:
        return "a further seed took its confirmation away"
    if fresh_seeds >= MOST_SEEDS:
        return f"{MOST_SEEDS} seeds are the most it may have"
    return f"the chance that more seeds confirm it is below {100 * _LEAST_CHANCE:g} %"


def final_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the networks that stand, the lowest cost first."""
    return sorted((each for each in candidates if each.is_confirmed), key=lambda each: each.order)


def surest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return networks that stand in the order in which they are verified after a miss.

    The images to test with are harder then than those that validate, for other networks too: first those that have
    much to spare, in their order, then the others, the surest one first.
    """

    def order(candidate: Candidate) -> tuple[float, tuple[int, int]]:
        return (-min(SURE, candidate.chance_to_verify), candidate.order)

    return sorted(candidates, key=order)


def likeliest(candidates: Iterable[Candidate], target_pct: float) -> list[Candidate]:
    """Return networks that reach the target on fresh seeds though they are not confirmed, the surest one first."""
    reaching = [each for each in candidates if each.fresh and statistics.mean(each.fresh_pct) >= target_pct]
    return sorted(reaching, key=lambda each: (-each.chance_to_verify, each.order))


def standing_front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the networks that stand and that no other one has less of all costs than; with one cost the smallest."""
    standing = sorted(
        (candidate for candidate in candidates if candidate.is_confirmed),
        key=lambda candidate: (candidate.costs, candidate.order),
    )
    front = list[Candidate]()
    for candidate in standing:
        if not front or candidate.costs[-1] < front[-1].costs[-1]:
            front.append(candidate)
    return front


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestMiss:
    """A network that is not confirmed.

    Attributes:
        epochs: of its recipe.
        errors: wrong validation images, the mean of its runs; a whole number where it had one.
        runs: on fresh seeds where it had such, else one.
        allowed: most errors that reach the threshold, of ``size`` images.
        pruned_after: epochs after which its only run was stopped, None where it went to its end.
        cost: what it has of the metric that is minimised.
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
    pruned_after: int | None = None


def allowed_errors(threshold_pct: float, size: int) -> int:
    """Return the most wrong images with which an accuracy still reaches a threshold of at most 100 per cent."""
    allowed = min(size, math.floor((100 - threshold_pct) / 100 * size) + 1)
    # What reaches a threshold is said in one place, up to the rounding of floats.
    while allowed > 0 and not statistics.reaches(accuracy_pct(allowed, size) or 0.0, threshold_pct):
        allowed -= 1
    return allowed


def nearest_miss(candidates: Iterable[Candidate]) -> NearestMiss | None:
    """Return the network with the fewest errors of those that are not confirmed, the smallest of equal ones.

    One that was pruned is named only where none went to its end; None where no run has ended with a count of errors.
    """

    def errors_of(candidate: Candidate, first: Result) -> float:
        # A fresh run that failed counts as chance level, as everywhere.
        failed = round((1 - _CHANCE_PCT / 100) * (first.validation_size or 0))
        runs = candidate.fresh or [first]
        errors = [failed if run.validation_errors is None else run.validation_errors for run in runs]
        return errors[0] if len(errors) == 1 else statistics.mean(errors)

    usable = [
        (first.status is Status.PRUNED, errors_of(candidate, first), *candidate.order, candidate, first)
        for candidate in candidates
        if (first := candidate.first) is not None
        and first.validation_errors is not None
        and first.status in (Status.COMPLETE, Status.PRUNED)
    ]
    # After each event of a search: whether one is confirmed is asked of the nearest only.
    for pruned, errors, _, _, candidate, first in sorted(usable, key=lambda each: each[:4]):
        if not candidate.is_confirmed:
            size = first.validation_size or 0
            return NearestMiss(
                trial=candidate.proposal.trial,
                hash=candidate.proposal.hash,
                parameters=candidate.proposal.parameters,
                epochs=first.recipe.epochs,
                errors=errors,
                runs=max(1, len(candidate.fresh)),
                allowed=allowed_errors(candidate.threshold_pct, size),
                size=size,
                pruned_after=len(first.history) if pruned else None,
                cost=candidate.costs[0],
            )
    return None


def miss_text(miss: NearestMiss, minimise: Metric) -> str:
    """Return a miss for people, in images, with what the search minimises."""
    size = size_text(miss.parameters, [miss.cost], [minimise])
    if miss.pruned_after is not None:
        return (
            f"{size}, {miss.errors:,.0f} errors at epoch {miss.pruned_after} of {miss.epochs}, {miss.allowed:,} allowed"
        )
    errors = f"{miss.errors:,.0f} errors" if miss.runs == 1 else f"mean {miss.errors:,.1f} errors of {miss.runs} runs"
    # One that passed by luck, or whose runs differ too much, is near in errors and yet not confirmed.
    unsure = "passed once" if miss.runs == 1 else "too uncertain"
    doubt = f" ({unsure}, not confirmed)" if miss.errors <= miss.allowed else ""
    return f"{size}, {errors}, {miss.allowed:,} allowed{doubt}"
