"""The decisions of a search about its networks, as pure functions: what is pruned, and what is run next.

A training is stopped at a rung from where only about one training in ten would reach the threshold, which stands for
the target on validation images; one network in ten is exempt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from harness.evidence.leaderboard import PROVEN
from harness.searching.turn import Turn
from harness.studies.candidate import CONFIRM_SEEDS, Candidate, combined_cost
from harness.studies.config import StudyConfig, epochs_within
from harness.studies.events import RungReached
from harness.studies.state import Ratios, StudyState
from harness.system import statistics
from harness.training.result import Result

# Networks that a study looks at on the test images, of which none becomes ``verified`` (docs/decisions.md#28).
MOST_LOOKS = 2
# While a network has at least this chance to stand all workers run its fresh seeds; else half of them go on searching.
LIKELY = 0.5
# Shares of the epochs after which pruning is decided.
RUNG_SHARES = (0.25, 0.5)
# Errors at the end per error at a rung, at the edge of the best tenth, by share of the epochs; used until a study has
# runs of its own (docs/lab, "rungs").
_PRIOR_RATIO = {0.25: 0.50, 0.4: 0.62, 0.5: 0.72, 0.6: 0.80}
_OWN_RATIOS = 8
# One network in so many is never pruned; its hash is the lot. These alone can be counted to tell how often pruning is
# wrong; a share of what it lets through would flatter it.
_EXEMPT_SHARE = 10


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which pruning is decided, for a recipe of so many epochs."""
    return epochs_within((share * epochs for share in RUNG_SHARES), epochs)


def next_rung(config: StudyConfig, epochs: int, epoch: int) -> int | None:
    """Return the next rung after an epoch of a training of so many, None where the run then goes to its end."""
    return next((rung for rung in config.rungs_of(epochs) if rung > epoch), None)


def at_rung(
    result: Result, ratios: Ratios, threshold_pct: float, is_hopeless: Callable[[Result], bool] | None = None
) -> RungReached:
    """Return what is decided of a run that has reached a rung.

    Args:
        ratios: of the study's runs that have ended.
        is_hopeless: another rule in place of this one, which spares nobody.
    """
    errors = result.validation_errors or 0
    epoch = len(result.history)
    epochs = result.recipe.epochs
    # Few networks have been trained to the end when a search begins; then a figure measured beforehand holds.
    known = ratios.get((epochs, epoch), [])
    ratio = _PRIOR_RATIO[min(_PRIOR_RATIO, key=lambda share: abs(share * epochs - epoch))]
    if len(known) >= _OWN_RATIOS:
        ratio = known[len(known) // 10]
    hoped = 100 * (1 - ratio * errors / (result.validation_size or 1))
    hopeless = is_hopeless(result) if is_hopeless else not statistics.reaches(hoped, threshold_pct)
    spared = hopeless and is_hopeless is None and int(result.hash, 16) % _EXEMPT_SHARE == 0
    assert result.trial is not None, "every run of a search belongs to a trial"
    return RungReached(
        trial=result.trial,
        purpose=result.purpose,
        seed_index=result.seed_index,
        epoch=epoch,
        validation_errors=errors,
        ratio=ratio,
        predicted_pct=hoped,
        pruned=hopeless and not spared,
        exempt=spared,
    )


def next_to_confirm(
    candidates: Sequence[Candidate],
    turn: Turn,
    being_confirmed: Mapping[int, int],
    seconds: Callable[[Candidate], float] = lambda candidate: 1.0,
) -> Candidate | None:
    """Return the network whose next fresh seed is worth most, of those that want one and are still open.

    Args:
        turn: what the costs are; worth is counted from its ceiling while none stands.
        being_confirmed: fresh seeds that are being trained, by trial.
        seconds: what a seed of a network takes.
    """
    confirmed = [combined_cost(each.costs, turn.objective) for each in candidates if each.is_confirmed]
    below = min(confirmed, default=turn.ceiling + 1)

    def known(candidate: Candidate) -> int:
        return len(candidate.fresh) + being_confirmed.get(candidate.proposal.trial, 0)

    def order(candidate: Candidate) -> tuple[float, int, int]:
        lacking = max(1, CONFIRM_SEEDS - known(candidate))
        cost = combined_cost(candidate.costs, turn.objective)
        worth = candidate.chance_to_stand * math.log(below / cost) / (lacking * max(1e-9, seconds(candidate)))
        return (-worth, cost, candidate.proposal.trial)

    choices = [
        each
        for each in candidates
        # What costs little to ask comes first: there may be thousands.
        if combined_cost(each.costs, turn.objective) < below
        and each.seeds_wanted > known(each)
        and not each.is_confirmed
        and not each.is_refuted
    ]
    return min(choices, key=order, default=None)


def may_look(state: StudyState) -> bool:
    """Return whether another network may be verified: not after two that did not become ``verified``."""
    unproven = [verdict for verdict in state.verdicts.values() if verdict.tier not in PROVEN]
    return len(unproven) < MOST_LOOKS
