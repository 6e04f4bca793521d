"""The networks of a study with their runs, and the decisions of a search about them, as pure functions.

What is pruned, what stands, what is refuted, what is run next, what came nearest. Accuracies are per cent of the
validation images; the threshold is what stands for the target there. A training is stopped at a rung from where only
about one training in ten would reach the threshold; one network in ten is exempt.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Proposal,
    Repeated,
    RunEnded,
    RungReached,
    Verified,
)
from harness.evidence.leaderboard import PROVEN
from harness.evidence.study import Study, StudyConfig
from harness.system import statistics
from harness.training.result import Purpose, Result, Status, accuracy_pct
from search_spaces.network import analyse
from search_spaces.space import Metric, Weighted, measured, size_text

# Networks that a study looks at on the test images, of which none becomes ``verified`` (docs/decisions.md#28).
MOST_LOOKS = 2
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
_LEAST_CHANCE = 0.25
_CHANCE_PCT = 10.0
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
# Shares of the epochs after which pruning is decided.
_RUNG_SHARES = (0.25, 0.5)
# Errors at the end per error at a rung, at the edge of the best tenth, by share of the epochs; used until a study has
# runs of its own (docs/lab, "rungs").
_PRIOR_RATIO = {0.25: 0.50, 0.4: 0.62, 0.5: 0.72, 0.6: 0.80}
# The same for the run in the middle.
_TYPICAL_RATIO = {0.25: 0.62, 0.4: 0.74, 0.5: 0.81, 0.6: 0.89}
_OWN_RATIOS = 8
# One network in so many is never pruned; its hash is the lot. These alone can be counted to tell how often pruning is
# wrong; a share of what it lets through would flatter it.
_EXEMPT_SHARE = 10
# Errors at the end per error at a rung, of the runs that went to the end, the least first; by length and rung.
_Ratios = dict[tuple[int, int], list[float]]


def rungs(epochs: int) -> tuple[int, ...]:
    """Return the epochs after which pruning is decided, for a recipe of so many epochs."""
    return _inside((share * epochs for share in _RUNG_SHARES), epochs)


def rungs_of(config: StudyConfig, epochs: int) -> tuple[int, ...]:
    """Return the epochs after which pruning is decided in a training of so many, at the shares of the study's rungs."""
    return _inside((rung * epochs / config.recipe.epochs for rung in config.rungs), epochs)


def _inside(epochs: Iterable[float], last: int) -> tuple[int, ...]:
    return tuple(sorted({whole for whole in map(math.ceil, epochs) if 0 < whole < last}))


def next_rung(config: StudyConfig, epochs: int, epoch: int) -> int | None:
    """Return the next rung after an epoch of a training of so many, None where the run then goes to its end."""
    return next((rung for rung in rungs_of(config, epochs) if rung > epoch), None)


def at_rung(
    found: Result, ratios: _Ratios, threshold_pct: float, is_hopeless: Callable[[Result], bool] | None = None
) -> RungReached:
    """Return what is decided of a run that has reached a rung.

    Args:
        ratios: of the study's runs that have ended.
        is_hopeless: another rule in place of this one, which spares nobody.
    """
    errors, epoch, epochs = found.validation_errors or 0, len(found.history), found.recipe.epochs
    # Few networks have been trained to the end when a search begins; then a figure measured beforehand holds.
    known = ratios.get((epochs, epoch), [])
    ratio = _PRIOR_RATIO[min(_PRIOR_RATIO, key=lambda share: abs(share * epochs - epoch))]
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


