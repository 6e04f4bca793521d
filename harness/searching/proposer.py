"""Which network is trained next, and for how long.

The surrogate chooses among many draws and their neighbours, or all of a small space; a sampler that was asked for takes
turns with it. Where no earlier training is known a ladder of sizes comes first.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from harness.searching.acquisition import LEAST_CHANCE, UNLIKELY, Aim, Choice, Option
from harness.searching.clock import TimeLeft
from harness.searching.optuna_sampler import SURROGATE, Index, Trial
from harness.searching.surrogate import PRIOR_ERRORS, Observation, Surrogate, row_of
from harness.searching.turn import turn_of
from harness.studies.candidate import Candidate, combined_cost, objective_of
from harness.studies.config import StudyConfig
from harness.studies.events import Event, Proposal, Rejected, Repeated, RunEnded
from harness.training.result import Purpose, Result, Status
from search_spaces.errors import DrawError
from search_spaces.network import Analysis, Task, analyse
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import (
    Condition,
    Draw,
    Judgement,
    Metric,
    Objective,
    SearchSpace,
    draw,
    enumerate_draws,
    judge,
    measured,
    mutate,
    replay,
    uniform,
    unit_of,
)

_LADDER_STEPS = 7
_LADDER_DRAWS = 300
# Rejected or known proposals in a row after which a network is drawn below the ceiling instead.
ASKS = 40
# With a sampler that was asked for every second network after the ladder is the model's.
_AIM_EVERY = 2
# Rejections the sampler is told about, a proposal; more would only slow it down.
_LESSONS = 10
# Derivations of a space that is listed; it takes a second or less.
_MOST_LISTED = 5_000
# Draws after which a space counts as searched through: some seconds.
_DRAWS = 20_000
# The model chooses among so many draws, from at most so many looks, and among changes of those that are worth most and
# have not been changed yet: so many at once, so many changes each (docs/lab, "how well the best network is
# looked for").
_AIM_DRAWS, _AIM_LOOKS = 600, 1600
_PARENTS, _CHILDREN = 24, 8
# The rounds end when so many have not raised the highest worth by this share, and after so many in all.
_PATIENCE = 6
_RISE = 0.01
_MOST_ROUNDS = 25
# A look chooses one network for each so many workers: with a look for each network hundreds of workers would wait.
_WORKERS_A_CHOICE = 8
# The model is fitted to so many observations at most, as its time grows with their cube.
_MOST_OBSERVATIONS = 1_500
# Errors that are believed of a network of middling size where no earlier training tells, by those that are allowed.
_PRIOR_ERROR_FACTOR = 1.5
# What a run that was pruned would have come to is a guess: further deviation of its logarithm.
_PRUNED_DOUBT = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The parts that can be left out, each by itself. Rungs are left out by naming none."""

    # Begin with networks of evenly spread sizes.
    ladder: bool = True
    # Then networks are those that the surrogate thinks most of; every second of them where another sampler is named.
    aim: bool = True
    # Propose nothing as large as the smallest network that stands.
    falling_budget: bool = True
    # A network stands on fresh seeds; without it its first run suffices.
    confirmation: bool = True
    # A proposal of a known network that missed is a further seed of it.
    repeats: bool = True


ALL_ON = Switches()


@dataclass(frozen=True, slots=True)
class Found:
    """A network to train, with what was rejected and repeated on the way to it; None where there is none, and ``why``.

    With more time there might be one where it ``lacks_time``. Those ``rejected``, by reason, were only looked at.
    """

    proposal: Proposal | None
    passed: tuple[Rejected | Repeated, ...]
    why: str = ""
    lacks_time: bool = False
    rejected: Mapping[str, int] = field(default_factory=dict)


