"""The decisions of a search, as pure functions: what stands, what is refuted, what is run next.

Accuracies are per cent of the validation images; the threshold is what stands for the target there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.data.datasets import dataset
from harness.evidence.events import Proposal
from harness.evidence.study import StudyConfig
from harness.search.pruning import guessed_errors
from harness.system import statistics
from harness.training.result import Result, Status
from search_spaces.cost import analyse
from search_spaces.draw import measured
from search_spaces.space import Metric

# Fresh seeds that a network has before it may stand, and with which it is given up.
CONFIRM_SEEDS = 2
MOST_SEEDS = 6
# A network stands when its verification on so many seeds passes with this probability, by its fresh seeds alone and by
# the ratio that was measured on training images. Of 53 verifications on record 3 missed
# (docs/lab, "the main job with a second verification").
CONFIDENCE = 0.80
VERIFY_SEEDS = 6
# While a network has at least this chance to stand all workers run its fresh seeds; else half of them go on searching.
LIKELY = 0.5
# A network gets fresh seeds while its chance to stand is at least this, and is given up when it is not.
LEAST_CHANCE = 0.25
CHANCE_PCT = 10.0
# What the seeds of a network differ by, as a share of its errors: 0.06 to 0.08 whether it makes 100 or 400 of them
# (docs/lab, "the table of the bench"), and for how many degrees of freedom that stands: the deviation of a
# few seeds is moderated by it (Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004).
SEED_SHARE = 0.08
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


@dataclass(slots=True)
class Candidate:
    """A proposed network and the runs it has had.

    Attributes:
        cost: what it has of the metric that is minimised.
        first: its run in the search, None until that has ended; ``fresh`` are those on fresh seeds, in their order.
        repeats: how often it was proposed again.
        confirm_seeds: fresh seeds that it stands on at the least; 0 where its first run suffices.
    """

    proposal: Proposal
    cost: int
    first: Result | None = None
    fresh: list[Result] = field(default_factory=list)
    repeats: int = 0
    confirm_seeds: int = CONFIRM_SEEDS

    @property
    def fresh_pct(self) -> list[float]:
        """Accuracies on the fresh seeds; a run that ended without one counts as chance level."""
        known = [result.validation_accuracy_pct for result in self.fresh]
        return [CHANCE_PCT if accuracy is None else accuracy for accuracy in known]


def candidate_of(config: StudyConfig, proposal: Proposal, confirm_seeds: int = CONFIRM_SEEDS) -> Candidate:
    """Return a proposed network that has had no run, with its cost."""
    cost = proposal.parameters
    if config.minimise is not Metric.PARAMETERS:
        cost = measured(analyse(proposal.architecture, dataset(config.dataset).task), config.minimise)
    return Candidate(proposal, cost, confirm_seeds=confirm_seeds)


def passed_first(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether the run in the search reached the threshold."""
    first = candidate.first
    return (
        first is not None
        and first.status is Status.COMPLETE
        and statistics.reaches(first.validation_accuracy_pct or 0.0, threshold_pct)
    )


def _seeds_wanted(candidate: Candidate, threshold_pct: float) -> int:
    # Those in flight included. One that passed is to be confirmed: two at once, then one after the other while it has a
    # chance to stand. One that was trained to the end and missed gets one for each time it was proposed again.
    if passed_first(candidate, threshold_pct):
        hopeful = chance_to_stand(candidate, threshold_pct) >= LEAST_CHANCE
        return max(candidate.confirm_seeds, len(candidate.fresh) + 1) if hopeful else len(candidate.fresh)
    complete = candidate.first is not None and candidate.first.status is Status.COMPLETE
    return candidate.repeats if complete else 0