@dataclass(slots=True)
class Candidate:
    """A proposed network and the runs it has had.

    Attributes:
        cost: what it has of the metric that is minimised; of two, by their weight of the moment.
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
    def is_settled(self) -> bool:
        """Whether it neither stands nor is to have another run, as far as its runs tell."""
        if self.first is None or self.is_confirmed:
            return False
        return self.seeds_wanted <= len(self.fresh) or self.is_refuted

    @property
    def seeds_wanted(self) -> int:
        """Fresh seeds that it should have by now, those in flight included.

        One that passed is to be confirmed: on two at once, then one after the other while it has a chance to stand. One
        that was trained to the end and missed gets one for each time it was proposed again.
        """
        if self.passed_first:
            hopeful = self.chance_to_stand >= _LEAST_CHANCE
            return max(self.confirm_seeds, len(self.fresh) + 1) if hopeful else len(self.fresh)
        return self.repeats if self.first is not None and self.first.status is Status.COMPLETE else 0

    @property
    def chance_to_verify(self) -> float:
        """The probability that the mean of a verification's seeds reaches the target, by the fresh seeds.

        It differs from theirs by what seeds differ by, and by what networks differ by in the ratio of errors on other
        images.
        """
        misses = [100 - accuracy for accuracy in self.fresh_pct]
        centre = max(1e-9, statistics.mean(misses))
        squares = math.fsum((miss / centre - 1) ** 2 for miss in misses)
        freedom = _SEED_FREEDOM + len(misses) - 1
        share = (_SEED_FREEDOM * SEED_SHARE**2 + squares) / freedom
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
        deviation = coming / wanted * SEED_SHARE * math.sqrt(1 / coming + 1 / len(misses))
        allowed = (100 - self.threshold_pct) * needed_share(wanted)
        return statistics.normal_share(_log_ratio(allowed, centre) / deviation)

    @property
    def expected_errors(self) -> float | None:
        """Validation errors that it makes at the end: the mean of its runs, a guess where it was pruned.

        None where it has no usable run.
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
        done = len(first.history) / first.recipe.epochs
        return _TYPICAL_RATIO[min(_TYPICAL_RATIO, key=lambda share: abs(share - done))] * first.validation_errors

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


def costs_of(proposal: Proposal, config: StudyConfig) -> tuple[int, ...]:
    """Return what a network has of each metric that its study minimises."""
    if config.minimised == (Metric.PARAMETERS,):
        return (proposal.parameters,)
    analysis = analyse(proposal.architecture, dataset(config.dataset).task)
    return tuple(measured(analysis, each) for each in config.minimised)


def needed_share(seeds: int = CONFIRM_SEEDS) -> float:
    """Return how many of the allowed errors a network may make in the mean of so many fresh seeds to stand, as a share.

    That is where the seeds differ by as much as they usually do.
    """
    square = SEED_SHARE**2 / seeds + _VERIFY_SQUARE
    return math.exp(-statistics.quantile(CONFIDENCE, _SEED_FREEDOM + seeds - 1) * math.sqrt(square))


def _log_ratio(allowed: float, made: float) -> float:
    return math.log(max(1e-9, allowed) / max(1e-9, made))


def why_refuted(fresh_seeds: int, *, stood: bool) -> str:
    """Return which rule has ended the confirmation of a network, for people; ``stood``: it was confirmed before."""
    if stood:
        return "a further seed took its confirmation away"
    if fresh_seeds >= MOST_SEEDS:
        return f"{MOST_SEEDS} seeds are the most it may have"
    return f"the chance that more seeds confirm it is below {100 * _LEAST_CHANCE:g} %"


def final_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the networks that stand, the lowest cost first."""
    return sorted((each for each in candidates if each.is_confirmed), key=lambda each: each.order)


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the networks that stand and that no other one has less of all costs than; with one cost the smallest."""
    standing = sorted((each for each in candidates if each.is_confirmed), key=lambda each: (each.costs, each.order))
    found = list[Candidate]()
    for each in standing:
        if not found or each.costs[-1] < found[-1].costs[-1]:
            found.append(each)
    return found


