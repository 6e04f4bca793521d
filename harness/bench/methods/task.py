"""What a method of search is to do, the same for all methods of a comparison; and how one repeat of it is set up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.study import StudyConfig
from harness.system.document import documented
from harness.training.recipe import Recipe


class NoiseModel(StrEnum):
    """The runs of similar networks, or the network's own; ``readings`` explains both."""

    POOLED = "pooled"
    RECORDED = "recorded"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """One task: the smallest network of a space that reaches a target, in a given time.

    Attributes:
        space: the whole definition, in the language of spaces; ``space_name`` is for people.
        budget: most parameters of a network.
        target_pct: validation accuracy at the last epoch that a network must reach.
        rungs: epochs at which a run may be looked at, ascending; the last one is the recipe's last.
        seconds: after which nobody trains any more. No method is told.
        workers: trainings side by side.
        networks: all that may be proposed, where a table lists them; else None.
    """

    dataset: str
    data_hash: str
    space: str
    space_name: str
    recipe: Recipe
    recipe_name: str
    rungs: tuple[int, ...]
    budget: int
    target_pct: float
    seconds: float
    workers: int
    networks: tuple[str, ...] | None = None


def repeat_seed(seed: int, repeat: int) -> int:
    """Return the seed of a repeat, the same for all methods; ``seed`` is the comparison's."""
    # 31 bits suit every generator that a method may use.
    return int.from_bytes(hashlib.sha256(f"bench|{seed}|{repeat}".encode()).digest()[:4], "big") >> 1


def study_config(task: SearchTask, sampler: str, rungs: tuple[int, ...], seed: int) -> StudyConfig:
    """Return the task as the configuration of a search, which must not stop at other epochs than the task's rungs."""
    assert set(rungs) <= set(task.rungs), "a method stops only where the task is looked at"
    return StudyConfig(
        dataset=task.dataset,
        data_hash=task.data_hash,
        budget=task.budget,
        target_pct=task.target_pct,
        threshold_pct=task.target_pct,
        space=task.space_name,
        space_text=task.space,
        sampler=sampler,
        recipe=task.recipe,
        recipe_name=task.recipe_name,
        rungs=rungs,
        seed=seed,
    )
