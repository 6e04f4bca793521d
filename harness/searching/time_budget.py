"""What there is time for: how much a search may spend, how long a training takes, by estimate and as measured."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from harness.studies.events import Entry, Event, SessionBegan, SessionEnded
from harness.training.executors.base import Limits
from harness.training.recipe import Recipe, start_overhead
from harness.training.result import Result, Status
from search_spaces.network import Analysis, Architecture, Task, analyse
from search_spaces.notation import parse_network

# Multiply-adds of a kernel larger than 1x1 that take as long as: moving one number of a map through BN, rectifier,
# pooling and their gradients; the optimizer's step for one parameter, by image of a batch of 32; and what a
# multiply-add of a 1x1 kernel, or of a depthwise or grouped one, takes besides. Fitted to 34 networks of ten forms,
# with a standard deviation of the logarithm of 0.05 (docs/lab, "did the default search regress").
_NUMBER_MACS = 6.1
_PARAMETER_MACS = 20.0
_POINTWISE_MACS = 1.9
_GROUPED_MACS = 0.6
# Training on all images takes longer than on the search split: 60,000 to 50,000.
VERIFY_FACTOR = 1.2
LEAST_VERIFY_SEEDS, _MOST_VERIFY_SEEDS = 5, 8
_FORM_SECONDS = 30.0  # estimated seconds of runs of a form that count as much as the estimate itself
_RECENT_RUNS = 8  # runs of a place, after which a busy period is forgotten (docs/lab, "did the default search regress")
# What an estimate is raised by, as a factor, and what starting processes and writing files take.
CAUTION = 1.1
CAUTION_SECONDS = 12.0


@lru_cache(maxsize=50_000)
def work(architecture: Architecture, task: Task) -> float:
    """Return what a training step of a network takes for one image, in multiply-adds of the forward pass."""
    return work_of(analyse(architecture, task))


def work_of(analysis: Analysis) -> float:
    """Do as ``work`` for a network that has been analysed."""
    totals = analysis.macs, analysis.map_numbers, analysis.parameters
    return step_work(*totals, analysis.grouped_macs, analysis.pointwise_macs)


def step_work(macs: int, numbers: int, parameters: int, grouped: int = 0, pointwise: int = 0) -> float:
    """Return the work of a network by its totals, in multiply-adds of kernels larger than 1x1.

    Args:
        grouped: multiply-adds of depthwise and grouped kernels; ``pointwise`` are those of 1x1 kernels.
    """
    kernels = macs + _GROUPED_MACS * grouped + _POINTWISE_MACS * pointwise
    return kernels + _NUMBER_MACS * numbers + _PARAMETER_MACS * parameters


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds an image of a training step on one core: a fixed part, and one for each multiply-add of ``work``."""

    seconds_an_image: float
    seconds_a_mac: float
    recipe: Recipe | None = None  # of several starts, which train too; None for one start

    def seconds(self, epochs: int, images: int, network_work: float) -> float:
        """Return what a training of so many epochs over ``images`` takes with a network of so much ``work``."""
        overhead = 0 if self.recipe is None else start_overhead(self.recipe, epochs)
        return (epochs + overhead) * images * (self.seconds_an_image + self.seconds_a_mac * network_work)

    def of_recipe(self, recipe: Recipe, task: Task) -> Pace:
        """Return the pace under a recipe: for each image every teacher runs forward, a third of a training step."""
        image = self.seconds_an_image
        if recipe.teacher:
            forward = recipe.teacher_seeds * work(parse_network(recipe.teacher, task), task) / 3
            image += self.seconds_a_mac * forward
        return replace(self, seconds_an_image=image, recipe=recipe if recipe.starts > 1 else None)


# On one core of a two-core CPU machine, by engine. torch: fitted to the 3,702-parameter network and seed4, of which it
# trains 4,600 and 3,000 images a second. Native: the networks of ``_NUMBER_MACS``, on a core that is 0.46 times as fast
# as the one that they were measured on; others are faster or slower, which shows with the first run.
_PACES = {"torch": Pace(1.85e-4, 3.35e-11), "native": Pace(1.2e-5, 5.4e-11)}
# Of one process on an H100: launches of kernels take most of a step, whatever their size. Two networks of 1.0 and 1.6
# million multiply-adds, three epochs each: docs/lab, "what a training takes on a GPU".
_GPU_PACE = Pace(1.3e-5, 4.0e-12)


def pace_of(engine: str, device: str) -> Pace:
    """Return the pace of an engine, ``native`` or ``torch``, on a device, before any run has shown it."""
    return _PACES[engine] if device == "cpu" else _GPU_PACE


class _Timed(NamedTuple):
    """A run that has ended: the form of its network, and its measured and estimated seconds."""

    form: str
    measured: float
    estimated: float


