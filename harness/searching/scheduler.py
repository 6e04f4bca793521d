"""Scheduler of a search, as pure functions: objective of a proposal, pruning, confirmations, further verifications.

A run is pruned at a rung if only about one run in ten with as many errors would still reach the threshold. A run that
already suffices for a confirmation at a rung ends there, too (``shorter_epochs``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.spaces.space import Objective
from harness.studies.candidate import (
    CONFIDENCE,
    CONFIRM_SEEDS,
    Candidate,
    combined_cost,
    objective_of,
    reaches_threshold,
)
from harness.studies.config import StudyConfig, epochs_within
from harness.studies.events import RungReached
from harness.studies.study_state import Ratios, StudyState
from harness.training.result import Result, Status

# Verifications per study that do not reach tier ``verified``, each a look at the test set
# (docs/project/decisions.md#28).
_MAX_LOOKS = 2
RUNG_SHARES = (0.25, 0.5)
# Final errors per error at a rung, 10 % quantile, by share of the epochs, measured on MNIST (diary 5). 0.4 and 0.6 are
# the rungs of five epochs, rounded up.
_PRIOR_RATIO = {0.25: 0.50, 0.4: 0.62, 0.5: 0.72, 0.6: 0.80}
_OWN_RATIOS = 8  # completed runs from which the ratios of the study replace ``_PRIOR_RATIO``
# By the hash, one network in this many is exempt from pruning. Only exempt runs give an unbiased rate of wrong
# prunings: the pruning rule has selected all the rest.
_EXEMPT_ONE_IN = 10
_MIN_SHARE = 0.5  # least epochs of a shorter training, over the epochs until the rung (set by hand)


# Weights of the first of two metrics, in cyclic order: both equally, each alone, then two mixtures.
WEIGHTS = (0.5, 1.0, 0.0, 0.75, 0.25)


@dataclass(frozen=True, slots=True)
class Turn:
    """The objective of the next proposal, a metric or two weighted metrics, and the largest allowed value."""

    objective: Objective
    limit: int


def turn_at(config: StudyConfig, trial: int) -> Turn:
    """Return the turn of proposal ``trial``; for a single metric all turns are equal."""
    objective = objective_of(config, WEIGHTS[trial % len(WEIGHTS)])
    return Turn(objective, combined_cost(config.limits, objective))


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs at which pruning is decided."""
    return epochs_within((share * epochs for share in RUNG_SHARES), epochs)


def next_rung(config: StudyConfig, epochs: int, epoch: int) -> int | None:
    """Return the first rung after ``epoch``; None if no rung is left."""
    return next((rung for rung in config.rungs_of(epochs) if rung > epoch), None)


