"""Candidate generation: random draws and mutations of the best networks, checked for feasibility and ranked.

``proposer`` decides whether the surrogate model, a sampler or a list of networks makes the proposal.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

from harness.searching.acquisition import UNLIKELY, Acquisition, Forecast, NetworkOption, ScoredOption, calibration_of
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import (
    IMAGES,
    NO_PRIOR,
    Observation,
    Prior,
    Surrogate,
)
from harness.searching.time_budget import TimeLeft
from harness.spaces.network import Task
from harness.spaces.notation import parse_space
from harness.spaces.space import (
    Condition,
    Draw,
    Feasibility,
    Metric,
    Objective,
    SearchSpace,
    draw,
    enumerate_draws,
    judge,
    mutate,
    uniform,
)
from harness.spaces.space_errors import DrawError
from harness.studies.candidate import (
    SURROGATE,
    Candidate,
    combined_cost,
    confirm_seeds_of,
    is_linear,
    needed_share,
    rung_ratios,
)
from harness.studies.config import StudyConfig
from harness.studies.events import NO_TIME, Proposal, Rejected, Repeated
from harness.training.recipe import length_factor
from harness.training.result import Status

_MAX_LISTED = 5_000  # configurations; smaller spaces are enumerated, in at most a second
DRAWS = 20_000  # random draws after which a space counts as exhausted; takes some seconds
# Consecutive rejected or known answers after which a uniform draw replaces the sampler, and a user's method counts as
# exhausted.
MAX_ANSWERS = 40
_SURROGATE_DRAWS = 600  # feasible draws at the start of an optimization of the acquisition function (diary 82)
_MAX_SURROGATE_ATTEMPTS = 1600  # draws attempted for these, including infeasible and known networks
_KEPT = 200  # best networks, with which the next optimization begins
_FURTHER_ATTEMPTS = 200  # draws in addition to these networks
_PARENTS = 24  # networks mutated per round: the best that have not been mutated yet
_CHILDREN = 8  # mutations per parent
_PATIENCE = 6  # rounds without a rise by _RISE that end an optimization
_FURTHER_PATIENCE = 2  # the same, if an optimization starts from earlier networks
_RISE = 0.01  # relative increase of the best acquisition value
_MAX_ROUNDS = 25
_WORKERS_PER_CHOICE = 8  # of a batch; with single choices, hundreds of workers would wait
_OPTIMIZATION_SECONDS = 0.35  # s, in a large space on a two-core CPU machine
_MAX_AT_ONCE = 4  # largest batch for trainings that are faster than an optimization
_MAX_OBSERVATIONS = 1_500  # the time of a fit grows with the cube of the number
# Errors at the centre of the features without a prior, relative to the allowed errors.
_PRIOR_ERROR_FACTOR = 1.5
# Standard deviation added to the log errors of a run that ended at a rung, as the final errors are extrapolated.
_RUNG_DOUBT = 0.15


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Request of a search for the next proposal: a new pair of a network and a number of epochs.

    Attributes:
        max_cost: Largest allowed value of ``objective``.
        missed_trials: Trials whose verification missed the target, which cannot be the answer.
    """

    max_cost: int
    candidates: Mapping[int, Candidate]
    time_left: TimeLeft
    objective: Objective = Metric.PARAMETERS
    missed_trials: Set[int] = frozenset()


@dataclass(frozen=True, slots=True)
class InquiryAnswer:
    """Answer to an inquiry: a proposal, or the reason for having none.

    Attributes:
        proposal: None if no network was found.
        rejected_proposals: Events of rejected or repeated proposals before ``proposal``.
        why_no_proposal: A clause for users; empty with a proposal.
        rejected_draws: Number of rejected draws and mutations, by reason.
    """

    proposal: Proposal | None
    rejected_proposals: tuple[Rejected | Repeated, ...]
    why_no_proposal: str = ""
    lacks_time: bool = False
    rejected_draws: Mapping[str, int] = field(default_factory=dict)


