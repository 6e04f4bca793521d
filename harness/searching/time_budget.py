"""Time budget: the effort of a search, and estimated and measured seconds of a training."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from harness.evidence.bounds import VERIFIED_SEEDS
from harness.spaces.network import Analysis, Architecture, Task, analyse
from harness.studies.events import EndReason, SessionEnded
from harness.studies.study_state import StudyState
from harness.training.executors.base import Limits
from harness.training.recipe import Recipe
from harness.training.result import Result, Status

# Costs of a training step per image, in equivalent multiply-adds of a kernel larger than 1x1. Fitted to 34 networks of
# ten families, with a standard deviation of the log of 0.05 (diary 141).
_NUMBER_MACS = 6.1  # per number of a map, through BN, rectifier, pooling and the gradients
_PARAMETER_MACS = 20.0  # per parameter, for the optimizer's step, in a batch of 32
_POINTWISE_MACS = 1.9  # in addition, per multiply-add of a 1x1 kernel
_GROUPED_MACS = 0.6  # in addition, per multiply-add of a depthwise or grouped kernel
# Seconds of an epoch on all 60,000 training images over those of an epoch on the search split's 50,000.
VERIFY_FACTOR = 1.2
_MAX_VERIFY_SEEDS = 8  # of a verification
_FAMILY_SECONDS = 30.0  # s, added to measured and estimated seconds, which shrinks the ratio towards 1
_RECENT_RUNS = 8  # latest runs per node that count for the pace (diary 141)
CAUTION = 1.1  # safety factor on estimated seconds
FEW_IMAGES = 10_000  # training images; with fewer, the shortest trainings take about a second


@lru_cache(maxsize=50_000)
def step_macs(architecture: Architecture, task: Task) -> float:
    """Return the cost of a training step per image (``equivalent_macs``)."""
    return step_macs_of(analyse(architecture, task))


def step_macs_of(analysis: Analysis) -> float:
    """Return the cost of a training step per image of an analysed network (``equivalent_macs``)."""
    return equivalent_macs(
        analysis.macs, analysis.map_numbers, analysis.parameters, analysis.grouped_macs, analysis.pointwise_macs
    )


def equivalent_macs(macs: int, numbers: int, parameters: int, grouped_macs: int = 0, pointwise_macs: int = 0) -> float:
    """Return the cost of a training step per image, in equivalent multiply-adds of kernels larger than 1x1.

    ``numbers`` are of all maps; ``grouped_macs`` and ``pointwise_macs`` are parts of ``macs``.
    """
    kernels = macs + _GROUPED_MACS * grouped_macs + _POINTWISE_MACS * pointwise_macs
    return kernels + _NUMBER_MACS * numbers + _PARAMETER_MACS * parameters


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a training step per image on a single core: ``seconds_an_image`` + ``seconds_a_mac`` * ``step_macs``.

    ``recipe`` has several starts, whose epochs count too; None for a single start.
    """

    seconds_an_image: float
    seconds_a_mac: float
    recipe: Recipe | None = None

    def seconds(self, epochs: int, images: int, macs: float) -> float:
        """Return the seconds of a training, without evaluations."""
        overhead = 0 if self.recipe is None else self.recipe.start_overhead(epochs)
        return (epochs + overhead) * images * (self.seconds_an_image + self.seconds_a_mac * macs)

    def of_recipe(self, recipe: Recipe) -> Pace:
        """Return the pace of a recipe, which may have several starts."""
        return replace(self, recipe=recipe if recipe.starts > 1 else None)


# Pace on a core of a two-core CPU; the first runs correct it for faster or slower cores. ``native``: fitted to
# the networks of ``_NUMBER_MACS``, for a core 0.46 times as fast as the core of the measurement. ``torch``: fitted to
# the four networks of measurements/results/throughput.json and to seven of 0.2 to 4.6 million ``step_macs``, for a core
# 0.55 times as fast; the standard deviation of the log is 0.3. ``recorded``: replays of tables, whose published results
# (measurements/results) have this pace. For images of a few hundred numbers, ``native`` is slower than measured by a
# factor of 2 to 30, but with the measured pace searches found larger networks (diaries 175 and 177).
_PACES = {"torch": Pace(2.7e-4, 3.1e-10), "native": Pace(1.2e-5, 5.4e-11), "recorded": Pace(1.85e-4, 3.35e-11)}
# Pace on an H100, dominated by kernel launches. Fitted to networks of 1.0 and 1.6 million multiply-adds (diary 119).
_GPU_PACE = Pace(1.3e-5, 4.0e-12)


