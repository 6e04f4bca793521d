"""The decisions of a search, as pure functions: what to prune, what stands, what is refuted, what is run next.

Accuracies are per cent of the validation images; the threshold is what stands for the target there: the target plus
the offset between validation and test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.evidence import statistics
from harness.search.study import Proposal
from harness.training.result import Result, Status

# A network stands, and the effective budget falls, on this many fresh seeds and this one-sided bound.
STAND_SEEDS = 3
STAND_CONFIDENCE = 0.80
# A network that has not come to stand by then is given up.
MOST_SEEDS = 5
# The winner is chosen on this many fresh seeds and this bound: it is the smallest of many, so luck is to be
# feared.
FINAL_SEEDS = 5
FINAL_CONFIDENCE = 0.95
# Errors at the end per error at a rung, the luckiest tenth, by share of the epochs; used until a study has runs of
# its own (docs/experiments.md, "rungs").
PRIOR_RATIO = {0.25: 0.50, 0.5: 0.72}
# The same for the run in the middle.
TYPICAL_RATIO = {0.25: 0.62, 0.5: 0.81}
OWN_RATIOS = 8
CHANCE_PCT = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sampler is told about a proposal.

    Attributes:
        parameters: size of the network, what is minimised.
        shortfall_pct: how far its validation accuracy stays below the threshold; negative where it is
            above, None where training failed.
        complete: trained to the end, not pruned.
    """

    parameters: int
    shortfall_pct: float | None
    complete: bool


@dataclass(slots=True)
class Candidate:
    """A proposed network and the runs it has had.

    Attributes:
        first: its run in the search, None until that has ended.
        fresh: its runs on fresh validation seeds, in order of the seeds.
        repeats: how often it was proposed again.
    """

    proposal: Proposal
    first: Result | None = None
    fresh: list[Result] = field(default_factory=list)
    repeats: int = 0

    @property
    def fresh_pct(self) -> list[float]:
        """Accuracies on the fresh seeds; a run that ended without one counts as chance level."""
        known = (result.validation_accuracy_pct for result in self.fresh)
        return [CHANCE_PCT if accuracy is None else accuracy for accuracy in known]


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which pruning is decided, for a recipe of so many epochs."""
    found = sorted({round(share * epochs) for share in PRIOR_RATIO})
    return tuple(epoch for epoch in found if 0 < epoch < epochs)


def passed_first(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether the run in the search reached the threshold."""
    first = candidate.first
    return (
        first is not None
        and first.status is Status.COMPLETE
        and statistics.reaches(first.validation_accuracy_pct or 0.0, threshold_pct)
    )


def seeds_wanted(candidate: Candidate, threshold_pct: float) -> int:
    """Return how many fresh seeds, those in flight included, a network should have by now.

    One that passed is to be confirmed: three at once, then one after the other. One that was trained to the end and
    missed gets one for each time it was proposed again.
    """
    if passed_first(candidate, threshold_pct):
        return max(STAND_SEEDS, len(candidate.fresh) + 1)
    complete = candidate.first is not None and candidate.first.status is Status.COMPLETE
    return candidate.repeats if complete else 0


def outcome(candidate: Candidate, threshold_pct: float) -> Outcome:
    """Return what the sampler learns from a network's first run, which must have ended."""
    first = candidate.first
    assert first is not None, "only finished trials have an outcome"
    accuracy = first.validation_accuracy_pct
    usable = first.status in (Status.COMPLETE, Status.PRUNED) and accuracy is not None
    shortfall = threshold_pct - (accuracy or 0.0) if usable else None
    return Outcome(candidate.proposal.parameters, shortfall, first.status is Status.COMPLETE)