def next_to_confirm(
    candidates: Sequence[Candidate],
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
    below = min((each.cost for each in candidates if each.is_confirmed), default=ceiling + 1)

    def known(candidate: Candidate) -> int:
        return len(candidate.fresh) + flying.get(candidate.proposal.trial, 0)

    def order(candidate: Candidate) -> tuple[float, int, int]:
        lacking = max(1, CONFIRM_SEEDS - known(candidate))
        fall = math.log(below / candidate.cost)
        worth = candidate.chance_to_stand * fall / (lacking * max(1e-9, seconds(candidate)))
        return (-worth, *candidate.order)

    open_ = [
        each
        for each in candidates
        # What costs little to ask comes first: there may be thousands.
        if each.cost < below and each.seeds_wanted > known(each) and not each.is_confirmed and not each.is_refuted
    ]
    return min(open_, key=order, default=None)


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


class Trials(Study):
    """What has happened to the networks of a study.

    Attributes:
        confirm_seeds: fresh seeds that a network stands on at the least; ``counts_repeats`` if a proposal of a known
            network counts for it.
        candidates: the proposed networks with their runs, by trial.
        contenders: those that are not settled and have not missed on test. Each event asks about these alone: of
            thousands of networks nearly all are settled.
        trained: first runs that have ended with an accuracy.
        ratios: errors at the end per error at a rung, of its runs that went to their end.
        stood: the trial that was last noted as the confirmed one and has not fallen since; all of them with two costs.
        objective: what the next network is to have as little of as possible; ``highest`` is the most of it.
    """

    def __init__(self, folder: Path, config: StudyConfig, *, in_memory: bool = False) -> None:
        super().__init__(folder, config, in_memory=in_memory)
        self.confirm_seeds, self.counts_repeats = CONFIRM_SEEDS, True
        self.candidates: dict[int, Candidate] = {}
        self.contenders: dict[int, Candidate] = {}
        self.trained = 0
        self.ratios: _Ratios = {}
        self.stood: list[int] = []
        self.objective, self.highest = config.objective(0)

    def apply(self, entry: Entry[Event]) -> None:
        """Change the state by what has happened."""
        super().apply(entry)
        match event := entry.event:
            case Proposal(trial=trial):
                costs, threshold_pct = costs_of(event, self.config), self.config.threshold_pct
                changed = Candidate(
                    event, costs[0], confirm_seeds=self.confirm_seeds, threshold_pct=threshold_pct, costs=costs
                )
                self.candidates[trial] = changed
                self.turn(len(self.candidates))
            case Repeated(trial=trial) if trial in self.candidates:
                changed = self.candidates[trial]
                changed.repeats += self.counts_repeats
            case RunEnded(run=run) if run.trial in self.candidates:
                changed = self.candidates[run.trial]
                if run.purpose is Purpose.SEARCH:
                    changed.first = run
                    self.trained += run.validation_errors is not None
                else:
                    changed.fresh = sorted([*changed.fresh, run], key=lambda each: each.seed_index)
                self._learn_ratios(run)
                self.__dict__.pop("_nearest", None)
            case Confirmed(trial=trial):
                self.stood = [*(self.stood if self.config.second is not None else ()), trial]
                return
            case FailedConfirmation(trial=trial):
                self.stood = [each for each in self.stood if each != trial]
                return
            case Verified():
                missed = self.missed
                self.stood = [each for each in self.stood if each not in missed]
                for trial in missed & self.contenders.keys():
                    del self.contenders[trial]
                self.__dict__.pop("standing", None)
                return
            case _:
                return
        if changed.is_settled or changed.proposal.trial in self.missed:
            self.contenders.pop(changed.proposal.trial, None)
        else:
            self.contenders[changed.proposal.trial] = changed
        self.__dict__.pop("standing", None)

    def turn(self, number: int) -> None:
        """Look at all networks by the objective of a turn."""
        self.objective, self.highest = self.config.objective(number)
        if isinstance(self.objective, Weighted):
            for each in self.candidates.values():
                each.cost = self.objective.of(each.costs)
            self.__dict__.pop("standing", None)

    def _learn_ratios(self, run: Result) -> None:
        if run.status is Status.COMPLETE and run.validation_errors is not None:
            asked, epochs = rungs_of(self.config, run.recipe.epochs), run.recipe.epochs
            for at in run.history:
                if at.epoch in asked and at.validation_errors:
                    ratio = run.validation_errors / at.validation_errors
                    insort(self.ratios.setdefault((epochs, at.epoch), []), ratio)

    @property
    def missed(self) -> set[int]:
        """The trials whose verification has missed the target: they stand nowhere."""
        return {trial for trial, verdict in self.verdicts.items() if verdict.passed is False}

    @property
    def may_look(self) -> bool:
        """Whether another network may be verified: not after two that did not become ``verified``."""
        unproven = [verdict for verdict in self.verdicts.values() if verdict.tier not in PROVEN]
        return len(unproven) < MOST_LOOKS

    @cached_property
    def standing(self) -> Candidate | None:
        """The network of the lowest cost that stands; it can change only with the contenders."""
        return next(iter(final_order(self.contenders.values())), None)

    @property
    def answer(self) -> Candidate | None:
        """The network that the study answers with: the smallest that met the target on test, else what stands."""
        passed = [self.candidates[trial] for trial, verdict in self.verdicts.items() if verdict.passed]
        return min(passed, key=lambda each: each.order, default=self.standing)

    @cached_property
    def _nearest(self) -> NearestMiss | None:
        return nearest_miss(self.candidates.values())

    @property
    def nearest(self) -> NearestMiss | None:
        """What came nearest to standing, while nothing stands; it can change when a run ends."""
        return self._nearest if self.standing is None else None