def pace_of(engine: str, device: str) -> Pace:
    """Return the prior pace of engine ``native``, ``torch`` or ``recorded`` on a device."""
    return _PACES[engine] if device == "cpu" else _GPU_PACE


class _Timed(NamedTuple):
    family: str
    measured: float
    estimated: float


@dataclass(slots=True)
class Timing:
    """Measured over estimated seconds of the latest runs.

    Only the latest ``_RECENT_RUNS`` runs per node count, so the pace recovers after a busy period. The ratio of a
    family depends on the processor's caches, so ``families`` compares runs of a family with the remaining runs on the
    same node.

    Attributes:
        recent: Latest runs by node, oldest first.
        families: By family, the sum of measured seconds, each divided by the slowdown of the node for the remaining
            families, and the sum of estimated seconds.
        slowdowns: By trial, the slowdown of the node at the end of each complete run.
    """

    images: int
    pace: Pace
    recent: dict[str, deque[_Timed]] = field(default_factory=dict)
    families: dict[str, tuple[float, float]] = field(default_factory=dict)
    slowdowns: dict[int, list[float]] = field(default_factory=dict)

    def add(self, run: Result, macs: float, node: str = "") -> None:
        """Add a run that has ended; runs without an epoch or without known multiply-adds are ignored.

        ``macs`` is ``step_macs``; ``node`` is the cluster node, empty on this machine.
        """
        if not (run.history and run.macs):
            return
        family = run.architecture.family
        estimate = self.pace.seconds(run.trained_epochs, self.images, macs)
        runs = self.recent.setdefault(node, deque(maxlen=_RECENT_RUNS))
        other_slowdown = self._slowdown(each for each in runs if each.family != family)
        if other_slowdown:
            measured_sum, estimated_sum = self.families.get(family, (0.0, 0.0))
            self.families[family] = (measured_sum + run.train_seconds / other_slowdown, estimated_sum + estimate)
        runs.append(_Timed(family, run.train_seconds, estimate))
        if run.trial is not None and run.status is Status.COMPLETE:
            self.slowdowns.setdefault(run.trial, []).append(self._slowdown(runs) or 1.0)

    def _slowdown(self, runs: Iterable[_Timed]) -> float | None:
        """Return measured over estimated seconds of runs, corrected for the families; None without runs."""
        pairs = [(run.measured, run.estimated * self.family_factor(run.family)) for run in runs]
        estimate = math.fsum(estimate for _, estimate in pairs)
        return math.fsum(measured for measured, _ in pairs) / estimate if estimate else None

    def slowdown(self) -> float | None:
        """Return measured over estimated seconds on the slowest node; None without a measured run."""
        return max(filter(None, map(self._slowdown, self.recent.values())), default=None)

    def family_factor(self, family: str) -> float:
        """Return measured over estimated seconds of a family relative to the remaining families, shrunk towards 1.

        factor = (measured + ``_FAMILY_SECONDS``) / (estimated + ``_FAMILY_SECONDS``)
        """
        measured_sum, estimated_sum = self.families.get(family, (0.0, 0.0))
        return (measured_sum + _FAMILY_SECONDS) / (estimated_sum + _FAMILY_SECONDS)

    def change_since(self, trial: int) -> float:
        """Return the present slowdown over the mean slowdown at the ends of a trial's runs; 1 without runs."""
        slowdowns = self.slowdowns.get(trial)
        if not slowdowns:
            return 1.0
        return (self.slowdown() or 1.0) * len(slowdowns) / math.fsum(slowdowns)

    @property
    def measured_pace(self) -> Pace:
        """The prior pace times the slowdown of the slowest node, if measured."""
        factor = self.slowdown() or 1.0
        image = factor * self.pace.seconds_an_image
        return replace(self.pace, seconds_an_image=image, seconds_a_mac=factor * self.pace.seconds_a_mac)


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Remaining time of a search, and the present pace of the trainings.

    Attributes:
        longest_training: Seconds of the longest training whose network can still be confirmed and verified; infinite
            for no limit.
        seconds_left: Remaining seconds, verification included; infinite for no limit.
        elapsed: Elapsed seconds of the search; 0 without a time limit.
        family_factors: ``Timing.family_factor`` by family; 1 for a missing family.
        spare_seconds: Seconds left after verifying the incumbent and, in case of a miss, a second confirmed network if
            there is one, or for two metrics after verifying the whole front; infinite without a time limit or a
            network to verify.
        is_over: Returns whether only the time of the verification is left, so that the choice of a network stops.
    """

    images: int
    pace: Pace
    longest_training: float = math.inf
    seconds_left: float = math.inf
    workers: int = 1
    elapsed: float = 0.0
    family_factors: Mapping[str, float] = field(default_factory=dict)
    spare_seconds: float = math.inf
    is_over: Callable[[], bool] = lambda: False

    def training_seconds(self, epochs: int, macs: float, family: str = "") -> float:
        """Return the expected seconds of a training; with an empty ``family``, of a network of average speed."""
        return self.family_factors.get(family, 1.0) * self.pace.seconds(epochs, self.images, macs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Limits on the resources of a search; not part of the study's configuration.

    Attributes:
        seconds: Time of all sessions together, verification included; None for no limit.
        trials: Maximum number of trials without the baselines; None for no limit.
        engine: ``native``, ``torch``, or ``recorded`` for a table.
    """

    seconds: float | None
    trials: int | None
    workers: int
    device: str
    limits: Limits
    engine: str = "recorded"

    def is_spent(self, state: StudyState) -> bool:
        """Return whether a further session with this effort could not continue the search.

        The last session must have ended, neither interrupted nor killed, and have had at least this effort: as many
        trials if the limit of trials ended the session, else as much time.
        """
        last = None if state.session is None else state.session.event
        if not isinstance(last, SessionEnded):
            return False
        if last.reason == EndReason.TRIALS:
            return self.trials is not None and last.trials is not None and self.trials <= last.trials
        if last.seconds is None:
            return last.reason == EndReason.EXHAUSTED
        # Networks that were too slow before become feasible.
        has_ended = last.reason in (EndReason.EXHAUSTED, EndReason.TIME)
        return has_ended and self.seconds is not None and self.seconds <= last.seconds


