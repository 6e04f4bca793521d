"""Probes: a few trainings in place of a search, for a forecast of its answer and of the benefit of more images.

Nothing is written, and no test image is read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.searching.acquisition import NetworkOption
from harness.searching.baselines import baseline_epochs, baseline_networks, best_linear
from harness.searching.finder import Finder, Inquiry
from harness.searching.forecast import QUANTILES, NetworkForecast, forecast_of
from harness.searching.plan import SearchPlan
from harness.searching.proposer import Proposer
from harness.searching.scheduler import next_to_confirm, turn_at
from harness.searching.search_state import Search
from harness.searching.surrogate.prior import knowledge
from harness.searching.time_budget import TimeLeft
from harness.studies.candidate import BASELINE, SEED_SHARE, SURROGATE, Candidate
from harness.studies.events import RunEnded, SearchForecast
from harness.studies.study_state import StudyState
from harness.system import statistics
from harness.system.errors import UsageError
from harness.system.terminal import duration_text
from harness.training.executors.base import JobEnded, JobFailed, feed
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job

_SHARE_OF_TIME = 0.4  # of the remaining time, for a single network
_CURVE_SHARE = 0.35  # of the remaining time, for the trainings of a ``Curve``
_CURVE_SEEDS = 3  # most, of each of the three trainings of a ``Curve``
_FORECAST_SECONDS = 3.0  # s, reserved to compute the final ``NetworkForecast``
_ROUNDS = 12  # most rounds of training the networks behind the quantiles
_CLEAR = 2.0  # standard deviations of a significant log ratio of errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Effect of more images on the errors, compared with the effect of more parameters.

    A network of middle size is trained on all images for n epochs, and on half of the images for 2n epochs (equal
    steps); the largest network on all images for n epochs.

    Attributes:
        runs: Number of runs of the middle network on half of the images, on all images, and of the largest network.
        pictures_fall_pct: Per cent by which the errors fall if the number of images doubles.
        pictures_deviation_pct: Standard deviation of ``pictures_fall_pct``, percentage points.
        parameters_fall_pct: Per cent by which the errors fall from the middle to the largest network.
        parameters_deviation_pct: Standard deviation of ``parameters_fall_pct``, percentage points.
        more: Resource that lowers the errors more; ``both`` if both lower the errors but their difference is not
            significant; else ``chance``.
    """

    parameters: tuple[int, int]
    runs: tuple[int, int, int]
    pictures_fall_pct: float
    pictures_deviation_pct: float
    parameters_fall_pct: float
    parameters_deviation_pct: float
    more: Literal["pictures", "parameters", "both", "chance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeForecast:
    """Result of the probes of a plan.

    Attributes:
        trained: Number of trained networks, including the baselines.
        seconds: Seconds of all trainings, including the start of the workers.
        linear: Best complete run of a linear baseline, if any.
    """

    plan: SearchPlan
    forecast: SearchForecast
    trained: int
    seconds: float
    linear: Result | None
    curve: Curve | None


def probe(plan: SearchPlan, seconds: float) -> ProbeForecast:
    """Train the baselines and a few networks of the space of a plan, and return a forecast of the search.

    Raises:
        UsageError: No network was trained within ``seconds``.
        HarnessError: Trainings crashed; of the class of the last crash (``JobFailed.error_type``).
    """
    probes = _Probes(plan, seconds)
    search = probes.search
    search.executor.start(plan.effort.workers)
    try:
        probes.train(probes.jobs_of_sizes())
        crashes = [failure for failure in probes.failures if failure.status is not Status.TIMED_OUT]
        if not probes.trained and crashes:
            raise crashes[-1].error_type(f"no network was trained: {crashes[-1].message}")
        if not probes.trained:
            raise UsageError(f"no network was trained in {duration_text(seconds)}", hint="increase the time")
        probes.train(probes.jobs_of_passed_baselines())
        curve = probes.curve()
        probes.train(probes.jobs_of_quantiles())
        elapsed = search.elapsed
    finally:
        search.executor.stop()
    return ProbeForecast(
        plan=plan,
        forecast=forecast_of(probes.finder(math.inf)),
        trained=len(probes.trained),
        seconds=elapsed,
        linear=best_linear(probes.trained),
        curve=curve,
    )


class _Probes:
    """A search in memory that trains the probes.

    Attributes:
        proposer: Source of the baselines and the ladder; makes no proposals.
        until: End of the trainings, on the executor's clock.
        failures: Crashed or timed-out jobs.
    """

    def __init__(self, plan: SearchPlan, seconds: float) -> None:
        config = plan.config
        executor = plan.make_executor(plan.source, plan.effort.limits)
        self.plan = plan
        self.prior = knowledge(plan.prior, config.recipe, plan.data)
        # Prior observations would replace the ladder.
        self.proposer = Proposer(plan.space, config, baselines=baseline_networks(plan.data.task))
        state = StudyState(plan.folder, config)
        self.search = Search(state, plan.effort, executor, self.proposer, data=plan.data, log=None)
        # For the final forecast, at most half of the time.
        self.until = executor.now() + max(seconds / 2, seconds - _FORECAST_SECONDS)
        self.failures: list[JobFailed] = []

    @property
    def seconds_left(self) -> float:
        return self.until - self.search.executor.now()

    @property
    def trained(self) -> list[Candidate]:
        return [candidate for candidate in self.search.state.candidates.values() if candidate.first_run is not None]

    def finder(self, seconds: float) -> Finder:
        search = self.search
        time_left = TimeLeft(
            search.timing.images,
            search.timing.measured_pace,
            longest_training=seconds,
            seconds_left=math.inf if math.isinf(seconds) else max(0.0, self.seconds_left),
            workers=self.plan.effort.workers,
            elapsed=search.elapsed,
        )
        turn = turn_at(search.config, trial=0)  # two metrics count equally in turn 0
        inquiry = Inquiry(turn.limit, search.state.candidates, time_left, turn.objective)
        return Finder(self.plan.space, search.config, inquiry, self.prior)

    def train(self, jobs: Iterable[Job | None]) -> list[tuple[Job, Result]]:
        """Train until ``until``, and return the ended jobs with results, without crashed jobs.

        ``jobs`` are taken one by one as workers become idle, so a generator can use earlier results; the generator
        yields None if there is no job until a running job has ended.
        """
        queue = iter(jobs)
        results = []
        for events in feed(self.search.executor, lambda: next(queue, None), lambda: self.seconds_left <= 0):
            for event in events:
                if not isinstance(event, JobEnded):
                    self.failures.append(event)
                    continue
                results.append((event.job, event.result))
                # Runs of a curve are no runs of a candidate.
                if event.job.purpose is not Purpose.TRAIN:
                    self.search.add(RunEnded(run=event.result))
        return results

    def jobs_of_sizes(self) -> Iterable[Job]:
        lengths = self.search.config.epoch_choices
        for network in self.proposer.baselines:
            finder = self.finder(_SHARE_OF_TIME * self.seconds_left)
            option = finder.option_or_rejection(network)
            if isinstance(option, NetworkOption):
                epochs = baseline_epochs(option, lengths, finder.time_left)
                yield self._propose(option, epochs, BASELINE)
        for network in self.proposer.ladder:
            finder = self.finder(_SHARE_OF_TIME * self.seconds_left)
            option = finder.option_or_rejection(network)
            if isinstance(option, NetworkOption) and option.hash not in finder.trials_by_hash:
                yield self._propose(option, min(lengths), "ladder")

    def jobs_of_passed_baselines(self) -> Iterable[Job | None]:
        """Yield jobs for the fresh seeds of baselines that passed their first run, as these seeds cost little.

        Yields None while only the end of a running job can change the next seed.
        """
        search = self.search
        baselines = [candidate for candidate in self.trained if candidate.proposal.origin == BASELINE]
        while True:
            being_confirmed = Counter(job.trial for job in search.at_work if job.trial is not None)
            candidate = next_to_confirm(baselines, search.turn, being_confirmed)
            if candidate is not None:
                job = search.job(candidate, Purpose.CONFIRM, search.free_index(candidate))
                yield replace(job, checkpoint=None)
            elif search.at_work:
                yield None
            else:
                return

    def jobs_of_quantiles(self) -> Iterable[Job | None]:
        """Yield jobs for the networks behind the two lower quantiles of the forecast, until these networks are trained.

        Yields None while only the end of a running job can change the quantiles.
        """
        for _ in range(_ROUNDS):
            if self.seconds_left < 2 * _FORECAST_SECONDS:
                return
            count = len(self.trained)
            pairs = self._unproposed_pairs()
            for option, epochs in pairs:
                yield self._propose(option, epochs, SURROGATE)
            while not pairs and self.search.at_work and len(self.trained) == count:
                yield None
            if not pairs and len(self.trained) == count:
                return  # further rounds would predict from the same observations

    def _unproposed_pairs(self) -> list[tuple[NetworkOption, int]]:
        max_seconds = _SHARE_OF_TIME * self.seconds_left
        finder = self.finder(max_seconds)
        forecast = NetworkForecast(finder)
        pairs = [forecast.pair(quantile, max_seconds) for quantile in QUANTILES[:2]]
        by_key = {(option.hash, epochs): (option, epochs) for option, epochs in filter(None, pairs)}
        return [pair for key, pair in by_key.items() if key not in finder.proposed_pairs]

    def _propose(self, option: NetworkOption, epochs: int, rule: str) -> Job:
        proposal = option.proposal(len(self.search.state.candidates), rule, epochs)
        self.search.add(proposal)
        job = self.search.job(self.search.state.candidates[proposal.trial], Purpose.SEARCH, 0)
        return replace(job, until_epoch=None, checkpoint=None)

    def curve(self) -> Curve | None:
        """None if the time is too short.

        n is the longest length that fits the time; further seeds are added if the time allows.
        """
        search = self.search
        ladder = [candidate for candidate in self.trained if candidate.proposal.origin != BASELINE]
        complete = [each for each in ladder if each.first_run is not None and each.first_run.status is Status.COMPLETE]
        complete.sort(key=lambda candidate: candidate.proposal.parameters)
        if len(complete) < 2:
            return None
        smallest, *_, largest = complete
        centre = math.sqrt(smallest.proposal.parameters * largest.proposal.parameters)
        middle = min(complete[:-1], key=lambda candidate: abs(math.log(candidate.proposal.parameters / centre)))
        lengths = search.config.epoch_choices
        # Sum of the three trainings; the candidates were trained min(lengths) epochs. Half of the images for twice
        # the epochs takes as long as all images.
        epoch_seconds = (2 * search.run_seconds(middle) + search.run_seconds(largest)) / self.plan.effort.workers
        epoch_seconds /= min(lengths)
        free_seconds = _CURVE_SHARE * self.seconds_left
        epochs = max((length for length in lengths if length * epoch_seconds <= free_seconds), default=None)
        if epochs is None:
            return None
        seeds = min(_CURVE_SEEDS, int(free_seconds // (epochs * epoch_seconds)))
        jobs = []
        for seed in range(seeds):
            jobs.append(self._compared(middle, seed, 2 * epochs, image_share=0.5))
            jobs += [self._compared(middle, seed, epochs), self._compared(largest, seed, epochs)]
        errors: dict[str, list[int]] = {name: [] for name in ("half", "all", "largest")}
        for job, result in self.train(jobs):
            name = "largest" if job.trial == largest.proposal.trial else "all"
            if job.image_share < 1:
                name = "half"
            if result.status is Status.COMPLETE:
                errors[name].append(result.required_validation.wrong)
        sizes = middle.proposal.parameters, largest.proposal.parameters
        return _curve_of(errors, sizes) if all(errors.values()) else None

    def _compared(self, candidate: Candidate, seed: int, epochs: int, image_share: float = 1.0) -> Job:
        job = self.search.job(candidate, Purpose.TRAIN, seed)
        recipe = replace(job.recipe, epochs=epochs)
        return replace(job, recipe=recipe, until_epoch=None, checkpoint=None, image_share=image_share)


def _curve_of(errors: dict[str, list[int]], parameters: tuple[int, int]) -> Curve:
    """Return the comparison of images and parameters.

    The variance of the log of a mean error count is ``SEED_SHARE``**2 / runs + 1 / mean errors: the variance between
    seeds, and an upper bound of the sampling variance, as all runs share the validation images.

    Args:
        errors: Validation errors per run, with the keys ``half`` (middle network on half of the images), ``all``
            (middle network on all images) and ``largest``.
    """
    means = {name: statistics.mean(counts) for name, counts in errors.items()}
    logs = {name: math.log(max(0.5, mean)) for name, mean in means.items()}
    variances = {name: SEED_SHARE**2 / len(errors[name]) + 1 / max(1.0, mean) for name, mean in means.items()}
    images_gain = logs["half"] - logs["all"]  # fall of the log errors
    size_gain = logs["all"] - logs["largest"]
    images_deviation = math.sqrt(variances["half"] + variances["all"])
    size_deviation = math.sqrt(variances["all"] + variances["largest"])
    # difference = half - 2 * all + largest, so the variance of ``all`` counts four times.
    difference = images_gain - size_gain
    difference_deviation = math.sqrt(4 * variances["all"] + variances["half"] + variances["largest"])
    more: Any = "chance"
    if abs(difference) > _CLEAR * difference_deviation:
        more = "pictures" if difference > 0 else "parameters"
    elif images_gain > _CLEAR * images_deviation and size_gain > _CLEAR * size_deviation:
        more = "both"
    return Curve(
        parameters=parameters,
        runs=(len(errors["half"]), len(errors["all"]), len(errors["largest"])),
        pictures_fall_pct=_fall_pct(images_gain),
        pictures_deviation_pct=round(100 * images_deviation * math.exp(-images_gain), 1),
        parameters_fall_pct=_fall_pct(size_gain),
        parameters_deviation_pct=round(100 * size_deviation * math.exp(-size_gain), 1),
        more=more,
    )


def _fall_pct(log_ratio: float) -> float:
    return round(100 * (1 - math.exp(-log_ratio)), 1)
