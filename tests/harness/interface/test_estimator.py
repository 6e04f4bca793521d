"""The estimator keeps scikit-learn's manners."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data.datasets import dataset
from harness.evidence.certificate import check
from harness.interface import api, verification
from harness.interface.estimator import SmallestClassifier
from harness.system.errors import DataError, UsageError
from harness.system.terminal import say


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


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_without_verbose_a_fit_prints_nothing(
    verbose: int, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def search(*arguments: object, **words: object) -> None:
        say("trial 1")
        raise UsageError("enough")

    monkeypatch.setattr(api, "search", search)
    with pytest.raises(ValueError, match="enough"):
        SmallestClassifier(0.8, verbose=verbose).fit(*_crosses(120, seed=0))

    assert capsys.readouterr() == ("", "trial 1\n" if verbose else "")


@pytest.mark.slow
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


def test_the_groups_of_the_images_reach_the_search_and_the_certificate(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    images, labels = _crosses(120, seed=0)
    others, their_labels = _crosses(60, seed=2)
    persons = np.arange(120) // 4
    monkeypatch.setattr(api, "search", lambda *arguments, **words: None)
    monkeypatch.setattr(
        SmallestClassifier, "_keep_network", lambda classifier, share: setattr(classifier, "_trial", None)
    )
    monkeypatch.setattr(verification, "certificate", lambda trial, seeds, **words: words["dataset"])
    classifier = SmallestClassifier(0.8).fit(images, labels, groups=persons)
    name: object = classifier.certify(others, their_labels, groups=np.arange(60) // 12 + 100)

    assert sum(classifier.data_.test_group_sizes) == classifier.data_.test_size
    assert set(classifier.data_.test_group_sizes) == {4}
    assert dataset(str(name)).test_group_sizes == (12,) * 5
    for groups in (None, np.arange(60) // 12, np.arange(59)):
        with pytest.raises(DataError):
            classifier.certify(others, their_labels, groups=groups)
    with pytest.raises(DataError):
        SmallestClassifier(0.8).fit(images, labels).certify(others, their_labels, groups=np.arange(60))

    # As pickled by a version without groups.
    older = SmallestClassifier(0.8).fit(images, labels)
    del older._groups
    assert older.certify(others, their_labels)