@functools.lru_cache(maxsize=8)
def _listed(text: str, task: Task, weight_bits: int, objective: Objective) -> tuple[tuple[NetworkOption, float], ...]:
    """Return all networks that the conditions of a space allow, each with the probability of a uniform draw.

    A network of several configurations occurs once for each.
    """
    space = replace(parse_space(text, task=task), weight_bits=weight_bits)
    options = []
    for network in enumerate_draws(space):
        feasibility = judge(space, network.architecture)
        if feasibility.accepted:
            # A single division by the product may round differently and change the draws of a seed.
            probability = functools.reduce(operator.truediv, (each.size for each in network.decisions), 1.0)
            options.append((NetworkOption.of(network, feasibility, objective), probability))
    return tuple(options)


@dataclass(eq=False, repr=False)
class Finder:
    """Candidate generator for a single inquiry, which also records rejected networks.

    Attributes:
        rivals: Candidates that may be the answer: no verification missed the target.
        rejected_proposals: Rejected or repeated proposals of the baselines, the ladder or a sampler.
        nearest_draw: Feasibility of the rejected draw or mutation that is closest to the limits.
        option_count: Ranked networks with a new number of epochs that fits the time left.
        best_options: Best networks by the acquisition value, of the latest optimization.
        is_in_doubt: Whether no network reaches the smallest chance to propose (``acquisition._Ranking``); a choice then
            has the rule ``doubt``.
        time_would_help: Whether there is no choice, but would be without a time limit.
        listed_options: All networks of a small space with the probabilities of a uniform draw; else None.
        limited_space: Space with the largest cost as a further condition.
    """

    space: SearchSpace
    config: StudyConfig
    inquiry: InitVar[Inquiry]
    prior: Prior
    best_options: Sequence[NetworkOption] = ()

    def __post_init__(self, inquiry: Inquiry) -> None:
        self.max_cost = inquiry.max_cost
        self.candidates = inquiry.candidates
        self.time_left = inquiry.time_left
        self.objective = inquiry.objective
        self.rivals = [each for trial, each in self.candidates.items() if trial not in inquiry.missed_trials]
        proposals = [candidate.proposal for candidate in self.candidates.values()]
        self.trial = max(self.candidates, default=-1) + 1
        self.trials_by_hash = {each.hash: each.trial for each in proposals}
        epochs = self.config.recipe.epochs
        self.proposed_pairs = frozenset((each.hash, each.epochs or epochs) for each in proposals)
        self.rejected_proposals: list[Rejected | Repeated] = []
        self.rejected_draws: Counter[str] = Counter()
        self.nearest_draw: Feasibility | None = None
        self.option_count = 0
        self.is_in_doubt = False
        self.time_would_help = False
        space = self.space
        limit = Condition(self.objective, "<=", self.max_cost)
        self.limited_space = replace(space, conditions=(*space.conditions, limit))
        is_small = space.configurations <= _MAX_LISTED
        self.listed_options = _listed(space.text, space.task, space.weight_bits, self.objective) if is_small else None

    def option_or_rejection(self, network: Draw, feasibility: Feasibility | None = None) -> NetworkOption | Feasibility:
        """Return the option of a draw if it is feasible and fits the time left, else the feasibility with the reason.

        Networks that were proposed earlier are not rejected. ``feasibility`` is the feasibility under
        ``limited_space``, if known.
        """
        feasibility = feasibility or judge(self.space, network.architecture, self.max_cost, self.objective)
        if not feasibility.accepted:
            return feasibility
        option = NetworkOption.of(network, feasibility, self.objective)
        has_time = option.fits(min(self.config.epoch_choices), self.time_left)
        return option if has_time else Feasibility(feasibility.analysis, NO_TIME)

    def note_rejected_proposal(self, network: Draw, feasibility: Feasibility, rule: str, **further: Any) -> None:
        """Append a ``Rejected`` event with the fields ``further``."""
        parameters = feasibility.analysis.parameters if feasibility.analysis else None
        facts = {"reason": str(feasibility.reason), "hash": network.architecture.hash, **further}
        event = Rejected(origin=rule, budget=self.max_cost, parameters=parameters, **facts)
        self.rejected_proposals.append(event)

    def _note_rejected_draw(self, feasibility: Feasibility) -> None:
        self.rejected_draws[str(feasibility.reason)] += 1
        if self.nearest_draw is None or feasibility.nearness > self.nearest_draw.nearness:
            self.nearest_draw = feasibility

    def draw_options(self, rng: random.Random, draws: int = DRAWS) -> Iterator[NetworkOption]:
        """Yield new feasible networks from at most ``draws`` uniform draws, possibly with repetitions.

        For an enumerated space, the iterator is infinite, unless the space has no new network.
        """
        if self.listed_options is not None:
            shortest = min(self.config.epoch_choices)
            new_options = [
                (option, probability)
                for option, probability in self.listed_options
                if option.hash not in self.trials_by_hash
                and option.cost <= self.max_cost
                and option.fits(shortest, self.time_left)
            ]
            options = [option for option, _ in new_options]
            probabilities = [probability for _, probability in new_options]
            while options:
                yield rng.choices(options, probabilities)[0]
            return
        for _ in range(draws):
            if self.time_left.is_over():
                return
            outcome = self.option_or_rejection(draw(self.space, uniform(rng)))
            if isinstance(outcome, Feasibility):
                self._note_rejected_draw(outcome)
            elif outcome.hash not in self.trials_by_hash:
                yield outcome

    def acquisition(self) -> Acquisition:
        """Return the acquisition function, with a surrogate fitted to all observations."""
        config = self.config
        allowed_errors = (100 - config.threshold_pct) * 100  # errors per ``IMAGES`` validation images
        firsts = (candidate.first_run for candidate in self.candidates.values())
        images = next((first.validation_size for first in firsts if first and first.validation_size), IMAGES)
        if self.prior.is_settled:
            model = Surrogate(self._observations())
        else:
            belief = _PRIOR_ERROR_FACTOR * max(1.0, allowed_errors)
            model = Surrogate(self._observations(), belief, self.prior.transfer)
        return Acquisition(
            model=model,
            recipe=config.recipe,
            lengths=config.epoch_choices,
            proposed_pairs=self.proposed_pairs,
            allowed_errors=allowed_errors,
            images=images,
            seeds=confirm_seeds_of(config),
            confirmed_share=needed_share(confirm_seeds_of(config), config.groups, self._fold_errors()),
            calibration=calibration_of(self.candidates.values()),
            cost_bound=self.max_cost + 1,
            open_candidates=tuple(self._open_candidates()),
            has_incumbent=any(candidate.is_confirmed for candidate in self.rivals),
            time_left=self.time_left,
            has_prior=self.prior != NO_PRIOR,
        )

    def _fold_errors(self) -> list[list[float]]:
        rates = []
        for candidate in self.candidates.values():
            accuracies = [run.validation_accuracy_pct for run in candidate.fresh_runs if run.status is Status.COMPLETE]
            rates.append([100 - accuracy for accuracy in accuracies if accuracy is not None])
        return rates

    def _observations(self) -> list[Observation]:
        ratios = rung_ratios(self.candidates.values())
        observations = (self._observation_of(candidate, ratios) for candidate in reversed([*self.candidates.values()]))
        latest = list(itertools.islice(filter(None, observations), _MAX_OBSERVATIONS))[::-1]
        prior = self.prior.observations
        count = min(len(prior), _MAX_OBSERVATIONS - len(latest))
        return [*(prior[number * len(prior) // count] for number in range(count)), *latest]

    def _observation_of(self, candidate: Candidate, ratios: Mapping[float, float]) -> Observation | None:
        """Return the observation of a candidate; None without a usable run, and for linear baselines."""
        errors = candidate.expected_errors(ratios)
        first = candidate.first_run
        # Not informative about convolutional networks.
        is_linear_model = is_linear(candidate.proposal.origin, candidate.proposal.architecture)
        if errors is None or first is None or not first.validation_size or is_linear_model:
            return None
        recipe, _ = self.config.recipe_of(candidate.proposal.epochs)
        epochs = recipe.epochs / length_factor(self.time_left.images)
        network = candidate.proposal.architecture
        row = row_of(network, self.space.task, epochs, recipe.batch_size, recipe.augmented_share)
        images = first.validation_size
        doubt = 0.0 if first.status is Status.COMPLETE else _RUNG_DOUBT
        return Observation(row, errors * IMAGES / images, len(candidate.runs), doubt=doubt, images=images)

    def _open_candidates(self) -> Iterator[tuple[int, float]]:
        for candidate in self.rivals:
            cost = combined_cost(candidate.costs, self.objective)
            if candidate.first_run is None:
                if candidate.proposal.chance is not None:
                    yield cost, candidate.proposal.chance
            elif candidate.passed_first and not candidate.is_confirmed and not candidate.is_refuted:
                yield cost, candidate.chance_to_confirm

    def choose_by_surrogate(self, rng: random.Random) -> list[ScoredOption]:
        """Return a batch of choices in descending order of the acquisition value.

        In a large space, the acquisition function is optimized by random draws and mutations of the best networks. The
        size of the batch depends on the workers and the training time (``_choices_at_once``). Sets ``option_count``,
        ``best_options``, ``is_in_doubt`` and ``time_would_help``.
        """
        acquisition = self.acquisition()
        if self.listed_options is not None:
            forecast = acquisition.forecast([each for each, _ in self.listed_options if each.cost <= self.max_cost])
        else:
            forecast = self._optimized(acquisition, rng)
        options = [option for option, _ in forecast.pairs]
        choices, self.is_in_doubt = acquisition.ranked(forecast)
        self.option_count = len({option.hash for option in options})
        if not choices:
            # Without limits, ``_MIN_CHANCE`` replaces ``UNLIKELY``.
            unlimited_time = replace(acquisition.time_left, longest_training=math.inf, spare_seconds=math.inf)
            endless = replace(acquisition, time_left=unlimited_time)
            ranking = endless.ranked(endless.forecast(options))
            self.time_would_help = bool(ranking.choices) and not ranking.is_doubted
        self.best_options = [each.option for each in choices[:_KEPT]]
        return acquisition.select_batch(choices, self._choices_at_once(choices))

    def _optimized(self, acquisition: Acquisition, rng: random.Random) -> Forecast:
        """Return the forecast of draws, and of mutations in rounds of the networks with the best acquisition values.

        The first round also mutates the networks proposed last and the cheapest that passed. The rounds end if the best
        value has not risen by ``_RISE`` since ``patience`` rounds ago.
        """
        patience = _FURTHER_PATIENCE if self.best_options else _PATIENCE
        options = self._beginning(rng)
        further_parents = self._proposed_parents()
        forecast = Forecast.empty()
        hashes = set[str]()
        parent_hashes = set[str]()
        best_values = list[float]()
        while True:
            hashes |= {option.hash for option in options}
            forecast = forecast.with_others(acquisition.forecast(options))
            choices = acquisition.ranked(forecast).choices
            # 0 after the first ranking, so that the rounds do not end at once.
            best_values.append(choices[0].value if best_values and choices else 0.0)
            rounds = len(best_values)
            has_risen = rounds <= patience or best_values[-1] > (1 + _RISE) * best_values[-1 - patience]
            best = [each.option for each in choices if each.option.hash not in parent_hashes][:_PARENTS]
            parents = [*(option.draw for option in best), *further_parents]
            if rounds > _MAX_ROUNDS or not has_risen or acquisition.time_left.is_over() or not parents:
                return forecast
            parent_hashes |= {option.hash for option in best}
            further_parents = []
            options = self.children(parents, hashes, rng)

    def _beginning(self, rng: random.Random) -> list[NetworkOption]:
        outcomes = [self.option_or_rejection(option.draw) for option in self.best_options]
        earlier_options = [outcome for outcome in outcomes if isinstance(outcome, NetworkOption)]
        attempts = _FURTHER_ATTEMPTS if earlier_options else _MAX_SURROGATE_ATTEMPTS
        draws = list(itertools.islice(self.draw_options(rng, attempts), _SURROGATE_DRAWS))
        # If feasible draws are rare, mutations of a single network are more often feasible.
        options = [*earlier_options, *draws] or list(itertools.islice(self.draw_options(rng), 1))
        return list({each.hash: each for each in options}.values())

    def _choices_at_once(self, choices: Sequence[ScoredOption]) -> int:
        workers = self.time_left.workers
        count = max(1, workers // _WORKERS_PER_CHOICE)
        if not choices or math.isinf(self.time_left.seconds_left):
            return count
        best = choices[0]
        seconds = max(best.option.seconds(best.epochs, self.time_left), _OPTIMIZATION_SECONDS / _MAX_AT_ONCE)
        ending_runs = math.ceil(workers * _OPTIMIZATION_SECONDS / seconds)
        return max(count, min(_MAX_AT_ONCE, ending_runs))

    def _proposed_parents(self) -> list[Draw]:
        candidates = [self.candidates[trial] for trial in sorted(self.candidates)]
        successes = [candidate for candidate in candidates if candidate.passed_first]
        successes.sort(key=lambda candidate: combined_cost(candidate.costs, self.objective))
        proposals = {each.proposal.hash: each.proposal for each in (*successes[:_PARENTS], *candidates[-_PARENTS:])}
        return [Draw(each.architecture, each.decisions) for each in proposals.values()]

    def children(self, parents: Sequence[Draw], hashes: Set[str], rng: random.Random) -> list[NetworkOption]:
        """Return distinct feasible mutations of the parents, except for the networks in ``hashes``."""
        children: dict[str, NetworkOption] = {}
        for parent in parents:
            for number in range(_CHILDREN):
                # Mutate one and two decisions in turn.
                try:
                    network, feasibility = mutate(self.limited_space, parent, rng, attempts=5, changes=1 + number % 2)
                except DrawError:
                    continue
                if network.architecture.hash in hashes:
                    continue  # a third of the mutations; a hash is faster than the features
                outcome = self.option_or_rejection(network, feasibility)
                if isinstance(outcome, Feasibility):
                    self._note_rejected_draw(outcome)
                else:
                    children[outcome.hash] = outcome
        return list(children.values())

    def why_nothing(self) -> tuple[str, bool]:
        """Return why no network was found, a clause for users, and whether more time might help."""
        if self.time_left.is_over():
            return "the time limit was reached before a further network was found", True
        cost_text = f"at most {self.objective.counted(self.max_cost)}"
        time_text = ""
        if not math.isinf(seconds := self.time_left.longest_training):
            time_text = f" and at most {seconds:.0f} s of training (to leave time for verification)"
        # No other sampler proposes a network that the surrogate rejects.
        if self.config.sampler == SURROGATE and self.option_count:
            why = f"none of {self.option_count:,} candidates with {cost_text}{time_text} has a predicted "
            why += f"probability of {100 * UNLIKELY:g} % or more of reaching the target; the remaining time is "
            return f"{why}reserved for a second verification", self.time_would_help
        lacks_time = self._has_option_with_endless_time()
        limits = cost_text + time_text
        if not lacks_time:
            # ``max_cost`` replaces upper bounds of the objective.
            bounds = [each for each in self.space.conditions if each.metric != self.objective or ">" in each.comparison]
            limits = " and ".join([cost_text, *map(str, dict.fromkeys(bounds))])
        if self.listed_options is not None:
            return f"the space has no further network with {limits}", lacks_time
        nearest = ""
        # Earlier candidates prove that the limits are feasible.
        if self.nearest_draw is not None and not lacks_time and not self.candidates:
            nearest = f"; nearest draw: {self.nearest_draw.message}"
        return f"{DRAWS:,} further draws contained no new network with {limits}{nearest}", lacks_time

    def _has_option_with_endless_time(self) -> bool:
        if math.isinf(self.time_left.longest_training):
            return False
        unlimited_time = replace(self.time_left, longest_training=math.inf)
        inquiry = Inquiry(self.max_cost, self.candidates, unlimited_time, self.objective)
        finder = Finder(self.space, self.config, inquiry, self.prior)
        return next(finder.draw_options(random.Random(0)), None) is not None