def verify_seeds(workers: int) -> int:
    """Return the number of seeds of a verification: as many as fit into the fewest rounds, up to the most."""
    return min(_MAX_VERIFY_SEEDS, rounds(VERIFIED_SEEDS, workers) * workers)


def rounds(seeds: int, workers: int) -> int:
    """Return the number of rounds in which ``workers`` workers train all seeds."""
    return -(-seeds // workers)


def caution_seconds(images: int) -> float:
    """Return the seconds reserved for starting processes and writing files.

    With few images, 90 % of 214 verifications took at most 6.1 s more than the trainings alone (diary 180).
    """
    return 6.0 if images < FEW_IMAGES else 12.0


def verification_seconds(run_seconds: float, workers: int, images: int, seeds: int = VERIFIED_SEEDS) -> float:
    """Return the seconds of a verification with a safety margin; ``run_seconds`` and ``images`` are of the search."""
    return CAUTION * VERIFY_FACTOR * rounds(seeds, workers) * run_seconds + caution_seconds(images)


def search_factor(workers: int, seeds: int) -> float:
    """Return the seconds in which a network is trained, confirmed and verified, per second of a training.

    ``seeds`` are the fresh seeds of a confirmation. Training and confirmation take ``CAUTION * (1 + rounds)``
    trainings, the verification ``CAUTION * VERIFY_FACTOR * rounds``, each with the rounds of its seeds.
    """
    return CAUTION * (1 + rounds(seeds, workers)) + CAUTION * VERIFY_FACTOR * rounds(VERIFIED_SEEDS, workers)


def longest_training(seconds_left: float, workers: int, images: int, seeds: int) -> float:
    """Return the longest training in seconds, such that a network can be trained, confirmed and verified in time.

    ``images`` are of the search, ``seeds`` the fresh seeds of a confirmation.
    """
    return max(0.0, seconds_left - caution_seconds(images)) / search_factor(workers, seeds)


def least_seconds(images: int) -> float:
    """Return the seconds in which a search usually has an answer on two cores.

    Ten minutes for MNIST, three minutes for the 4,000 images of ``mnist-5k`` (docs/use/search.md).
    """
    return 180.0 if images < FEW_IMAGES else 600.0
