"""The estimator keeps scikit-learn's manners, and its certificate states what can be computed again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.estimator import Certificate, SmallestClassifier, check
from harness.system.errors import ContentError
from harness.training.recipe import Recipe
from harness.training.result import Purpose, derive_seed
from search_spaces.network import Task
from search_spaces.notation import parse_network


def _crosses(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bars that lie or stand, somewhere in noise of fractions below zero too."""
    random = np.random.default_rng(seed)
    images, labels = random.normal(0, 0.3, (count, 6, 6)), np.tile(["lies", "stands"], count // 2)
    for image, label, at in zip(images, labels, random.integers(0, 6, count), strict=True):
        image[at if label == "lies" else slice(None), slice(None) if label == "lies" else at] += 3
    return images, labels


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("estimator")
        patch.setenv("HARNESS_WORKSPACE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def fitted(place: Path) -> SmallestClassifier:
    classifier = SmallestClassifier(0.8, limits="parameters<=2000", time="40s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a machine at work may lack the time to verify it
        return classifier.fit(*_crosses(120, seed=0))


@pytest.mark.nightly
def test_it_is_certified_on_other_images(fitted: SmallestClassifier, tmp_path: Path):
    fitted.certify(*_crosses(60, seed=2), seeds=3).save(tmp_path / "certificate.json")
    found = check(tmp_path / "certificate.json")

    assert (len(found.seeds), found.test_size, str(found.architecture)) == (3, 60, fitted.network_)


def _certificate(network: str, errors: tuple[int, ...]) -> Certificate:
    architecture, recipe = parse_network(network, Task((1, 6, 6), 2)), Recipe()
    accuracies = [100 - each / 2 for each in errors]
    return Certificate(
        architecture=architecture,
        hash=architecture.hash,
        parameters=9 * 4 + 8 + 4 * 2 + 2,
        input_shape=(1, 6, 6),
        classes=2,
        data_hash="0" * 64,
        recipe=recipe,
        target_pct=95.0,
        test_size=200,
        indices=(0, 1, 2),
        seeds=tuple(derive_seed(architecture.hash, recipe.hash, Purpose.VERIFY, index) for index in range(3)),
        test_errors=errors,
        mean_pct=float(np.mean(accuracies)),
        lower_bound_pct=float(np.mean(accuracies) - stats.t.ppf(0.99, 2) * stats.sem(accuracies)),
        verdict="shown" if max(errors) < 9 else "at the target" if sum(errors) <= 30 else "missed",
    )


@pytest.mark.parametrize("errors", [(2, 4, 3), (1, 20, 3), (12, 9, 20)])
def test_a_certificate_is_computed_again(errors: tuple[int, ...], tmp_path: Path):
    given, path = _certificate("conv3x3(4) bn relu | gap | linear(2)", errors), tmp_path / "certificate.json"
    given.save(path)
    found, stated = check(path), json.loads(path.read_text())

    assert found.mean_pct == pytest.approx(given.mean_pct)
    for field, value in {"parameters": 7, "hash": "0" * 12, "mean_pct": 99.9, "verdict": "no", "seeds": [1, 2]}.items():
        path.write_text(json.dumps(stated | {field: value}))
        with pytest.raises(ContentError):
            check(path)