def is_confirmed(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether the network would pass its verification, by its fresh seeds and not by one lucky draw."""
    if not candidate.confirm_seeds:
        return passed_first(candidate, threshold_pct)
    known = len(candidate.fresh)
    return known >= candidate.confirm_seeds and _chance_to_verify(candidate, threshold_pct) >= CONFIDENCE


def refuted(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether further seeds would be wasted: many were run, or there is hardly a chance that it stands."""
    known = len(candidate.fresh)
    if is_confirmed(candidate, threshold_pct) or not known:
        return False
    return known >= MOST_SEEDS or chance_to_stand(candidate, threshold_pct) < LEAST_CHANCE


def settled(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether a network neither stands nor is to have another run, as far as its runs tell."""
    if candidate.first is None or is_confirmed(candidate, threshold_pct):
        return False
    return _seeds_wanted(candidate, threshold_pct) <= len(candidate.fresh) or refuted(candidate, threshold_pct)


def why_refuted(fresh_seeds: int, *, stood: bool) -> str:
    """Return which rule has ended the confirmation of a network, for people; ``stood``: it was confirmed before."""
    if stood:
        return "a further seed took its confirmation away"
    if fresh_seeds >= MOST_SEEDS:
        return f"{MOST_SEEDS} seeds are the most it may have"
    return f"the chance that more seeds confirm it is below {100 * LEAST_CHANCE:g} %"


def _chance_to_verify(candidate: Candidate, threshold_pct: float) -> float:
    # The mean of a verification differs from that of the fresh seeds by what seeds differ by, and by what networks
    # differ by in the ratio of errors on other images.
    misses = [100 - accuracy for accuracy in candidate.fresh_pct]
    centre = max(1e-9, statistics.mean(misses))
    squares = math.fsum((miss / centre - 1) ** 2 for miss in misses)
    freedom = _SEED_FREEDOM + len(misses) - 1
    share = (_SEED_FREEDOM * SEED_SHARE**2 + squares) / freedom
    deviation = math.sqrt(share / len(misses) + _VERIFY_SQUARE)
    return statistics.student_share(_log_ratio(100 - threshold_pct, centre) / deviation, freedom)


def needed_share(seeds: int = CONFIRM_SEEDS) -> float:
    """Return how many of the allowed errors a network may make in the mean of so many fresh seeds to stand, as a share.

    That is where the seeds differ by as much as they usually do.
    """
    square = SEED_SHARE**2 / seeds + _VERIFY_SQUARE
    return math.exp(-statistics.quantile(CONFIDENCE, _SEED_FREEDOM + seeds - 1) * math.sqrt(square))


def final_order(candidates: Iterable[Candidate], threshold_pct: float) -> list[Candidate]:
    """Return the networks that stand, the lowest cost first."""
    return sorted((each for each in candidates if is_confirmed(each, threshold_pct)), key=by_cost)


def smallest_standing(candidates: Iterable[Candidate], threshold_pct: float) -> Candidate | None:
    """Return the network of the lowest cost that stands."""
    return next(iter(final_order(candidates, threshold_pct)), None)


def next_to_confirm(
    candidates: Sequence[Candidate],
    threshold_pct: float,
    ceiling: int,
    flying: Mapping[int, int],
    seconds: Callable[[Candidate], float] = lambda candidate: 1.0,
) -> Candidate | None:
    """Return the network whose next fresh seed is worth most, of those that want one and are still open.

    Args:
        ceiling: the most that a network may cost; worth is counted from there while none stands.
        flying: fresh seeds that are being trained, by trial.
        seconds: what a seed of a network takes.
    """
    standing = smallest_standing(candidates, threshold_pct)
    below = standing.cost if standing else ceiling + 1
    open_ = [
        candidate
        for candidate in candidates
        # What costs little to ask comes first: there may be thousands.
        if candidate.cost < below
        and _seeds_wanted(candidate, threshold_pct) > len(candidate.fresh) + flying.get(candidate.proposal.trial, 0)
        and not is_confirmed(candidate, threshold_pct)
        and not refuted(candidate, threshold_pct)
    ]

    def order(candidate: Candidate) -> tuple[float, int, int]:
        lacking = max(1, CONFIRM_SEEDS - len(candidate.fresh) - flying.get(candidate.proposal.trial, 0))
        fall = math.log(below / candidate.cost)
        worth = chance_to_stand(candidate, threshold_pct) * fall / (lacking * max(1e-9, seconds(candidate)))
        return (-worth, *by_cost(candidate))

    return min(open_, key=order, default=None)


def chance_to_stand(candidate: Candidate, threshold_pct: float) -> float:
    """Return the probability that a network stands with its next fresh seeds, by all its runs.

    What its next seeds come to is guessed from all of them; what it stands on is the mean of the fresh ones alone.
    """
    first = candidate.first.validation_accuracy_pct if candidate.first is not None else None
    luck = 1 + _SELECTION_BIAS_SHARE if passed_first(candidate, threshold_pct) else 1.0
    fresh = [100 - accuracy for accuracy in candidate.fresh_pct]
    misses = [luck * (100 - (first or 0.0)), *fresh]
    wanted = max(CONFIRM_SEEDS, len(fresh) + 1)
    coming = wanted - len(fresh)
    centre = (math.fsum(fresh) + coming * statistics.mean(misses)) / wanted
    deviation = coming / wanted * SEED_SHARE * math.sqrt(1 / coming + 1 / len(misses))
    allowed = (100 - threshold_pct) * needed_share(wanted)
    return statistics.normal_share(_log_ratio(allowed, centre) / deviation)


def expected_errors(candidate: Candidate) -> float | None:
    """Return the validation errors that a network makes at the end: the mean of its runs, a guess where it was pruned.

    None where it has no usable run.
    """
    first = candidate.first
    if first is None or first.validation_errors is None:
        return None
    if first.status is Status.COMPLETE:
        known = [run.validation_errors for run in (first, *candidate.fresh) if run.validation_errors is not None]
        return statistics.mean([float(errors) for errors in known])
    return guessed_errors(first) if first.status is Status.PRUNED else None


def _log_ratio(allowed: float, made: float) -> float:
    return math.log(max(1e-9, allowed) / max(1e-9, made))


def by_cost(candidate: Candidate) -> tuple[int, int]:
    """Return what orders networks: the lowest cost first, the earlier one of equal cost."""
    return (candidate.cost, candidate.proposal.trial)
