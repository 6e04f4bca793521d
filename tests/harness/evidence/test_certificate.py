"""Certificates: all figures follow from the errors, and forged files are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.cli import run
from harness.data.datasets import dataset
from harness.data.groups import GroupErrors
from harness.evidence import certificate as certificates
from harness.evidence import ledger, record
from harness.evidence.certificate import Certificate, _computed, recomputed
from harness.spaces.network import Task
from harness.spaces.notation import parse_network
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from harness.training.result import Purpose, derive_seed
from tests.factories import make_record

NETWORK = "conv3x3(4) bn relu | gap | linear(2)"


def certificate(errors: tuple[int, ...], first: int = 6) -> Certificate:
    """Return a certificate of seeds with these errors on 200 test images; the bound is computed with SciPy."""
    architecture, recipe = parse_network(NETWORK, Task((1, 6, 6), 2)), Recipe()
    accuracies = [100 - each / 2 for each in errors]
    indices = tuple(range(first, first + len(errors)))
    student_bound_pct = np.mean(accuracies) - stats.t.ppf(0.9975, len(errors) - 1) * stats.sem(accuracies)
    errors_above_least = sum(errors) - min(errors) * len(errors)
    most_errors = min(errors) + stats.chi2.ppf(0.9975, 2 * (errors_above_least + 1)) / 2 / len(errors)
    bound_pct = float(min(student_bound_pct, 100 - most_errors / 2))
    return Certificate(
        architecture=architecture,
        hash=architecture.hash,
        parameters=9 * 4 + 8 + 4 * 2 + 2,
        input_shape=(1, 6, 6),
        classes=2,
        data_hash="0" * 64,
        alpha=0.01,
        recipe=recipe,
        target_pct=95.0,
        test_size=200,
        indices=indices,
        seeds=tuple(derive_seed(architecture.hash, recipe.hash, Purpose.VERIFY, index) for index in indices),
        test_errors=errors,
        mean_pct=float(np.mean(accuracies)),
        lower_bound_pct=bound_pct,
        verdict="shown" if bound_pct >= 95 else "at the target" if np.mean(accuracies) >= 95 else "missed",
    )


@pytest.mark.parametrize(
    ("errors", "verdict"), [((2, 4, 3, 3) * 5, "shown"), ((10,) * 20, "at the target"), ((12, 9, 20, 3) * 5, "missed")]
)
def test_check_recomputes_certificate(errors: tuple[int, ...], verdict: str, tmp_path: Path):
    expected, path = certificate(errors), tmp_path / "certificate.json"
    expected.save(path)

    assert expected.verdict == verdict
    assert recomputed(path).mean_pct == pytest.approx(expected.mean_pct)


def grouped_certificate() -> Certificate:
    """Return a certificate on 400 test images of eight equal groups; the bound is computed with NumPy and SciPy."""
    errors = np.array([[0, 0, 0, 0, 0, 0, 7, 1], [0, 0, 0, 1, 0, 0, 6, 1]] * 10)
    shares = errors / 50
    mean = shares.mean()
    rows = shares.mean(1, keepdims=True) - mean
    columns = shares.mean(0, keepdims=True) - mean
    residuals = shares - mean - rows - columns
    of_seeds, of_groups = 8 * (rows**2).sum() / 19, 20 * (columns**2).sum() / 7
    variance = max(of_groups, of_seeds + of_groups - (residuals**2).sum() / (19 * 7)) / 160
    # Korn and Graubard (1998). The variance between groups is larger here, with seven degrees of freedom.
    assert variance == of_groups / 160
    cases = min(400, mean * (1 - mean) / variance + 1) * (stats.t.ppf(0.9975, 399) / stats.t.ppf(0.9975, 7)) ** 2
    bound_pct = 100 * (1 - stats.beta.ppf(0.9975, mean * cases + 1, (1 - mean) * cases))
    ungrouped = certificate(tuple(errors.sum(1).tolist()))
    assert bound_pct < 95 < 100 * (1 - mean)
    return replace(
        ungrouped,
        test_size=400,
        mean_pct=float(100 * (1 - mean)),
        lower_bound_pct=float(bound_pct),
        verdict="at the target",
        group_sizes=(50,) * 8,
        group_errors=tuple(map(tuple, errors.tolist())),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"group_sizes": (), "group_errors": ()},
        {"group_sizes": (50,) * 7},
        {"group_sizes": (0, 100, *(50,) * 6)},
        {"group_errors": ((1,) * 8,) * 20},
        {"group_errors": ((8, 0, 0, 0, 0, 0, 0, 0),) * 19},
        {"lower_bound_pct": 98.0, "verdict": "shown"},
    ],
)
def test_grouped_certificate_is_checked_by_groups(changes: dict[str, Any], tmp_path: Path):
    path = tmp_path / "certificate.json"
    replace(grouped_certificate(), **changes).save(path)

    if changes:
        with pytest.raises(ContentError):
            recomputed(path)
    else:
        assert "8 groups" in str(recomputed(path))


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": 7},
        {"hash": "0" * 12},
        {"mean_pct": 99.9},
        {"verdict": "no"},
        {"seeds": [1, 2]},
        {"target_pct": 0.0},
        {"target_pct": 101.0},
        {"test_size": 0},
        {"test_size": -200},
        {"test_pictures": 1e9},
        {"data_hash": "nonsense"},
        {"alpha": 0.5},
        {"indices": [0] * 20},
        {"indices": [3, 17, 44, 101, 900]},
        {"test_errors": [-40] * 20},
        {"test_errors": [1_000] * 20},
        {"classes": 3},
    ],
)
def test_forged_certificate_is_refused(changes: dict[str, Any], tmp_path: Path):
    path = tmp_path / "certificate.json"
    certificate((2, 4, 3, 3) * 5).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    with pytest.raises(ContentError):
        recomputed(path)


@pytest.fixture
def declared_certificate(workspace: Path) -> tuple[Certificate, Workspace]:
    """A certificate whose declaration and record are in the workspace."""
    home = Workspace(workspace)
    evidence = make_record([50 + index % 3 for index in range(20)])
    mnist = dataset("mnist")
    data = replace(mnist, sha256="0" * 64)
    declaration = ledger.declare_seeds(home.ledger, evidence.key, range(20), certified_data=data)
    record.write(home.records, evidence)
    return replace(Certificate.of(evidence, declaration), data_hash="0" * 64), home


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"target_pct": 99.0}, "target_pct"),
        ({"test_size": 100_000}, "test_size"),
        ({"alpha": 0.005}, "alpha"),
        ({"data_hash": "1" * 64}, "data_hash"),
        ({"indices": tuple(range(5, 25))}, "indices"),
        ({"test_errors": (40,) * 20}, "test_errors"),
    ],
)
def test_certificate_that_differs_from_declaration_is_refused(
    changes: dict[str, Any], field: str, declared_certificate: tuple[Certificate, Workspace], tmp_path: Path
):
    original, home = declared_certificate
    path = tmp_path / "certificate.json"
    forgery = replace(original, **changes)
    # All figures are recomputed from the forged values, so the file itself is consistent.
    seeds = tuple(derive_seed(original.hash, original.recipe.hash, Purpose.VERIFY, index) for index in forgery.indices)
    values = _computed(forgery.test_errors, forgery.test_size, forgery.target_pct, forgery.alpha, GroupErrors())
    forgery = replace(forgery, seeds=seeds, **values)
    forgery.save(path)

    assert original.is_declared(path, home)
    assert recomputed(path) == forgery
    with pytest.raises(ContentError, match=field):
        forgery.is_declared(path, home)
    assert run(["check", str(path)]) == 4
    assert run(["check", str(tmp_path)]) == run(["check", str(tmp_path / "absent.json")]) == 2
    assert not original.is_declared(path, Workspace(tmp_path / "elsewhere"))


@pytest.mark.parametrize("has_group_of_image", [False, True])
def test_errors_by_group_are_compared_only_if_groups_of_images_are_known(
    has_group_of_image: bool,
    declared_certificate: tuple[Certificate, Workspace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    original, home = declared_certificate
    groups = (0,) * 4_000 + (1,) * 6_000 if has_group_of_image else ()
    spec = replace(dataset("mnist"), test_group_sizes=(4_000, 6_000), test_groups=groups, group_by="person")
    for module in (record, certificates):
        monkeypatch.setattr(module, "dataset", lambda _: spec)
    # Version 0.1 assigned errors without a group to the first groups.
    old_certificate = replace(
        original, group_sizes=(4_000, 6_000), group_errors=tuple((count - 1, 1) for count in original.test_errors)
    )

    if has_group_of_image:
        with pytest.raises(ContentError, match="group_errors"):
            old_certificate.is_declared(tmp_path / "certificate.json", home)
    else:
        assert old_certificate.is_declared(tmp_path / "certificate.json", home)


@pytest.mark.parametrize("count", [0, 1, 2, 19])
def test_certificate_with_fewer_than_twenty_seeds_is_refused(count: int, tmp_path: Path):
    path = tmp_path / "certificate.json"
    certificate((3, 2) * 10).save(path)
    document = json.loads(path.read_text())
    path.write_text(
        json.dumps(document | {name: document[name][:count] for name in ("indices", "seeds", "test_errors")})
    )

    with pytest.raises(ContentError):
        recomputed(path)


def test_duplicate_key_is_refused(tmp_path: Path):
    path = tmp_path / "certificate.json"
    certificate((2, 4, 3, 3) * 5).save(path)
    path.write_text(path.read_text().rstrip().removesuffix("}") + ', "test_size": 200}')

    with pytest.raises(ContentError, match="test_size"):
        recomputed(path)
