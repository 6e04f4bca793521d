"""The estimator keeps scikit-learn's manners."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

from harness.estimator import SmallestClassifier
from harness.evidence.certificate import check
from harness.system.errors import DataError, UsageError


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
    assert classifier.fit(*_crosses(120, seed=0)) is classifier
    return classifier


@pytest.mark.nightly
def test_it_tells_the_classes_of_images_that_it_has_not_seen(fitted: SmallestClassifier):
    images, labels = _crosses(100, seed=1)
    shares = fitted.predict_proba(images)

    assert fitted.classes_.tolist() == ["lies", "stands"]
    assert shares.sum(axis=1) == pytest.approx(1)
    assert (fitted.classes_[shares.argmax(axis=1)] == fitted.predict(images)).all()
    assert fitted.score(images, labels) == (fitted.predict(images) == labels).mean() > 0.8
    assert fitted.parameters_ <= 2000
    assert fitted.n_features_in_ == 36


@pytest.mark.nightly
def test_images_of_another_shape_are_refused(fitted: SmallestClassifier):
    with pytest.raises(DataError):
        fitted.predict(np.zeros((3, 6, 7)))


CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_mixin_order,
]


@pytest.mark.parametrize("checked", CHECKS, ids=[each.__name__ for each in CHECKS])
def test_it_has_the_manners_of_scikit_learn(checked: estimator_checks.partial):
    checked("SmallestClassifier", SmallestClassifier())


@pytest.mark.nightly
def test_a_clone_has_its_parameters_and_no_network(fitted: SmallestClassifier):
    copy = clone(fitted)

    assert copy is not fitted
    assert copy.time == fitted.time
    assert not hasattr(copy, "network_")


@pytest.mark.nightly
def test_it_is_certified_on_other_images(fitted: SmallestClassifier, tmp_path: Path):
    images, labels = _crosses(60, seed=2)
    first = fitted.certify(images, labels)
    first.save(tmp_path / "certificate.json")

    assert check(tmp_path / "certificate.json") == first
    assert (len(first.seeds), first.test_size, str(first.architecture)) == (20, 60, fitted.network_)
    # Whoever asks for more seeds is told what the first ones showed.
    assert fitted.certify(images, labels, seeds=25) == first
    with pytest.raises(UsageError):
        fitted.certify(images[::-1], labels[::-1], seeds=3)
    with pytest.raises(DataError, match="1 of the 60"):
        fitted.certify(np.concatenate([images[:59], _crosses(120, seed=0)[0][:1]]), labels)