def at_rung(
    result: Result, ratios: Ratios, threshold_pct: float, is_hopeless: Callable[[Result], bool] | None = None
) -> RungReached:
    """Return the pruning decision for a run at a rung.

    Args:
        result: Run up to the rung, evaluated on the validation images.
        ratios: Ratios of final errors to errors at a rung, ascending (``StudyState.ratios``).
        is_hopeless: Pruning rule of an external method, which exempts no network; None for the default rule.
    """
    validation = result.required_validation
    epoch = result.trained_epochs
    epochs = result.recipe.epochs
    own_ratios = ratios.get((epochs, epoch), [])
    if len(own_ratios) >= _OWN_RATIOS:
        ratio = own_ratios[len(own_ratios) // 10]  # 10 % quantile
    else:
        ratio = _PRIOR_RATIO[min(_PRIOR_RATIO, key=lambda share: abs(share * epochs - epoch))]
    predicted_pct = 100 * (1 - ratio * validation.wrong / validation.images)
    if is_hopeless is None:
        is_poor = not reaches_threshold(ratio * validation.wrong, validation.images, threshold_pct)
    else:
        is_poor = is_hopeless(result)
    exempt = is_poor and is_hopeless is None and int(result.hash, 16) % _EXEMPT_ONE_IN == 0
    assert result.trial is not None, "every run of a search belongs to a trial"
    return RungReached(
        trial=result.trial,
        purpose=result.purpose,
        seed_index=result.seed_index,
        epoch=epoch,
        validation_errors=validation.wrong,
        validation_soft_errors=result.validation_soft_errors,
        ratio=ratio,
        predicted_pct=predicted_pct,
        pruned=is_poor and not exempt,
        exempt=exempt,
    )


def shorter_epochs(
    result: Result, candidate: Candidate, candidates: Iterable[Candidate], config: StudyConfig
) -> int | None:
    """Return the epochs of a training that replaces a first run at a rung; None if the run goes on.

    A complete training of these epochs makes about as many errors as the run at the rung, whose learning rate is still
    high (diary 185). If these errors give a ``chance_to_confirm`` of ``CONFIDENCE``, later epochs and a confirmation at
    full length are a waste of time. The answer is the largest choice up to the rung, at least ``_MIN_SHARE`` of these
    epochs, if the network was not proposed with this choice.
    """
    complete_candidate = replace(candidate, first_run=replace(result, status=Status.COMPLETE))
    if not complete_candidate.passed_first or complete_candidate.chance_to_confirm < CONFIDENCE:
        return None
    choices = [each for each in config.epoch_choices if _MIN_SHARE <= each / result.trained_epochs <= 1]
    proposed_pairs = {(each.proposal.hash, each.proposal.epochs or config.recipe.epochs) for each in candidates}
    epochs = max(choices, default=None)
    return None if (candidate.proposal.hash, epochs) in proposed_pairs else epochs


def next_to_confirm(
    candidates: Sequence[Candidate],
    turn: Turn,
    being_confirmed: Mapping[int, int],
    seconds: Callable[[Candidate], float] = lambda candidate: 1.0,
) -> Candidate | None:
    """Return the candidate, neither confirmed nor refuted, whose next fresh seed has the highest value per second.

    value = chance to be confirmed * log(lowest confirmed cost / cost) / (missing seeds * seconds per seed)

    Args:
        candidates: Confirmed candidates only set the lowest confirmed cost.
        turn: Objective of the costs, and their limit if no candidate is confirmed.
        being_confirmed: Number of fresh seeds in training, by trial.
        seconds: Expected seconds of a run of a candidate.

    Returns:
        The candidate; None if none is due a fresh seed.
    """
    confirmed_costs = [combined_cost(each.costs, turn.objective) for each in candidates if each.is_confirmed]
    cost_bound = min(confirmed_costs, default=turn.limit + 1)  # exclusive

    def seeds_begun(candidate: Candidate) -> int:
        return len(candidate.fresh_runs) + being_confirmed.get(candidate.proposal.trial, 0)

    def order(candidate: Candidate) -> tuple[float, int, int]:
        # Further seeds are added one at a time.
        seeds_due = max(1, max(CONFIRM_SEEDS, candidate.confirm_seeds) - seeds_begun(candidate))
        cost = combined_cost(candidate.costs, turn.objective)
        value = candidate.chance_to_confirm * math.log(cost_bound / cost) / (seeds_due * max(1e-9, seconds(candidate)))
        return (-value, cost, candidate.proposal.trial)

    choices = [
        each
        for each in candidates
        # The cheapest test first, as there may be thousands of candidates.
        if combined_cost(each.costs, turn.objective) < cost_bound
        and each.seeds_wanted > seeds_begun(each)
        and not each.is_confirmed
        and not each.is_refuted
    ]
    return min(choices, key=order, default=None)


def may_look(state: StudyState) -> bool:
    """Return whether a further network may be verified: while fewer than ``_MAX_LOOKS`` are unproven."""
    return len([verdict for verdict in state.verdicts.values() if not verdict.tier.is_proven]) < _MAX_LOOKS