def stands(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether the network reaches the threshold on fresh seeds, not on one lucky draw."""
    return _is_certain(candidate, STAND_SEEDS, STAND_CONFIDENCE, threshold_pct)


def refuted(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether further seeds would be wasted: many were run, or the mean is well below the threshold."""
    accuracies = candidate.fresh_pct
    if stands(candidate, threshold_pct):
        return False
    if len(accuracies) >= MOST_SEEDS:
        return True
    if len(accuracies) < 2:
        return False
    # The mirror image of the bound that it would have to pass.
    upper = 2 * statistics.mean(accuracies) - statistics.lower_bound(accuracies, STAND_CONFIDENCE)
    return not statistics.reaches(upper, threshold_pct)


def smallest_standing(candidates: Sequence[Candidate], threshold_pct: float) -> Candidate | None:
    """Return the smallest network that stands."""
    return next(iter(final_order(candidates, threshold_pct)), None)


def next_to_confirm(
    candidates: Sequence[Candidate], threshold_pct: float, flying: Mapping[int, int]
) -> Candidate | None:
    """Return the network whose next fresh seed is worth most: the smallest that wants one and is still open.

    Args:
        flying: fresh seeds that are being trained, by trial.
    """
    standing = smallest_standing(candidates, threshold_pct)
    limit = standing.proposal.parameters if standing else None
    open_ = [
        candidate
        for candidate in candidates
        if seeds_wanted(candidate, threshold_pct) > len(candidate.fresh) + flying.get(candidate.proposal.trial, 0)
        and (limit is None or candidate.proposal.parameters < limit)
        and not stands(candidate, threshold_pct)
        and not refuted(candidate, threshold_pct)
    ]
    return min(open_, key=_by_size, default=None)


def next_finalist(candidates: Sequence[Candidate], threshold_pct: float, flying: Mapping[int, int]) -> Candidate | None:
    """Return the network whose next fresh seed helps to name the winner: the smallest that stands and is not certain.

    One that stays uncertain on all seeds of the finals leaves its place to the next larger one; behind one that is
    certain nobody needs seeds.
    """
    for candidate in final_order(candidates, threshold_pct):
        if is_final(candidate, threshold_pct):
            return None
        known = len(candidate.fresh)
        if known < FINAL_SEEDS:
            return candidate if known + flying.get(candidate.proposal.trial, 0) < FINAL_SEEDS else None
    return None


def final_order(candidates: Sequence[Candidate], threshold_pct: float) -> list[Candidate]:
    """Return the networks that stand, smallest first."""
    standing = [candidate for candidate in candidates if stands(candidate, threshold_pct)]
    return sorted(standing, key=_by_size)


def is_final(candidate: Candidate, threshold_pct: float) -> bool:
    """Return whether the evidence suffices to name the network the winner."""
    return _is_certain(candidate, FINAL_SEEDS, FINAL_CONFIDENCE, threshold_pct)


def margin_pct(candidate: Candidate, threshold_pct: float) -> float:
    """Return how far the final bound lies above the threshold."""
    return statistics.lower_bound(candidate.fresh_pct, FINAL_CONFIDENCE) - threshold_pct


def hopeful_ratio(results: Sequence[Result], rung: int, epochs: int) -> float:
    """Return the errors at the end per error at a rung for the luckiest tenth of the runs that went to the end.

    Few networks have been trained to the end when a search begins; then a figure measured beforehand holds.
    """
    ratios = []
    for result in results:
        at_rung = [epoch.validation_errors for epoch in result.history if epoch.epoch == rung]
        if result.status is Status.COMPLETE and at_rung and at_rung[0] and result.validation_errors is not None:
            ratios.append(result.validation_errors / at_rung[0])
    if len(ratios) < OWN_RATIOS:
        share = min(PRIOR_RATIO, key=lambda share: abs(share * epochs - rung))
        return PRIOR_RATIO[share]
    return sorted(ratios)[len(ratios) // 10]


def expected_errors(candidate: Candidate, epochs: int) -> float | None:
    """Return the validation errors that a network makes at the end: the mean of its runs, a guess where it was pruned.

    None where it has no usable run.
    """
    first = candidate.first
    if first is None or first.validation_errors is None:
        return None
    if first.status is Status.COMPLETE:
        known = [run.validation_errors for run in (first, *candidate.fresh) if run.validation_errors is not None]
        return statistics.mean([float(errors) for errors in known])
    if first.status is not Status.PRUNED:
        return None
    done = len(first.history) / epochs
    return TYPICAL_RATIO[min(TYPICAL_RATIO, key=lambda share: abs(share - done))] * first.validation_errors


def predicted_pct(errors: int, size: int, ratio: float) -> float:
    """Return the accuracy at the end that a run can hope for, from its errors at a rung."""
    return 100 * (1 - ratio * errors / size)


def _is_certain(candidate: Candidate, seeds: int, confidence: float, threshold_pct: float) -> bool:
    """Return whether so many fresh seeds, and the bound of their mean, reach the threshold."""
    accuracies = candidate.fresh_pct
    return len(accuracies) >= seeds and statistics.reaches(
        statistics.lower_bound(accuracies, confidence), threshold_pct
    )


def _by_size(candidate: Candidate) -> tuple[int, int]:
    return (candidate.proposal.parameters, candidate.proposal.trial)
