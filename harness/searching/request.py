"""What a search is asked for: one value, made alike by the command line and by ``harness.search``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from harness.studies.events import Event
from search_spaces.chips import Chip
from search_spaces.space import Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """The arguments of ``harness.search``, of the same names, after ``harness.interface.options`` has checked them.

    Attributes:
        dataset: its name; ``auto`` for MNIST.
        data: the folder of the data; None for the user's cache.
        minimise: one metric or two, by name.
        chip: the chip whose memory limits the networks; None for none.
        time: the time budget in seconds.
        trial_time: the time limit of one run in seconds.
        trial_memory: the memory limit of a worker in MiB.
        workers: training processes, on a cluster those of each node; None for one a core.
        cluster: where the nodes are; None for this machine's processes.
        on_event: the function that hears each event of the study; None for none.
    """

    dataset: str
    data: Path | None
    budget: int
    limits: tuple[Condition, ...] | None
    target_pct: float | None
    minimise: tuple[str, ...] = ("parameters",)
    space: str
    sampler: str = "auto"
    recipe: str
    trainer: str | None = None
    epochs: tuple[int, ...] | None = None
    prior: str = "shipped"
    start_from: str | None = None
    seed: int
    time: float
    trials: int | None = None
    trial_time: float = 1800.0
    trial_memory: int = 4096
    workers: int | None
    cluster: str | None = None
    device: str
    engine: str
    study: str | None = None
    storage: str | None = None
    log: str | None = None
    on_event: Callable[[Event], object] | None = None
    chip: Chip | None = None

    @classmethod
    def of(cls, **checked: Any) -> Self:
        """Return the request of arguments that are checked, whose types a signature states more widely."""
        return cls(**checked)
