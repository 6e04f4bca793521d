"""A classifier with the interface of scikit-learn; ``certify`` returns a certificate that can be recomputed."""

from __future__ import annotations

import math
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from harness.data import training_images, user
from harness.data.datasets import plain_name
from harness.data.user.labels import read_labels
from harness.evidence.certificate import Certificate
from harness.evidence.record import read_all
from harness.interface import api, verification
from harness.searching.option_types import SHARE
from harness.spaces.space_errors import SearchSpaceError
from harness.studies.names import fit_name
from harness.studies.standing import Standing
from harness.system.errors import DataError, DeviceError, HarnessError, StorageError, UsageError
from harness.system.files import workspace
from harness.system.option import converted
from harness.system.settings import fixed_settings
from harness.system.terminal import silent

if TYPE_CHECKING:
    from harness.interface.results import Study, Trial


class _WrongArgument(UsageError, ValueError):
    """Raise when an argument of the estimator is invalid; also a ValueError, as scikit-learn's tools expect."""


class _WrongData(DataError, ValueError):
    """Raise when ``X`` and ``y`` are invalid or inconsistent; also a ValueError."""


class SmallestClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The smallest network that reaches a target accuracy.

    Args:
        target: Accuracy to reach on images that no search reads, as a share from 0.01 to 1.
        limits: Constraints on every network, such as ``parameters<=5000,macs<=1000000`` or {"parameters": 5000}; None
            for no constraint.
        minimise: Metric to minimise, as for ``--minimise`` of ``harness search``.
        time: Time budget of each ``fit``, in seconds or as text such as ``5m``.
        random_state: Seed of the search, or a RandomState that draws the seed; None for a random seed.
        workers: Number of training processes; ``auto`` for one per core.
        channels: Axis of the channels in ``X``, ``first`` or ``last``; required if both are possible, and for series
            with channels. ``none`` states that narrow images are not series.
        study: Name of the group of studies. Each fit is a study of its own; the fits of all clones in a grid search
            belong to one group, which ``harness studies --remove NAME`` removes.
        verbose: 0 for no output on stderr, except Python warnings.

    Attributes:
        classes_: Labels in the order of ``predict_proba``, the order of ``numpy.unique``.
        network_: Notation of the network.
        study_: The search, as returned by ``harness.search``.
        data_: Data set made from ``X`` and ``y``; a fifth of the images is the locked test part.
        verified_: Whether the network was verified at the target; if not, ``fit`` warns.
    """

    def __init__(
        self,
        target: float = 0.97,
        *,
        limits: str | Sequence[str] | Mapping[str, int] | None = "parameters<=5000",
        minimise: str = "parameters",
        time: str | float = "5m",
        random_state: Any = 0,
        workers: int | str = "auto",
        channels: str | None = None,
        study: str = "fitted",
        verbose: int = 1,
    ) -> None:
        self.target = target
        self.limits = limits
        self.minimise = minimise
        self.time = time
        self.random_state = random_state
        self.workers = workers
        self.channels = channels
        self.study = study
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """``X`` may have three axes, and results depend on the clock."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.non_deterministic = True
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None) -> SmallestClassifier:
        """Search for a network, verify it on the test part, and keep the best seed for predictions.

        The best seed makes the fewest errors on the remaining images. If no network is verified in time, the best
        available network predicts, and a UserWarning states the reason.

        Args:
            X: (images, rows, columns[, channels]) or (series, steps). A table is read as series.
            y: Integers or texts, (images,) or (images, 1).
            groups: Group of each image, such as the person; no split divides a group, and verdicts count groups.

        Returns:
            The fitted estimator.

        Raises:
            DataError: ``X`` and ``y`` are invalid or inconsistent (also a ValueError).
            UsageError: An argument is invalid, no network was trained in time, or too few images are given for the
                target (also a ValueError).
        """
        if y is None:
            raise _WrongData("SmallestClassifier requires y to be passed, but the target y is None")
        with _errors_as_value_errors():
            self.__dict__.pop("network_", None)  # not fitted until the end of this fit
            share = converted("target", SHARE, self.target)
            if not isinstance(self.study, str) or not plain_name(self.study):
                raise UsageError(f"study must be a text with a letter from a to z or a digit, got {self.study!r:.60}")
            if np.asarray(y).ndim > 1:
                # scikit-learn refuses one-hot labels without a hint.
                read_labels(y, "y")
            numbers, labels = self._validated(X, y)
            check_classification_targets(labels)
            seed = self.random_state
            if not isinstance(seed, Integral):
                seed = check_random_state(seed).randint(2**31)
            self.data_ = user.Data.from_arrays(self.study, numbers, labels, groups=groups, channels=self.channels)
            self.classes_ = np.unique(labels)
            self._given = numbers, labels  # of this name in pickles of earlier versions
            self._groups = groups
            self._columns = [self.data_.class_names.index(_name(label)) for label in self.classes_.tolist()]
            if len({*self._columns}) < len(self.classes_):
                raise _WrongData("some labels differ only in the Unicode normal form; normalise the labels to NFC")
            with self._output():
                self.study_ = api.search(
                    self.data_,
                    target_pct=100 * share,
                    limits=self.limits or None,
                    minimise=self.minimise,
                    time=self.time,
                    seed=seed,
                    workers=self.workers,
                    study=fit_name(self.data_.name),
                )
            self._keep_network(share)
        return self

    def _keep_network(self, share: float) -> None:
        trial, why_unverified = _answer(self.study_)
        if trial is None:
            advice = self.study_.message or "increase the time"
            raise _WrongArgument(f"no network was trained in {self.time}: {advice}")
        if why_unverified:
            # Level 3 is the caller of ``fit``.
            warnings.warn(f"the fitted network is not verified at {share:.12g}: {why_unverified}", stacklevel=3)
        self._trial = trial
        self.verified_ = not why_unverified
        self.parameters_ = trial.parameters
        folder = workspace().records
        training = (trial.hash, trial.recipe.hash, trial.dataset)
        # A record names only the first study that verified the network.
        records = [each for each in read_all(folder) if (each.hash, each.recipe_hash, each.dataset) == training]
        models = [api.load(each, index) for each in records for index in each.kept_indices(folder)]
        if models:
            # A single seed may fail although the mean is good. Test images must not influence this choice.
            data = training_images.load(self.data_.name)
            pixels = data.train_images.numpy()
            labels = data.train_labels.numpy()
            errors = [(_probabilities(model, pixels).argmax(1) != labels).sum() for model in models]
            self._model = models[int(np.argmin(errors))]
        else:
            with self._output():
                self._model = api.train(trial.network, trial.dataset, recipe=trial.recipe_name).module.eval()
        self.network_ = trial.network

    def _output(self) -> AbstractContextManager[None]:
        return nullcontext() if self.verbose else silent()

    def _validated(self, X: Any, *y: Any) -> Any:
        """Return ``X`` in the original shape after scikit-learn's validation; a pair with the labels if ``y`` is given.

        ``validate_data`` accepts two axes only, so images are flattened. A DataFrame with two axes is passed on
        unchanged, because the column names are validated too.
        """
        array = X if hasattr(X, "ndim") else np.asarray(X)
        table = X
        if array.ndim > 2:
            table = np.asarray(array).reshape(len(array), math.prod(array.shape[1:]))
        if not y:
            return validate_data(self, table, reset=False).reshape(array.shape)
        numbers, labels = validate_data(self, table, *y)
        return numbers.reshape(array.shape), labels

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """Return the class probabilities.

        Args:
            X: Images or series, in the form given to ``fit``.

        Returns:
            Probabilities of the shape (images, classes), in the order of ``classes_``.

        Raises:
            NotFittedError: ``fit`` was not called.
            DataError: The images differ in shape or scale from the fitted images (also a ValueError).
        """
        check_is_fitted(self, "network_")
        with _errors_as_value_errors():
            pixels = user.pixels_of(self.data_, self._validated(X))
            return _probabilities(self._model, pixels)[:, self._columns]

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """Return the most probable label of each image, (images,); arguments and errors as for ``predict_proba``."""
        indices = self.predict_proba(X).argmax(1)
        labels: np.ndarray[Any, Any] = self.classes_[indices]
        return labels

    def certify(self, X_test: Any, y_test: Any, seeds: int = 20, *, groups: Any = None) -> Certificate:
        """Train the network on all fitted images with fresh seeds, declared beforehand, and test each seed once.

        A second call for the same images uses the seeds declared by the first call, regardless of ``seeds``. The
        probability that any certificate for the same test images is false is at most 5 %, if the errors of the seeds
        have a skewness of at most 0.5 and no separate group of worse seeds is smaller than 50 % of the seeds.

        Args:
            X_test: Images that were not used before, in the form given to ``fit``.
            seeds: Number of seeds, at least 20.
            groups: Group of each image, required if ``fit`` was given groups; none of these groups may have been
                fitted. The verdict then counts groups.

        Returns:
            The certificate, which ``harness check`` recomputes.

        Raises:
            NotFittedError: ``fit`` was not called.
            DataError: The images do not match the fitted images, or some of them or of their groups were fitted.
            UsageError: Fewer than 20 seeds are requested.
            ContentError: The allowed chance of a false certificate is spent for these images.
        """
        check_is_fitted(self, "network_")
        with _errors_as_value_errors():
            fitted_images = {image.tobytes() for image in user.pixels_of(self.data_, self._given[0])}
            images = user.pixels_of(self.data_, X_test)
            repetitions = sum(image.tobytes() in fitted_images for image in images)
            if repetitions:
                raise DataError(f"{repetitions} of the {len(images)} images for the certificate were used in fit")
            # Pickles of versions without groups lack the attribute ``_groups``.
            groups_of_parts = {"groups": getattr(self, "_groups", None), "groups_test": groups}
            data = user.Data.from_arrays(
                "certified", *self._given, X_test, y_test, **groups_of_parts, channels=self.channels
            )
            target_pct = round(100 * self.target, 10)
            with self._output():
                return verification.certificate(
                    self._trial, seeds, dataset=data.name, target_pct=target_pct, workers=self.workers
                )


