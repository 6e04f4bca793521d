"""The request for a search: the arguments of the command line and of ``harness.search`` in a single value."""

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
    """Arguments of ``harness.search`` under the same names, after the checks of ``harness.interface.options``.

    Attributes:
        dataset: Name of the data set; ``auto`` for MNIST.
        data: Folder of the data; None for the user's cache.
        budget: Maximum number of parameters.
        limits: Further conditions on a network; None for no conditions.
        minimise: Names of one or two metrics.
        time: Time budget in seconds.
        trial_time: Time limit of one run in seconds.
        trial_memory: Memory limit of a worker in MiB.
        workers: Training processes, on a cluster per node; None for one per core.
        cluster: Address of the cluster; None for this machine's processes.
        on_event: Callback for each event of the study; None for no callback.
        chip: Chip whose memory limits the networks; None for no chip.
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
        """Return the request of checked arguments, whose declared types are wider than the fields' types."""
        return cls(**checked)