@dataclass(slots=True)
class Timing:
    """The pace of this machine: measured over estimated seconds of the latest runs.

    Only the latest runs of each place count, so that estimates recover when other programs have ended. How much slower
    a form of networks is than estimated depends on the caches of a processor; it is learned beside runs of other forms.

    Attributes:
        images: training images of an epoch.
        pace: the pace of the estimates.
        recent: the latest runs of each place, oldest first.
        forms: by form, the sums of measured seconds, each over the slowdown of other forms, and of estimated seconds.
        slowdowns: by trial, the slowdown of the place of each of its whole runs when that ended.
    """

    images: int
    pace: Pace
    recent: dict[str, deque[_Timed]] = field(default_factory=dict)
    forms: dict[str, tuple[float, float]] = field(default_factory=dict)
    slowdowns: dict[int, list[float]] = field(default_factory=dict)

    def add(self, run: Result, network_work: float, node: str = "") -> None:
        """Add a run that has ended; a run without an epoch or a size is left out."""
        if not (run.history and run.macs):
            return
        form = run.architecture.form
        estimated = self.pace.seconds(len(run.history), self.images, network_work)
        runs = self.recent.setdefault(node, deque(maxlen=_RECENT_RUNS))
        others = self._slowdown(each for each in runs if each.form != form)
        if others:
            measured_sum, estimated_sum = self.forms.get(form, (0.0, 0.0))
            self.forms[form] = (measured_sum + run.train_seconds / others, estimated_sum + estimated)
        runs.append(_Timed(form, run.train_seconds, estimated))
        if run.trial is not None and run.status is Status.COMPLETE:
            self.slowdowns.setdefault(run.trial, []).append(self._slowdown(runs) or 1.0)

    def _slowdown(self, runs: Iterable[_Timed]) -> float | None:
        pairs = [(run.measured, run.estimated * self.form_factor(run.form)) for run in runs]
        estimated = math.fsum(estimated for _, estimated in pairs)
        return math.fsum(measured for measured, _ in pairs) / estimated if estimated else None

    def slowdown(self) -> float | None:
        """Return measured over estimated seconds at the slowest place; None where no run was measured."""
        return max(filter(None, map(self._slowdown, self.recent.values())), default=None)

    def form_factor(self, form: str) -> float:
        """Return how much longer than estimated runs of a form take, beside those of other forms; drawn towards 1."""
        measured_sum, estimated_sum = self.forms.get(form, (0.0, 0.0))
        return (measured_sum + _FORM_SECONDS) / (estimated_sum + _FORM_SECONDS)

    def change_since(self, trial: int) -> float:
        """Return the present slowdown over that at the ends of a network's runs; 1 for a network without runs."""
        slowdowns = self.slowdowns.get(trial, [])
        return (self.slowdown() or 1.0) * len(slowdowns) / math.fsum(slowdowns) if slowdowns else 1.0

    @property
    def measured_pace(self) -> Pace:
        """The pace that the latest runs of the slowest place have shown; before any run the estimates' own."""
        factor = self.slowdown() or 1.0
        image = factor * self.pace.seconds_an_image
        return replace(self.pace, seconds_an_image=image, seconds_a_mac=factor * self.pace.seconds_a_mac)


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """What there is time for, at the pace of this machine, where an epoch trains on so many images.

    Attributes:
        seconds: that one training may take, so that its network can still be confirmed and verified; None for no end.
        left: seconds of the search; infinite where it has no end.
        workers: trainings at once.
        passed: seconds that the search has had.
        form_factors: by form, ``Timing.form_factor``; 1 for a form that is not in it.
        spare: seconds that are left besides two verifications, the winner's and that of another network should it miss;
            infinite where the search has no end or nothing stands.
        is_over: tells whether the search's time has ended since; a look that finds nothing ends then.
    """

    images: int
    pace: Pace
    seconds: float | None = None
    left: float = math.inf
    workers: int = 1
    passed: float = 0.0
    form_factors: Mapping[str, float] = field(default_factory=dict)
    spare: float = math.inf
    is_over: Callable[[], bool] = lambda: False

    def takes(self, epochs: int, network_work: float, form: str = "") -> float:
        """Return the expected seconds of a training; without a form, of a network of average speed."""
        return self.form_factors.get(form, 1.0) * self.pace.seconds(epochs, self.images, network_work)

    def has(self, epochs: int, network_work: float, form: str = "") -> bool:
        """Return whether there is time for a training."""
        return self.seconds is None or self.takes(epochs, network_work, form) <= self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a search may spend; not part of what it searches for.

    Attributes:
        seconds: of all sessions together, verification included; None for no end.
        trials: networks to train at most; None for no end.
        workers: networks that train at once.
    """

    seconds: float | None
    trials: int | None
    workers: int
    device: str
    limits: Limits
    engine: str = "torch"


def verify_seeds(workers: int) -> int:
    """Return how many seeds a winner is verified with: five, or as many as take no longer; eight at most."""
    return min(_MOST_VERIFY_SEEDS, rounds(LEAST_VERIFY_SEEDS, workers) * workers)


def rounds(seeds: int, workers: int) -> int:
    """Return how often workers train at once until all seeds are trained."""
    return -(-seeds // workers)


def verifying(one: float, workers: int, seeds: int = LEAST_VERIFY_SEEDS) -> float:
    """Return the seconds of a verification where one training on the search split takes ``one``."""
    return CAUTION * VERIFY_FACTOR * rounds(seeds, workers) * one + CAUTION_SECONDS


def least_seconds(images: int) -> float:
    """Return the seconds in which a search on so many images usually has an answer on two cores."""
    return 180.0 if images <= 10_000 else 600.0


def is_spent(effort: Effort, events: list[Entry[Event]]) -> bool:
    """Return whether the last session came to its end, with no less effort than is allowed now."""
    ends = (entry.event for entry in reversed(events) if isinstance(entry.event, SessionBegan | SessionEnded))
    if not isinstance(last := next(ends, None), SessionEnded):
        return False
    if last.reason == "trials":
        return effort.trials is not None and effort.trials <= (last.trials or 0)
    if last.reason == "exhausted" and last.seconds is None:
        return True
    # With more time there may be networks that were too slow to be trained before.
    ended = last.reason in ("exhausted", "time")
    return ended and effort.seconds is not None and effort.seconds <= (last.seconds or 0)
