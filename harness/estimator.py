"""A classifier in scikit-learn's manner: fit, predict, score, and a certificate that anybody can compute again."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import api
from harness.data import own
from harness.evidence.certificate import Certificate
from harness.system.errors import DataError, UsageError

if TYPE_CHECKING:

    class _Base:
        pass

else:
    try:  # what scikit-learn's own tools expect of a classifier
        from sklearn.base import BaseEstimator, ClassifierMixin

        _Base = type("_Base", (ClassifierMixin, BaseEstimator), {})
    except ImportError:
        _Base = object


class SmallestClassifier(_Base):
    """The smallest network that reaches a target accuracy.

    Args:
        target: accuracy to reach on images that no search has seen, 0 to 1.
        limits: of every network, such as ``parameters<=5000,macs<=1000000``.
        minimise: ``parameters``, ``macs``, ``weight_bytes``, ``ram_bytes`` or ``latency_us``.
        time: of ``fit``: seconds, or a text such as ``5m``.
        random_state: seed of the search.
        workers: training processes; ``auto`` for one a core.

    Attributes:
        classes_: labels in the order of ``predict_proba``.
        network_: notation of the network; ``parameters_`` how many it has.
        study_: the search, as ``harness.search`` returns it.
        data_: the data set that was made of ``X`` and ``y``; a fifth of them is its locked test part.
    """

    def __init__(
        self,
        target: float = 0.97,
        *,
        limits: str = "parameters<=5000",
        minimise: str = "parameters",
        time: str | float = "5m",
        random_state: int | None = 0,
        workers: int | str = "auto",
    ) -> None:
        self.target, self.limits, self.minimise = target, limits, minimise
        self.time, self.random_state, self.workers = time, random_state, workers

    def fit(self, X: Any, y: Any) -> SmallestClassifier:
        """Search, verify the winner on the part that was set aside, and keep one of its seeds for predictions.

        Args:
            X: (images, rows, columns[, channels]) or (series, steps), bytes or numbers.
            y: labels, integers or texts.

        Raises:
            DataError: they do not hold together.
            UsageError: the target cannot be shown by so few images.
        """
        self._given, labels = (X, y), np.asarray(y)
        self.n_features_in_ = int(np.prod(np.shape(X)[1:]))
        self.data_ = own.from_arrays("fitted", X, y)
        self.classes_ = np.array(sorted({*labels.tolist()}, key=lambda each: self.data_.class_names.index(_name(each))))
        self.study_ = api.search(
            self.data_,
            target_pct=100 * self.target,
            limits=self.limits or None,
            minimise=self.minimise,
            time=self.time,
            seed=self.random_state or 0,
            workers=self.workers,
        )
        records = [each for each in self.study_.records if each.dataset == self.data_.name]
        trial = self.study_.standing or self.study_.nearest
        if trial is None:
            raise UsageError(f"no network was trained in {self.time}; give more time")
        self._trial = trial
        if self.study_.standing is None:
            warnings.warn(f"no network is confirmed at {100 * self.target:g} %; the nearest one predicts", stacklevel=2)
        found = next((each for each in records if each.hash == trial.hash), None)
        if found is not None:
            self._model = api.load(found)
        else:
            epochs = trial.epochs
            recipe = trial.recipe_name.removesuffix(f"-{epochs}ep")
            self._model = api.train(trial.network, self.data_.name, recipe=recipe, epochs=epochs).module
        self.network_, self.parameters_ = trial.network, trial.parameters
        return self

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """Return a probability a class, (images, classes), in the order of ``classes_``."""
        import torch

        pixels = torch.from_numpy(own.pixels_of(self.data_, X))
        with torch.no_grad():
            shares = [torch.softmax(self._model.logits(batch), 1) for batch in torch.split(pixels, 1_000)]
        found: np.ndarray[Any, Any] = torch.cat(shares).numpy()
        return found

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """Return the likeliest label of each image."""
        found: np.ndarray[Any, Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return found

    def score(self, X: Any, y: Any) -> float:
        """Return the share of right predictions."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def certify(self, X_test: Any, y_test: Any, seeds: int = 20) -> Certificate:
        """Train the network on all that was fitted, with fresh seeds that are declared first, and test each once.

        Called again for the same images, it answers with the seeds that were declared first, however many are asked
        for. Certificates of other networks on them share a chance of five per cent that any of them shows too much.

        Args:
            X_test: images that had no part in anything so far; ``y_test`` their labels.
            seeds: twenty or more.

        Raises:
            DataError: they do not suit what was fitted, or some of them were fitted.
            UsageError: fewer than twenty seeds.
            ContentError: the chance of a false certificate is spent for these images.
        """
        fitted, images = (own.pixels_of(self.data_, given) for given in (self._given[0], X_test))
        known = {image.tobytes() for image in fitted}
        repeated = sum(image.tobytes() in known for image in images)
        if repeated:
            raise DataError(f"{repeated} of the {len(images)} images to certify on were fitted; none may be")
        data = own.from_arrays("certified", *self._given, X_test, y_test)
        target_pct = round(100 * self.target, 9)
        return api.certificate(self._trial, seeds, dataset=data.name, target_pct=target_pct, workers=self.workers)


def _name(label: Any) -> str:
    return str(label) if isinstance(label, str) else str(int(label))
