"""Samplers other than the surrogate model, late: a default search imports neither Optuna nor methods of users."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.searching.external_method import Asker
    from harness.searching.optuna_sampler import SamplerStudy
    from harness.spaces.space import SearchSpace
    from harness.studies.config import StudyConfig


def check_sampler(name: str) -> None:
    """Check the name of a sampler of Optuna, or ``MODULE:FUNCTION`` (``optuna_sampler.check_sampler``)."""
    from harness.searching import optuna_sampler

    optuna_sampler.check_sampler(name)


def seeds_of(study_seed: int) -> Iterator[int]:
    """Yield the seeds of the proposals of a study.

    Each proposal gets a new sampler or generator, so that a resumed search continues without a saved state.
    """
    for count in itertools.count():
        yield random.Random(f"{study_seed}/{count}").getrandbits(31)


def sampler_study(config: StudyConfig, seeds: Iterator[int]) -> SamplerStudy:
    """Return an empty Optuna study of the sampler of a study; ``seeds`` from ``seeds_of``."""
    from harness.searching.optuna_sampler import SamplerStudy

    return SamplerStudy(config.sampler, seeds)


def method_of(config: StudyConfig, space: SearchSpace, workers: int) -> Asker | None:
    """Start the user's method of a study, and return the proposer; None without a method.

    Raises:
        UsageError: The function of the method cannot be imported.
        ContentError: The function fails.
    """
    if ":" not in config.sampler:
        return None
    from harness.searching import external_method

    return external_method.method_of(config, space, workers)