@contextmanager
def _errors_as_value_errors() -> Iterator[None]:
    try:
        with fixed_settings():
            yield
    except (ValueError, StorageError, DeviceError):
        raise
    except (HarnessError, SearchSpaceError) as error:
        kind = _WrongData if isinstance(error, DataError) else _WrongArgument
        raise kind(error.message, hint=error.hint) from error


def _answer(study: Study) -> tuple[Trial | None, str]:
    """Return the trial that predicts, and why the trial is not verified; the reason is empty if verified.

    The trial is the answer, else the nearest miss; None if no network was trained.
    """
    trial = study.answer
    if trial is None:
        return study.nearest, "no network is confirmed, this network is nearest to the target"
    if Standing(study.tier).is_proven:
        return trial, ""
    if study.tier == Standing.MISSED:
        return trial, "the verification missed the target"
    if study.tier == Standing.AT_TARGET:
        return trial, "the mean accuracy reaches the target, the lower bound does not"
    return trial, "the time was too short for the verification"


def _probabilities(model: Any, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import torch

    with torch.no_grad():
        batches = torch.split(torch.from_numpy(pixels), 1_000)  # a limit for the memory
        probabilities = torch.cat([torch.softmax(model.logits(batch), 1) for batch in batches])
    result: np.ndarray[Any, Any] = probabilities.numpy()
    return result


def _name(label: Any) -> str:
    return unicodedata.normalize("NFC", label) if isinstance(label, str) else str(int(label))
