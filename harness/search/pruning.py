"""What decides that a training is pruned: when it is looked at, what is expected of it, and which networks are exempt.

A training is stopped at a rung from where only about one training in ten would reach the threshold. One network in ten
is exempt.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Container, Iterable

from harness.evidence.events import RungReached
from harness.evidence.study import StudyConfig
from harness.system import statistics
from harness.training.result import Result, Status

# Shares of the epochs after which pruning is decided.
_RUNG_SHARES = (0.25, 0.5)
# Errors at the end per error at a rung, at the edge of the best tenth, by share of the epochs; used until a study has
# runs of its own (docs/lab, "rungs").
PRIOR_RATIO = {0.25: 0.50, 0.4: 0.62, 0.5: 0.72, 0.6: 0.80}
# The same for the run in the middle.
_TYPICAL_RATIO = {0.25: 0.62, 0.4: 0.74, 0.5: 0.81, 0.6: 0.89}
_OWN_RATIOS = 8
# One network in so many is never pruned; its hash is the lot. These alone can be counted to tell how often pruning is
# wrong; a share of what it lets through would flatter it.
_EXEMPT_SHARE = 10
# Errors at the end per error at a rung, of the runs that went to the end, the least first; by length and rung.
Ratios = dict[tuple[int, int], list[float]]


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which pruning is decided, for a recipe of so many epochs."""
    return _inside((share * epochs for share in _RUNG_SHARES), epochs)


def rungs_of(config: StudyConfig, epochs: int) -> tuple[int, ...]:
    """Return the epochs after which pruning is decided in a training of so many, at the shares of the study's rungs."""
    return _inside((rung * epochs / config.recipe.epochs for rung in config.rungs), epochs)


def next_rung(config: StudyConfig, epochs: int, epoch: int) -> int | None:
    """Return the next rung after an epoch of a training of so many, None where the run then goes to its end."""
    return next((rung for rung in rungs_of(config, epochs) if rung > epoch), None)


def at_rung(
    found: Result, ratios: Ratios, threshold_pct: float, is_hopeless: Callable[[Result], bool] | None = None
) -> RungReached:
    """Return what is decided of a run that has reached a rung.

    Args:
        ratios: of the study's runs that have ended.
        is_hopeless: another rule in place of this one, which spares nobody.
    """
    errors, epoch, epochs = found.validation_errors or 0, len(found.history), found.recipe.epochs
    # Few networks have been trained to the end when a search begins; then a figure measured beforehand holds.
    known = ratios.get((epochs, epoch), [])
    ratio = PRIOR_RATIO[min(PRIOR_RATIO, key=lambda share: abs(share * epochs - epoch))]
    if len(known) >= _OWN_RATIOS:
        ratio = known[len(known) // 10]
    hoped = 100 * (1 - ratio * errors / (found.validation_size or 1))
    hopeless = is_hopeless(found) if is_hopeless else not statistics.reaches(hoped, threshold_pct)
    spared = hopeless and is_hopeless is None and int(found.hash, 16) % _EXEMPT_SHARE == 0
    assert found.trial is not None, "every run of a search belongs to a trial"
    return RungReached(
        trial=found.trial,
        purpose=found.purpose,
        seed_index=found.seed_index,
        epoch=epoch,
        validation_errors=errors,
        ratio=ratio,
        predicted_pct=hoped,
        pruned=hopeless and not spared,
        exempt=spared,
    )


def why_pruned(rung: RungReached, threshold_pct: float) -> str:
    """Return why a run was stopped at a rung, for people."""
    hoped = f"after epoch {rung.epoch}, one training in ten would reach {rung.predicted_pct:.4f} % or more"
    return f"{hoped}; the threshold is {threshold_pct:.4f} %"


def add_run(ratios: Ratios, ended: Result, asked: Container[int]) -> None:
    """Add the ratios of a run at the rungs that are asked about; one that did not go to its end has none."""
    if ended.status is Status.COMPLETE and ended.validation_errors is not None:
        for epoch in ended.history:
            if epoch.epoch in asked and epoch.validation_errors:
                known = ratios.setdefault((ended.recipe.epochs, epoch.epoch), [])
                insort(known, ended.validation_errors / epoch.validation_errors)


def guessed_errors(pruned: Result) -> float:
    """Return the validation errors that a pruned run would have made at its end, as the run in the middle does."""
    done = len(pruned.history) / pruned.recipe.epochs
    ratio = _TYPICAL_RATIO[min(_TYPICAL_RATIO, key=lambda share: abs(share - done))]
    return ratio * (pruned.validation_errors or 0)


def _inside(epochs: Iterable[float], last: int) -> tuple[int, ...]:
    return tuple(sorted({whole for whole in map(math.ceil, epochs) if 0 < whole < last}))
