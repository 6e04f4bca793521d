"""The certificate of an estimator: what a network shows on test images, stated so that anybody can compute it again."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.evidence.bounds import over_seeds
from harness.system import statistics
from harness.system.document import WrittenNetwork, document_of, documented, read_as
from harness.system.errors import ContentError
from harness.system.files import write_json
from harness.training.recipe import Recipe
from harness.training.result import Purpose, accuracy_pct, derive_seed
from search_spaces.network import Task, analyse


@documented
@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a network shows on test images: fresh seeds, the errors of each, their mean and its bound.

    Attributes:
        test_errors: wrong test images of each seed, of ``test_size``.
        mean_pct: mean test accuracy.
        lower_bound_pct: one-sided 99 % lower t bound of that mean over seeds; None below two seeds.
        verdict: ``shown`` where the bound reaches the target, ``at the target`` where the mean does, else ``missed``.
    """

    architecture: WrittenNetwork
    hash: str
    parameters: int
    input_shape: tuple[int, int, int]
    classes: int
    data_hash: str
    recipe: Recipe
    target_pct: float
    test_size: int
    indices: tuple[int, ...]
    seeds: tuple[int, ...]
    test_errors: tuple[int, ...]
    mean_pct: float
    lower_bound_pct: float | None
    verdict: str

    def save(self, path: str | Path) -> None:
        """Write it as JSON; ``harness check`` computes it again."""
        write_json(Path(path), json.loads(json.dumps(document_of(self))))


def computed(errors: tuple[int, ...], images: int, target_pct: float) -> dict[str, Any]:
    """Return mean, bound and verdict of the errors of each seed, of so many test images."""
    accuracies = [accuracy_pct(each, images) or 0.0 for each in errors]
    mean, bound = statistics.mean(accuracies), over_seeds(accuracies)
    shown = bound is not None and statistics.reaches(bound, target_pct)
    verdict = "shown" if shown else "at the target" if statistics.reaches(mean, target_pct) else "missed"
    return {"mean_pct": mean, "lower_bound_pct": bound, "verdict": verdict}


def check(path: Path) -> Certificate:
    """Read a certificate and compute again what it states; nothing is trained, and no data are needed.

    Raises:
        ContentError: it cannot be read, or states what does not follow from its network, seeds and errors.
    """
    found = read_as(Certificate, path, str(path))
    seeds = [derive_seed(found.hash, found.recipe.hash, Purpose.VERIFY, index) for index in found.indices]
    due = {
        "hash": found.architecture.hash,
        "parameters": analyse(found.architecture, Task(found.input_shape, found.classes)).parameters,
        "seeds": tuple(seeds),
        **computed(found.test_errors, found.test_size, found.target_pct),
    }
    for name, value in due.items():
        stated = getattr(found, name)
        close = isinstance(stated, float) and isinstance(value, float) and math.isclose(stated, value)
        if stated != value and not close:
            raise ContentError(f"{path}: {name}: stated {stated}, computed {value}")
    return found
