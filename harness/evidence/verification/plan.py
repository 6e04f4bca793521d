"""What is to be verified: a network with a recipe on a data set. Its record, and where unfinished seeds are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence import record
from harness.evidence.ledger import Attempt
from harness.evidence.record import Found, Record
from harness.system.files import Workspace
from harness.training.recipe import NamedRecipe
from search_spaces.cost import analyse
from search_spaces.network import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be verified, and how.

    Attributes:
        engine: ``native``, ``torch``, or ``auto``: that of the record for a seed that is
            recorded already.
        workers: seeds that train at once.
        indices: the seed indices to run, in order; a certification declares its own in their place.
        certify: whether this is a certification; it takes the seeds that its attempt has declared.
        attempt: the certification attempt, once it is known.
    """

    architecture: Architecture
    recipe: NamedRecipe
    dataset: str
    target_pct: float
    indices: tuple[int, ...]
    device: str = "cpu"
    engine: str = "torch"
    workers: int = 1
    certify: bool = False
    attempt: Attempt | None = None
    found: Found | None = None
    name: str = ""


def trains_together(plan: Plan) -> bool:
    """Return whether all seeds of a plan train at once: on a GPU, which a single network leaves idle.

    A certification stops early when it is futile, so its seeds train one after the other; so do those
    for which torch's plain loop is asked.
    """
    together = plan.engine == "auto" and not plan.recipe.test_each_epoch and not plan.certify
    return together and plan.device.startswith("cuda")


def record_of(plan: Plan, place: Workspace) -> Record:
    """Return the record of the plan's row as it is on disk, or a new one without seeds."""
    analysis = analyse(plan.architecture, dataset(plan.dataset).task)
    fresh = Record(
        name=plan.name,
        architecture=plan.architecture,
        hash=plan.architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=plan.recipe.recipe,
        recipe_name=plan.recipe.name,
        recipe_hash=plan.recipe.recipe.hash,
        assumed=plan.recipe.assumed,
        dataset=plan.dataset,
        target_pct=plan.target_pct,
        seeds=(),
        found=plan.found,
    )
    path = record.path_of(place.records, fresh)
    if not path.exists():
        return fresh
    there = record.read(path)
    return replace(there, name=there.name or fresh.name, found=there.found or fresh.found)


def folder_of(plan: Plan, place: Workspace) -> Path:
    """Return where an unfinished verification keeps what it has finished."""
    row = f"{plan.architecture.hash}-{plan.recipe.recipe.hash}-{plan.dataset}-{plan.target_pct:.12g}"
    return place.runs / f".verify-{row}"
