"""``SmallestClassifier``: progress output, certificates and groups."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.data.datasets import dataset
from harness.evidence.certificate import recomputed
from harness.interface import api, verification
from harness.interface.estimator import SmallestClassifier
from harness.system.errors import DataError, UsageError
from harness.system.terminal import say


def _bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images with a horizontal or vertical bar in normal noise, and labels."""
    random = np.random.default_rng(seed)
    images, labels = random.normal(0, 0.3, (count, 6, 6)), np.tile(["lies", "stands"], count // 2)
    for image, label, position in zip(images, labels, random.integers(0, 6, count), strict=True):
        image[position if label == "lies" else slice(None), slice(None) if label == "lies" else position] += 3
    return images, labels


@pytest.fixture(scope="module")
def estimator_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("estimator")
        patch.setenv("HARNESS_WORKSPACE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def fitted(estimator_folder: Path) -> SmallestClassifier:
    classifier = SmallestClassifier(0.8, limits="parameters<=2000", time="40s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a busy machine may lack the time for a verification
        return classifier.fit(*_bars(120, seed=0))


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_fit_prints_only_if_verbose(
    verbose: int, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def search(*arguments: object, **options: object) -> None:
        say("trial 1")
        raise UsageError("enough")

    monkeypatch.setattr(api, "search", search)
    with pytest.raises(ValueError, match="enough"):
        SmallestClassifier(0.8, verbose=verbose).fit(*_bars(120, seed=0))

    assert capsys.readouterr() == ("", "trial 1\n" if verbose else "")


@pytest.mark.slow
def test_certify_uses_unseen_images(fitted: SmallestClassifier, tmp_path: Path):
    images, labels = _bars(60, seed=2)
    certificate = fitted.certify(images, labels)
    certificate.save(tmp_path / "certificate.json")

    assert recomputed(tmp_path / "certificate.json") == certificate
    assert (len(certificate.seeds), certificate.test_size, str(certificate.architecture)) == (20, 60, fitted.network_)
    # A request for more seeds returns the first certificate.
    assert fitted.certify(images, labels, seeds=25) == certificate
    with pytest.raises(UsageError):
        fitted.certify(images[::-1], labels[::-1], seeds=3)
    with pytest.raises(DataError, match="1 of the 60"):
        fitted.certify(np.concatenate([images[:59], _bars(120, seed=0)[0][:1]]), labels)


def test_groups_reach_search_and_certificate(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    images, labels = _bars(120, seed=0)
    test_images, test_labels = _bars(60, seed=2)
    persons = np.arange(120) // 4
    monkeypatch.setattr(api, "search", lambda *arguments, **options: None)
    monkeypatch.setattr(SmallestClassifier, "_keep_network", lambda self, _: self.__dict__.update(_trial=0, network_=0))
    monkeypatch.setattr(verification, "certificate", lambda trial, seeds, **options: options["dataset"])
    classifier = SmallestClassifier(0.8).fit(images, labels, groups=persons)
    name: object = classifier.certify(test_images, test_labels, groups=np.arange(60) // 12 + 100)

    assert sum(classifier.data_.test_group_sizes) == classifier.data_.test_size
    assert set(classifier.data_.test_group_sizes) == {4}
    assert dataset(str(name)).test_group_sizes == (12,) * 5
    for groups in (None, np.arange(60) // 12, np.arange(59)):
        with pytest.raises(DataError):
            classifier.certify(test_images, test_labels, groups=groups)
    with pytest.raises(DataError):
        SmallestClassifier(0.8).fit(images, labels).certify(test_images, test_labels, groups=np.arange(60))

    # Pickles of earlier versions have the attribute ``_given``, and pickles without groups lack ``_groups``.
    del classifier._groups
    assert "_given" in vars(classifier)
    assert classifier.certify(test_images, test_labels)

    with pytest.raises(ValueError, match="two channels"):
        classifier.set_params(channels="two channels").fit(images, labels)
    with pytest.raises(ValueError, match="not fitted"):
        classifier.certify(test_images, test_labels)
