"""Certificates of estimators: test errors of declared seeds with a verdict that ``harness check`` recomputes."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.datasets import dataset
from harness.data.groups import GroupErrors
from harness.evidence import bounds, ledger
from harness.evidence.ledger import ALPHA, ALPHA_SHARE, MIN_SEEDS, Declaration
from harness.evidence.record import Record, read_all
from harness.spaces.network import Task, analyse
from harness.spaces.space_errors import SearchSpaceError
from harness.system import statistics
from harness.system.document import WrittenNetwork, document_of, read_as, strict_json
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace, write_json
from harness.system.terminal import counted
from harness.training.recipe import Recipe
from harness.training.result import Purpose, derive_seed


@strict_json
@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Test errors of fresh seeds of a network, with bound and verdict.

    Attributes:
        input_shape: (channels, rows, columns) of an image.
        indices: Consecutive seed indices, declared together before the first seed was run.
        seeds: Random seeds, derived from network, recipe and index.
        alpha: Probability that a network below the target gets the verdict ``shown``; at most 0.01.
        lower_bound_pct: One-sided lower bound over seeds (and groups, if any) at confidence
            ``bounds.certifying_confidence(alpha)``. 0 if there is no bound.
        verdict: ``shown`` if the bound reaches the target, ``at the target`` if only the mean does, otherwise
            ``missed``.
        declared_utc: Time of the declaration in the ledger; empty in certificates of earlier versions.
        group_sizes: Images in each group of the test images; empty without groups.
        group_errors: Wrong images in each group, for each seed; empty without groups.
        test_pictures: Effective number of test images if copies count as a single image; 0 if unknown or without
            groups.
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
    alpha: float
    mean_pct: float
    lower_bound_pct: float
    verdict: str
    declared_utc: str = ""
    group_sizes: tuple[int, ...] = ()
    group_errors: tuple[tuple[int, ...], ...] = ()
    test_pictures: float = 0.0

    @classmethod
    def of(cls, record: Record, declaration: Declaration) -> Certificate:
        """Return the certificate of the seeds of a declaration, all of which must be recorded."""
        runs = [run for run in record.seeds if run.index in declaration.indices]
        errors = tuple(run.test_errors for run in runs)
        data = dataset(record.dataset)
        groups = record.group_errors
        rows = _rows_of(groups, declaration)
        return cls(
            architecture=record.architecture,
            hash=record.hash,
            parameters=record.parameters,
            input_shape=data.image_shape,
            classes=data.classes,
            data_hash=data.sha256,
            recipe=record.recipe,
            target_pct=record.target_pct,
            test_size=data.test_size,
            indices=tuple(run.index for run in runs),
            seeds=tuple(run.seed for run in runs),
            test_errors=errors,
            alpha=declaration.alpha,
            declared_utc=declaration.declared_utc,
            group_sizes=tuple(groups.sizes),
            group_errors=rows,
            test_pictures=groups.pictures,
            **_computed(
                errors,
                data.test_size,
                record.target_pct,
                declaration.alpha,
                groups._replace(errors=dict(enumerate(rows))),
            ),
        )

    @property
    def groups(self) -> GroupErrors:
        """Errors by group of the test images."""
        return GroupErrors(self.group_sizes, dict(enumerate(self.group_errors)), self.test_pictures)

    def is_declared(self, path: Path, workspace: Workspace) -> bool:
        """Return whether the ledger of a workspace contains the declaration.

        Raises:
            ContentError: A stated value differs from the declaration, or from the record of the declared seeds.
        """
        subject = (self.hash, self.recipe.hash, self.declared_utc)
        fault = ""
        for declaration in ledger.read(workspace.ledger).declarations:
            if declaration.alpha and (declaration.hash, declaration.recipe_hash, declaration.declared_utc) == subject:
                fault = _contradiction(self, declaration, workspace)
                if not fault:
                    return True
        if fault:
            raise ContentError(f"{path}: {fault}")
        return False

    def save(self, path: str | Path) -> None:
        """Write the certificate as JSON; ``harness check`` recomputes the file."""
        write_json(Path(path), document_of(self))

    def __str__(self) -> str:
        count = len(self.seeds)
        level = 100 * bounds.certifying_confidence(self.alpha)
        groups = f" of {counted(len(self.group_sizes), 'group')}" if self.group_sizes else ""
        return (
            f"{self.verdict}: {self.parameters:,} parameters, mean {self.mean_pct:.3f} % over {count} seeds on "
            f"{self.test_size:,} test images{groups}, lower bound {self.lower_bound_pct:.3f} % at {level:g} %, "
            f"target {self.target_pct:g} %\n"
            f"{bounds.seeds_warning(count)}\n"
            "stated, not recomputed: network, recipe, input shape and classes; data hash, test size, groups and test "
            "errors; target, alpha, first seed index and time of the declaration"
        )


def _rows_of(groups: GroupErrors, declaration: Declaration) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(groups.errors[index]) for index in declaration.indices if index in groups.errors)


def _computed(
    errors: tuple[int, ...], images: int, target_pct: float, alpha: float, groups: GroupErrors
) -> dict[str, Any]:
    standing, bound = bounds.standing_of(
        dict(enumerate(errors)),
        images,
        target_pct,
        [range(len(errors))],
        confidence=bounds.certifying_confidence(alpha),
        fewest=MIN_SEEDS,
        groups=groups,
    )
    return {
        "mean_pct": 100 * (1 - statistics.mean(errors) / images),
        "lower_bound_pct": 0.0 if bound is None else bound,
        "verdict": "shown" if standing.is_proven else str(standing),
    }


def recomputed(path: Path) -> Certificate:
    """Read a certificate and recompute the stated values; nothing is trained, and no data set is needed.

    Raises:
        ContentError: The file cannot be read, or a stated value does not follow from network, seeds and errors.
    """
    certificate = read_as(Certificate, path, str(path))
    for requirement, holds in _requirements(certificate).items():
        if not holds:
            raise ContentError(f"{path}: {requirement}")
    try:
        values = _computed_values(certificate)
    except SearchSpaceError as error:
        raise ContentError(f"{path}: architecture is not a network: {error.message}") from error
    for name, value in values.items():
        statement = getattr(certificate, name)
        is_close = isinstance(statement, float) and isinstance(value, float) and math.isclose(statement, value)
        if statement != value and not is_close:
            raise ContentError(f"{path}: {name}: stated {statement}, computed {value}")
    return certificate


def _requirements(certificate: Certificate) -> dict[str, bool]:
    indices = certificate.indices
    errors = certificate.test_errors
    count = len(indices)
    images = certificate.test_size
    target_pct = certificate.target_pct
    digest = certificate.data_hash
    sizes = certificate.group_sizes
    pictures = certificate.test_pictures
    alpha = certificate.alpha
    largest_alpha = ALPHA_SHARE * ALPHA
    first_index = indices[0] if indices else 0
    has_valid_sizes = not sizes or (min(sizes) > 0 and sum(sizes) == images)
    return {
        f"test_size: {images} stated, at least 1 required": images > 0,
        f"target_pct: {target_pct:g} stated, more than 0 and at most 100 required": 0 < target_pct <= 100,
        f"data_hash: {digest[:16]} is not a SHA-256": bool(re.fullmatch("[0-9a-f]{64}", digest)),
        f"alpha: {alpha:g} stated, more than 0 and at most {largest_alpha:g} required": 0 < alpha <= largest_alpha,
        f"indices: {count} stated, at least {MIN_SEEDS} required": count >= MIN_SEEDS,
        "indices: not consecutive": first_index >= 0 and indices == tuple(range(first_index, first_index + count)),
        f"test_errors: {len(errors)} stated for {count} seeds": len(errors) == count,
        f"test_errors: not all between 0 and {images}": all(0 <= each <= images for each in errors),
        f"group_sizes: {sum(sizes)} images stated in groups of at least 1, {images} required": has_valid_sizes,
        f"test_pictures: {pictures:g} stated, at most {images} required": 0 <= pictures <= images,
        "group_errors: not the test errors of each seed by group": certificate.groups.sum_to(errors),
    }


def _computed_values(certificate: Certificate) -> dict[str, Any]:
    network = certificate.architecture
    seed_key = certificate.hash, certificate.recipe.hash, Purpose.VERIFY
    return {
        "hash": network.hash,
        "parameters": analyse(network, Task(certificate.input_shape, certificate.classes)).parameters,
        "seeds": tuple(derive_seed(*seed_key, index) for index in certificate.indices),
        **_computed(
            certificate.test_errors,
            certificate.test_size,
            certificate.target_pct,
            certificate.alpha,
            certificate.groups,
        ),
    }


def _contradiction(certificate: Certificate, entry: Declaration, workspace: Workspace) -> str:
    names = ("target_pct", "indices", "alpha", "data_hash", "test_size")
    values: dict[str, Any] = {name: getattr(entry, name) for name in names}
    for record in read_all(workspace.records):
        if record.key == entry.key:
            values["test_errors"] = tuple(run.test_errors for run in record.seeds if run.index in entry.indices)
            # The groups are facts of the data set, which may have been removed.
            with suppress(UsageError, ContentError):
                groups = record.group_errors
                values |= {"group_sizes": tuple(groups.sizes), "test_pictures": groups.pictures}
                # Without the group of each image, earlier versions assumed other groups (``Record.group_errors``).
                if dataset(record.dataset).test_groups or not groups.sizes:
                    values["group_errors"] = _rows_of(groups, entry)
    for name, value in values.items():
        statement = getattr(certificate, name)
        # Declarations of earlier versions lack data hash and test size.
        if value is not None and statement != value:
            return f"{name}: stated {statement}, {value} in the declaration of {entry.declared_utc} or in the record"
    return ""