class Proposing(Protocol):
    """Whoever proposes networks to a search."""

    def propose(
        self,
        ceiling: int,
        candidates: Mapping[int, Candidate],
        time_left: TimeLeft,
        objective: Objective = Metric.PARAMETERS,
    ) -> Found:
        """Return the next network to train, of at most ``ceiling`` of the objective and not proposed before."""
        ...

    def tell(self, candidate: Candidate) -> None:
        """Hear what came of a proposal."""
        ...


@functools.lru_cache(maxsize=8)
def _listed(text: str, task: Task, objective: Objective) -> tuple[tuple[Option, float], ...]:
    """Return what a space accepts, with the odds of a uniform draw."""
    space = parse_space(text, task=task)
    judged = ((network, judge(space, network.architecture)) for network in enumerate_draws(space))
    return tuple(
        (
            Option.of(network, judgement, objective),
            functools.reduce(operator.truediv, (each.size for each in network.decisions), 1.0),
        )
        for network, judgement in judged
        if judgement.accepted
    )


class _Look:
    """One look for the next network: what it may be at the moment, and what was passed over so far.

    Attributes:
        known: trials by hash; ``taken`` are hashes and lengths that were proposed before.
        rejected: networks that were looked at and rejected without being anybody's proposal, by reason.
        looked_at: networks that the surrogate had to choose among: new, or of a new length, and there is time for them.
        hopes: with more time one of them would have a chance.
        listed: all networks of a small space, with their odds.
        limited: the space with the ceiling of the objective among its conditions.
    """

    def __init__(
        self,
        space: SearchSpace,
        config: StudyConfig,
        ceiling: int,
        candidates: Mapping[int, Candidate],
        past: Sequence[Observation],
        time_left: TimeLeft,
        objective: Objective = Metric.PARAMETERS,
    ) -> None:
        self.space = space
        self.config = config
        self.ceiling = ceiling
        self.time_left = time_left
        self.candidates = candidates
        self.past = past
        self.objective = objective
        proposals = [candidate.proposal for candidate in candidates.values()]
        self.trial = max(candidates, default=-1) + 1
        self.known = {each.hash: each.trial for each in proposals}
        self.taken = frozenset((each.hash, each.epochs or config.recipe.epochs) for each in proposals)
        self.passed: list[Rejected | Repeated] = []
        self.rejected: Counter[str] = Counter()
        self.looked_at, self.hopes = 0, False
        limit = Condition(objective, "<=", ceiling)
        self.limited = replace(space, conditions=(*space.conditions, limit))
        is_small = space.configurations <= _MOST_LISTED
        self.listed = _listed(space.text, space.task, objective) if is_small else None

    def judged(self, network: Draw, judgement: Judgement | None = None) -> Option | Judgement:
        """Return a network that may be trained now as an option, or what speaks against it."""
        judgement = judgement or judge(self.space, network.architecture, self.ceiling, self.objective)
        if not judgement.accepted:
            return judgement
        option = Option.of(network, judgement, self.objective)
        has_time = self.time_left.has(min(self.config.all_lengths), option.work)
        return option if has_time else Judgement(judgement.analysis, Metric.MACS.value)

    def reject(self, network: Draw, judgement: Judgement, origin: str, **further: Any) -> None:
        """Note the reason against a proposal."""
        size = judgement.analysis.parameters if judgement.analysis else None
        facts = {"reason": str(judgement.reason), "parameters": size, "hash": network.architecture.hash, **further}
        self.passed.append(Rejected(origin=origin, budget=self.ceiling, **facts))

    def drawn(self, rng: random.Random, draws: int = _DRAWS) -> Iterator[Option]:
        """Yield new networks within the limits from so many uniform draws; of a small space without looking in vain."""
        if self.listed is not None:
            shortest = min(self.config.all_lengths)
            open_ = [
                (option, odds)
                for option, odds in self.listed
                if option.hash not in self.known
                and option.cost <= self.ceiling
                and self.time_left.has(shortest, option.work)
            ]
            while open_:
                yield rng.choices([option for option, _ in open_], [odds for _, odds in open_])[0]
            return
        for _ in range(draws):
            if self.time_left.is_over():
                return
            judged = self.judged(draw(self.space, uniform(rng)))
            if isinstance(judged, Judgement):
                self.rejected[str(judged.reason)] += 1
            elif judged.hash not in self.known:
                yield judged

    def aim(self) -> Aim:
        """Return what is asked for, with a surrogate that is fitted to all that is known."""
        config, candidates = self.config, list(self.candidates.values())
        observed = (seen for candidate in reversed(candidates) if (seen := self._observed(candidate)) is not None)
        latest = list(itertools.islice(observed, _MOST_OBSERVATIONS))[::-1]
        count = min(len(self.past), _MOST_OBSERVATIONS - len(latest))
        learned = [*(self.past[number * len(self.past) // count] for number in range(count)), *latest]
        open_, stands = list[tuple[int, float]](), False
        for candidate in candidates:
            confirmed = candidate.is_confirmed
            stands = stands or confirmed
            if candidate.first is None:
                open_.append((combined_cost(candidate.costs, self.objective), candidate.proposal.chance or 0.0))
            elif candidate.passed_first and not confirmed and not candidate.is_refuted:
                open_.append((combined_cost(candidate.costs, self.objective), candidate.chance_to_stand))
        allowed = (100 - config.threshold_pct) * 100
        return Aim(
            model=Surrogate(learned, PRIOR_ERRORS if self.past else _PRIOR_ERROR_FACTOR * max(1.0, allowed)),
            recipe=config.recipe,
            lengths=config.all_lengths,
            taken=self.taken,
            allowed=allowed,
            below=self.ceiling + 1,
            open=tuple(open_),
            stands=stands,
            time_left=self.time_left,
        )

    def _observed(self, candidate: Candidate) -> Observation | None:
        errors, first = candidate.expected_errors, candidate.first
        if errors is None or first is None or not first.validation_size:
            return None
        recipe, _ = self.config.recipe_of(candidate.proposal.epochs)
        training = recipe.epochs, recipe.batch_size, recipe.augmented_share
        row = row_of(candidate.proposal.architecture, self.space.task, *training)
        doubt = 0.0 if first.status is Status.COMPLETE else _PRUNED_DOUBT
        return Observation(row, errors * 10_000 / first.validation_size, 1 + len(candidate.fresh), doubt)

    def aimed(self, rng: random.Random) -> list[Choice]:
        """Return what the surrogate thinks is worth most, of many draws and of changes of the best of them.

        First what is worth most now, then what is with that in training, and so on where many workers train.
        """
        aim = self.aim()
        if self.listed is not None:
            options = [each for each, _ in self.listed if each.cost <= self.ceiling]
            ranked = aim.ranked(options)
        else:
            draws = list(itertools.islice(self.drawn(rng, _AIM_LOOKS), _AIM_DRAWS))
            # Where hardly a draw is within the limits one is enough to begin with: its changes are nearer to them.
            draws = draws or list(itertools.islice(self.drawn(rng), 1))
            options = list({each.hash: each for each in draws}.values())
            ranked = self._climbed(aim, options, rng)
        self.looked_at = sum(bool(aim.lengths_of(each)) for each in options)
        if not ranked:
            endless = replace(aim, time_left=replace(aim.time_left, seconds=None, spare=math.inf))
            self.hopes = bool(endless.ranked(options))
        return aim.one_by_one(ranked, max(1, self.time_left.workers // _WORKERS_A_CHOICE))

    def _climbed(self, aim: Aim, options: list[Option], rng: random.Random) -> list[Choice]:
        """Return options and changes of them, which it adds to ``options``, what is worth most first."""
        ranked = aim.ranked(options)
        seen = {each.hash for each in options}
        changed = set[str]()
        worths = [0.0]
        # Besides the options: the smallest that passed, and the latest.
        candidates = [self.candidates[trial] for trial in sorted(self.candidates)]
        passed = [candidate for candidate in candidates if candidate.passed_first]
        passed.sort(key=lambda candidate: combined_cost(candidate.costs, self.objective))
        proposals = {each.proposal.hash: each.proposal for each in (*passed[:_PARENTS], *candidates[-_PARENTS:])}
        proposed = [Draw(each.architecture, each.decisions) for each in proposals.values()]
        while len(worths) <= _MOST_ROUNDS and (
            len(worths) <= _PATIENCE or worths[-1] > (1 + _RISE) * worths[-1 - _PATIENCE]
        ):
            if self.time_left.is_over():
                break
            worthiest = [each.option for each in ranked if each.option.hash not in changed][:_PARENTS]
            changed |= {each.hash for each in worthiest}
            fresh: dict[str, Option] = {}
            for parent in (*(each.found for each in worthiest), *proposed):
                for number in range(_CHILDREN):
                    try:
                        children = mutate(self.limited, parent, rng, attempts=5, changes=1 + number % 2)
                    except DrawError:
                        continue
                    child = self.judged(*children)
                    if isinstance(child, Judgement):
                        self.rejected[str(child.reason)] += 1
                    elif child.hash not in seen:
                        fresh[child.hash] = child
            seen |= fresh.keys()
            options.extend(fresh.values())
            proposed = []
            ranked = sorted([*ranked, *aim.ranked(fresh.values())], key=lambda each: -each.worth)
            worths.append(ranked[0].worth if ranked else 0.0)
        return ranked

    def why_nothing(self) -> tuple[str, bool]:
        """Return why no network was found, and whether there might be one with more time."""
        if self.time_left.is_over():
            return "the time was over before a further network was found", True
        limits, in_time = f"at most {self.ceiling:,} {unit_of(self.objective)}", ""
        if (seconds := self.time_left.seconds) is not None:
            in_time = f" and at most {seconds:.0f} s of training, which leaves time for the verification"
        # The model's word is the last one where no other sampler takes turns with it.
        if self.config.sampler == SURROGATE and self.looked_at:
            networks = f"none of {self.looked_at:,} networks that were looked at is given a chance of "
            networks += f"{100 * LEAST_CHANCE:g} % to reach the target ({100 * UNLIKELY:g} % where time is short)"
            return f"{networks}, with {limits}{in_time}", self.hopes
        time_left = replace(self.time_left, seconds=None)
        endless = _Look(self.space, self.config, self.ceiling, self.candidates, self.past, time_left, self.objective)
        lacks_time = seconds is not None and next(endless.drawn(random.Random(0)), None) is not None
        # With endless time there is none either: then it is the conditions that stand in the way.
        others = (each for each in self.space.conditions if each.metric != self.objective or ">" in each.comparison)
        limits += in_time if lacks_time else "".join(f" and {each}" for each in dict.fromkeys(others))
        if self.listed is not None:
            return f"the space has no further network with {limits}", lacks_time
        return f"none of {_DRAWS:,} further draws was a new network with {limits}", lacks_time


class Proposer:
    """The sampler's study, the ladder, and what earlier trainings taught.

    Attributes:
        ladder: networks to begin with.
        running: the sampler's trials of networks that are trained, by trial.
    """

    def __init__(
        self, space: SearchSpace, config: StudyConfig, switches: Switches = ALL_ON, past: Sequence[Observation] = ()
    ) -> None:
        """Begin a study; ``past`` are other studies' trainings, which the surrogate learns from."""
        self.space = space
        self.config = config
        self.switches = switches
        self.past = tuple(past)
        self.index = Index(config.sampler, config.seed)
        self.running: dict[int, Trial] = {}
        is_lost = not switches.ladder or (past and not config.known)
        self.ladder = [] if is_lost else _size_ladder(space, config)
        # What the model's last look has left for the next proposals, as long as the ceiling is the same.
        self._ahead: list[Choice] = []
        self._ahead_ceiling = 0

    def propose(
        self,
        ceiling: int,
        candidates: Mapping[int, Candidate],
        time_left: TimeLeft,
        objective: Objective = Metric.PARAMETERS,
    ) -> Found:
        """Return the next network to train, of at most ``ceiling`` of the objective and not proposed before."""
        look = _Look(self.space, self.config, ceiling, candidates, self.past, time_left, objective)
        proposal = self._climb(look)
        if proposal is None and self.switches.aim and self._is_aimed(look.trial):
            proposal = self._aim(look)
        # The surrogate's word is the last one where no other sampler takes turns with it.
        if proposal is None and not (self.switches.aim and self.config.sampler == SURROGATE):
            proposal = self._ask(look)
        if proposal is not None:
            return Found(proposal, tuple(look.passed), rejected=look.rejected)
        why, lacks_time = look.why_nothing()
        return Found(None, tuple(look.passed), why, lacks_time, look.rejected)

    def enter(self, proposal: Proposal) -> None:
        """Enter a network to be trained that is not the sampler's own proposal of this session."""
        self.running[proposal.trial] = self.index.impose(proposal.decisions)

    def retell(self, events: Iterable[Event], candidates: Mapping[int, Candidate]) -> None:
        """Ask and tell what a log says, as a new proposer; networks without a result are running afterwards.

        One by one, in order: NSGA-II numbers the generation of a trial when it is asked for.
        """

        def imposed(indices: Mapping[str, int]) -> tuple[Draw, Trial]:
            again = replay(self.space, indices, uniform(random.Random(0)))
            return again, self.index.impose(again.decisions)

        taken = set[str | None]()
        for event in events:
            match event:
                case Proposal():
                    # Draws beside the sampler were questions of their own, an aim that found nothing included.
                    self.index.asked += event.origin != "ladder" and self._is_aimed(event.trial)
                    self.index.asked += event.origin == "draw"
                    self.enter(event)
                case Rejected(origin="ladder"):
                    taken.add(event.hash)
                case Rejected(origin="sampler", violation=float(violation)) if event.parameters is not None:
                    again, trial = imposed(event.indices)
                    analysis = analyse(again.architecture, self.space.task)
                    self.index.reject(trial, measured(analysis, objective_of(self.config)), violation)
                case Repeated(trial=known) if known not in self.running:
                    self.index.tell(imposed(event.indices)[1], candidates[known])
                case Rejected(origin="sampler") | Repeated():
                    self.index.asked += 1
                case RunEnded(run=Result(purpose=Purpose.SEARCH, trial=int(trial))) if trial in self.running:
                    self.tell(candidates[trial])
                case _:
                    pass
        self.ladder = [network for network in self.ladder if network.architecture.hash not in taken]

    def _is_aimed(self, trial: int) -> bool:
        """Whether a network of that number is the surrogate's, unless it is of the ladder."""
        return self.config.sampler == SURROGATE or trial % _AIM_EVERY == 0

    def tell(self, candidate: Candidate) -> None:
        """Tell the sampler what came of a proposal."""
        self.index.tell(self.running.pop(candidate.proposal.trial), candidate)

    def _climb(self, look: _Look) -> Proposal | None:
        while self.ladder:
            network = self.ladder.pop(0)
            if network.architecture.hash in look.known:
                continue
            if isinstance(judged := look.judged(network), Option):
                return self._proposed(look, judged, "ladder")
            look.reject(network, judged, "ladder")
        return None

    def _aim(self, look: _Look) -> Proposal | None:
        # One question a proposal, whether its look was taken before or not: so they are counted after a stop.
        rng = self.index.generator()
        if self._ahead_ceiling != look.ceiling:
            self._ahead = []
        while self._ahead:
            choice = self._ahead.pop(0)
            if (choice.option.hash, choice.epochs) not in look.taken and choice.is_timely(look.time_left):
                return self._proposed(look, choice.option, "aim", choice)
        if not (choices := look.aimed(rng)):
            return None
        self._ahead, self._ahead_ceiling = choices[1:], look.ceiling
        return self._proposed(look, choices[0].option, "aim", choices[0])

    def _ask(self, look: _Look) -> Proposal | None:
        """Return the sampler's proposal, or a draw where it has none that is new and may be trained."""
        limited = look.limited
        for attempt in range(ASKS):
            trial, network = self.index.ask(limited, look.known)
            judged = look.judged(network)
            if isinstance(judged, Option):
                if judged.hash not in look.known:
                    return self._proposed(look, judged, self.config.sampler, trial=trial)
                known = look.candidates[look.known[judged.hash]]
                look.passed.append(Repeated(trial=known.proposal.trial, hash=judged.hash, indices=network.indices))
                self.index.tell(trial, known)
            elif judged.analysis is None or attempt >= _LESSONS:
                self.index.forget(trial)
                look.reject(network, judged, "sampler")
            else:
                broken = _violation(limited, judged.analysis)
                self.index.reject(trial, measured(judged.analysis, look.objective), broken)
                look.reject(network, judged, "sampler", violation=broken, indices=network.indices)
        option = next(look.drawn(self.index.generator()), None)
        return None if option is None else self._proposed(look, option, "draw")

    def _proposed(
        self, look: _Look, option: Option, origin: str, choice: Choice | None = None, trial: Trial | None = None
    ) -> Proposal:
        lengths = self.config.all_lengths
        if choice is None and len(lengths) > 1:
            # For as long as the surrogate thinks most of.
            choice = next(iter(look.aim().ranked([option])), None)
        self.running[look.trial] = trial or self.index.impose(option.found.decisions)
        return Proposal(
            trial=look.trial,
            architecture=option.found.architecture,
            hash=option.hash,
            parameters=option.analysis.parameters,
            origin=origin,
            decisions=option.found.decisions,
            epochs=choice.epochs if choice else min(lengths),
            chance=choice.chance if choice else None,
        )


def _violation(space: SearchSpace, analysis: Analysis) -> float:
    """Return what a network breaks the conditions of a space by, as a sum of shares of their bounds."""
    broken = ((measured(analysis, each.metric), each) for each in space.conditions)
    # A strict condition is broken by its own bound.
    return math.fsum(
        max(1, abs(value - each.bound)) / max(1, each.bound) for value, each in broken if not each.holds(value)
    )


def _size_ladder(space: SearchSpace, config: StudyConfig) -> list[Draw]:
    """Return networks whose costs are spread evenly in the logarithm, those above the middle first.

    They are some of many draws, or of those that are known.

    It brackets the cost at which the target becomes reachable with a handful of runs, whatever the space's
    own distribution of costs is; as an answer comes before a small one, it begins with networks that rather reach.
    Empty when nothing can be drawn: the caller finds out when it proposes.
    """
    rng, accepted = random.Random(config.seed), 0
    sized: dict[int, Draw] = {}
    known = (Draw(parse_network(text, space.task), ()) for text in config.known)
    first = turn_of(config, 0)
    for network in known if config.known else (draw(space, uniform(rng)) for _ in range(_DRAWS)):
        judgement = judge(space, network.architecture, first.ceiling, first.objective)
        if judgement.analysis is not None and judgement.accepted:
            sized.setdefault(measured(judgement.analysis, first.objective), network)
            accepted += 1
        if accepted == _LADDER_DRAWS:
            break
    if not sized:
        return []
    low, high = math.log(min(sized)), math.log(max(sized))
    rungs: dict[int, Draw] = {}
    last = _LADDER_STEPS - 1
    for step in sorted(range(_LADDER_STEPS), key=lambda step: (abs(3 * step - 2 * last), step)):
        wanted = low + (high - low) * step / last
        nearest = min(sized, key=lambda size: abs(math.log(size) - wanted))
        rungs.setdefault(nearest, sized[nearest])
    return list(rungs.values())
