"""What there is time for: how much a search may spend, how long a training takes, by estimate and as measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache

from harness.studies.events import Entry, Event, SessionBegan, SessionEnded
from harness.training.executors.base import Limits
from harness.training.recipe import Recipe, start_overhead
from harness.training.result import Result
from search_spaces.network import Analysis, Architecture, Task, analyse
from search_spaces.notation import parse_network

# Multiply-adds that take as long as moving one number of a map through BN, rectifier, pooling and their gradients; as
# the optimizer's step for one parameter, by image of a batch of 32; and as a multiply-add of a depthwise or grouped
# kernel takes besides. Fitted to 176 trainings, the last to 43 of seven forms, on two-core CPU machines:
# docs/lab, "what a training takes, with the faster engine" and "what a training takes, again".
_NUMBER_MACS = 9.0
_PARAMETER_MACS = 22.0
_GROUPED_MACS = 0.8
# Training on all images takes longer than on the search split: 60,000 to 50,000.
VERIFY_FACTOR = 1.2
LEAST_VERIFY_SEEDS, _MOST_VERIFY_SEEDS = 5, 8
# What an estimate is raised by, as a factor, and what starting processes and writing files take.
CAUTION = 1.1
CAUTION_SECONDS = 12.0


@lru_cache(maxsize=50_000)
def work(architecture: Architecture, task: Task) -> float:
    """Return what a training step of a network takes for one image, in multiply-adds of the forward pass."""
    return work_of(analyse(architecture, task))


def work_of(analysis: Analysis) -> float:
    """Do as ``work`` for a network that has been analysed."""
    return step_work(analysis.macs, analysis.map_numbers, analysis.parameters, analysis.grouped_macs)


def step_work(macs: int, numbers: int, parameters: int, grouped: int = 0) -> float:
    """Return the work of a network by its totals; ``grouped`` multiply-adds are of depthwise or grouped kernels."""
    return macs + _NUMBER_MACS * numbers + _PARAMETER_MACS * parameters + _GROUPED_MACS * grouped


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
# trains 4,600 and 3,000 images a second. Native: 176 trainings, two at once on a core of 229 GFLOP/s
# (``_NUMBER_MACS``); others are faster or slower, which shows with the first run.
_PACES = {"torch": Pace(1.85e-4, 3.35e-11), "native": Pace(4.5e-6, 6.4e-11)}
# Of one process on an H100: launches of kernels take most of a step, whatever their size. Two networks of 1.0 and 1.6
# million multiply-adds, three epochs each: docs/lab, "what a training takes on a GPU".
_GPU_PACE = Pace(1.3e-5, 4.0e-12)


def pace_of(engine: str, device: str) -> Pace:
    """Return the pace of an engine, ``native`` or ``torch``, on a device, before any run has shown it."""
    return _PACES[engine] if device == "cpu" else _GPU_PACE


@dataclass(slots=True)
class Timing:
    """What runs have taken and what was estimated for them by a pace, where an epoch trains on so many images.

    Attributes:
        sums: measured and estimated seconds, by the place where runs were trained. They are exact: a search that goes
            on after a stop adds the same runs in another order.
    """

    images: int
    pace: Pace
    sums: dict[str, tuple[Fraction, Fraction]] = field(default_factory=dict)

    def add(self, run: Result, network_work: float, node: str = "") -> None:
        """Add a run that has ended; one without an epoch or a size tells nothing."""
        if run.history and run.macs:
            estimated = self.pace.seconds(len(run.history), self.images, network_work)
            sums = self.sums.get(node, (Fraction(0), Fraction(0)))
            self.sums[node] = (sums[0] + Fraction(run.train_seconds), sums[1] + Fraction(estimated))

    def slowdown(self) -> float | None:
        """Return measured over estimated seconds of all runs, of the slowest place; None where no run tells it."""
        return max((float(took / estimated) for took, estimated in self.sums.values() if estimated), default=None)

    @property
    def measured_pace(self) -> Pace:
        """The pace that runs have shown, that of the slowest place; the estimates' until a run has ended."""
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
    spare: float = math.inf
    is_over: Callable[[], bool] = lambda: False

    def takes(self, epochs: int, network_work: float) -> float:
        """Return the seconds of a training."""
        return self.pace.seconds(epochs, self.images, network_work)

    def has(self, epochs: int, network_work: float) -> bool:
        """Return whether there is time for a training."""
        return self.seconds is None or self.takes(epochs, network_work) <= self.seconds


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
