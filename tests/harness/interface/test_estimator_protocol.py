"""The classifier for scikit-learn: protocol, labels and columns in all forms, and errors that are ValueErrors."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, get_scorer, log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from harness.evidence.leaderboard_table import Verification
from harness.interface import api
from harness.interface.estimator import SmallestClassifier
from harness.pages import study_page
from harness.searching import finder
from harness.searching.request import SearchRequest
from harness.storage.mirror import Mirror
from harness.studies.names import group_of
from harness.system.errors import UsageError
from harness.system.option import options_of
from harness.training import recipe
from tests.fakes import train_in_this_process


@pytest.fixture(scope="module")
def fast_searches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Searches of a single network, with few draws and few epochs, in this process, without pages.

    The clock is stopped, because proposals depend on the elapsed time, and two fits of the same data must be equal on
    a busy machine.
    """
    trials = options_of(SearchRequest)["trials"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKSPACE", str(tmp_path_factory.mktemp("guest")))
        train_in_this_process(patch)
        patch.setattr(recipe, "_MAX_FACTOR", 2)
        patch.setattr(finder, "_MAX_SURROGATE_ATTEMPTS", 50)
        patch.setattr(finder, "_PATIENCE", 1)
        patch.setattr(finder.Finder.draw_options, "__defaults__", (50,))
        patch.setattr(Mirror, "write_file", lambda *_: None)
        patch.setattr(study_page, "write_report", lambda folder, *_, **__: folder / "report.html")
        patch.setattr(trials, "default", 1)
        patch.setattr(time, "monotonic", lambda: 0.0)
        patch.setattr(time, "perf_counter", lambda: 0.0)
        yield


def _steps(labels: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    y = np.tile(labels, 60 // len(labels))
    positions = np.searchsorted(np.sort(labels), y)
    return np.random.default_rng(seed).normal(size=(60, 8)) + 3 * positions[:, None], y


def _classifier(**changes: Any) -> SmallestClassifier:
    usual: dict[str, Any] = {"target": 0.6, "limits": "parameters<=300", "time": "1m", "workers": 1}
    return SmallestClassifier(**usual | changes)


@pytest.fixture(scope="module")
def fitted(fast_searches: None) -> SmallestClassifier:
    return _classifier(target=0.9).fit(*_steps([-1, 1]))


def test_scorers_equal_metrics_of_predictions(fitted: SmallestClassifier):
    X, y = _steps([-1, 1], seed=1)
    shares = fitted.predict_proba(X)

    assert fitted.classes_.tolist() == [-1, 1]
    assert (y == fitted.predict(X)).mean() > 0.9
    assert get_scorer("roc_auc")(fitted, X, y) == roc_auc_score(y == 1, shares[:, 1]) > 0.9
    assert get_scorer("neg_log_loss")(fitted, X, y) == pytest.approx(-log_loss(y == 1, shares[:, 1]))


ORDERS = [["9", "10", "2"], *(pytest.param(each, marks=pytest.mark.nightly) for each in ([10, 9, 2], [True, False]))]


@pytest.mark.parametrize("labels", ORDERS)
def test_classes_are_in_order_of_unique_labels(labels: list[Any], fast_searches: None):
    X, y = _steps(labels)
    table = pd.DataFrame(X, columns=[*"abcdefgh"])
    model = _classifier(target=0.9).fit(table, pd.Series(y))

    assert model.classes_.tolist() == np.unique(y).tolist()
    assert model.feature_names_in_.tolist() == [*"abcdefgh"]
    assert model.score(table, y) > 0.9


def test_tables_lists_and_columns_give_predictions_of_arrays(fitted: SmallestClassifier):
    X, y = _steps([-1, 1], seed=1)
    weights = np.arange(60)
    classes = fitted.predict(X)

    assert all((fitted.predict(data) == classes).all() for data in (pd.DataFrame(X), X.tolist(), torch.from_numpy(X)))
    for data in (y[:, None], pd.Series(y), y.tolist(), pd.DataFrame(y)):
        assert fitted.score(X, data) == accuracy_score(y, classes)
        assert fitted.score(X, data, sample_weight=weights) == accuracy_score(y, classes, sample_weight=weights)


def test_fit_uses_weights_verified_by_earlier_study(fitted: SmallestClassifier, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "train", lambda *_, **__: pytest.fail("it was trained again, and never tested"))
    second_model = _classifier(target=0.9).fit(*_steps([-1, 1]))

    assert second_model.study_.name != fitted.study_.name
    assert (second_model.network_, second_model.verified_) == (fitted.network_, True)
    X, _ = _steps([-1, 1], seed=1)
    assert (second_model.predict_proba(X) == fitted.predict_proba(X)).all()


def test_failed_seed_is_not_used_for_predictions(fitted: SmallestClassifier, monkeypatch: pytest.MonkeyPatch):
    load, models = api.load, list[Any]()

    def load_failed_first(*seed: Any) -> Any:
        model = load(*seed)
        if not models:
            torch.nn.utils.vector_to_parameters(torch.zeros(fitted.parameters_), model.parameters())
        models.append(model)
        return model

    monkeypatch.setattr(api, "load", load_failed_first)
    assert _classifier(target=0.9).fit(*_steps([-1, 1])).score(*_steps([-1, 1], seed=1)) > 0.9
    assert len(models) > 1


def test_network_below_target_predicts_with_a_warning(fast_searches: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Verification, "passed", False)
    with pytest.warns(UserWarning, match="not verified at 0.6"):
        model = _classifier(random_state=7).fit(*_steps([0, 1], seed=3))
    assert not model.verified_


WRONG_PARAMETERS: dict[str, list[Any]] = {
    "target": [97, 0, -1, True, np.nan, "0.97%"],
    "time": [0, -5, np.inf, "soon"],
    "workers": [0, -1, 257, True],
    "limits": [500, {"parameters": -5}, ["speed<=3"]],
    "minimise": ["speed"],
    "study": ["", "--", None, 3],
    "random_state": [-1, "x", 0.5, True, np.random.default_rng(0)],
}


@pytest.mark.parametrize("name", WRONG_PARAMETERS)
def test_wrong_parameters_raise_value_error_of_one_line(name: str, fast_searches: None):
    for value in WRONG_PARAMETERS[name]:
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            _classifier(**{name: value}).fit(*_steps([0, 1]))


X = np.random.default_rng(0).normal(size=(40, 8))
INVALID_DATA: dict[str, tuple[Any, Any]] = {
    "one class": (X, [1] * 40),
    "lengths": (X, [0, 1] * 19),
    "one of a class": (X, [0, 1, *[2] * 38]),
    "one shade": (0 * X, [0, 1] * 20),
    "six axes": (X.reshape(40, 2, 2, 2, 1, 1), [0, 1] * 20),
    "two columns": (X, X[:, :2] > 0),
    "too few for the target": (X[:10], [0, 1] * 5),
}


@pytest.mark.parametrize("case", INVALID_DATA)
def test_inconsistent_data_raise_value_error(case: str, fast_searches: None):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        _classifier(target=0.9).fit(*INVALID_DATA[case])


def test_images_of_wrong_shape_raise_value_error(fitted: SmallestClassifier):
    X, _ = _steps([-1, 1])
    for images in (X[:, :7], X.reshape(60, 2, 4), X[0], np.full((3, 8), np.nan)):
        with pytest.raises(ValueError, match=r"features|array|images (must )?have the shape|NaN"):
            fitted.predict(images)
    with pytest.raises(ValueError, match="not fitted"):
        SmallestClassifier().certify(*_steps([-1, 1]))


@pytest.mark.parametrize("state", [None, np.random.RandomState(3), np.int64(3), 3])
def test_random_state_is_the_seed_or_draws_the_seed(state: Any, fast_searches: None, monkeypatch: pytest.MonkeyPatch):
    seeds, studies = list[int](), list[str]()

    def search(data: Any, *, seed: int, study: str, **_: Any) -> None:
        seeds.append(seed)
        studies.append(study)
        raise UsageError("enough")

    monkeypatch.setattr(api, "search", search)
    for _ in range(2):
        with pytest.raises(ValueError, match="enough"):
            _classifier(random_state=state).fit(*_steps([0, 1]))
    assert len({*seeds}) == (1 if isinstance(state, int | np.integer) else 2)
    assert studies[0] != studies[1]


def test_studies_of_all_clones_form_a_group(fast_searches: None, monkeypatch: pytest.MonkeyPatch):
    groups = list[str | None]()

    def search(data: Any, *, study: str, **_: Any) -> None:
        groups.append(group_of(study, data.name))
        raise UsageError("enough")

    monkeypatch.setattr(api, "search", search)
    with pytest.raises(ValueError, match="enough"):
        cross_val_score(_classifier(study="parts"), *_steps([0, 1]), cv=3)
    assert groups == ["parts"] * 3


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "certify"])
def test_method_before_fit_raises_not_fitted_error(method: str):
    X, y = _steps([0, 1])
    for estimator in (_classifier(), clone(_classifier()), pickle.loads(pickle.dumps(_classifier()))):
        with pytest.raises(NotFittedError):
            getattr(estimator, method)(*([X] if method.startswith("predict") else [X, y]))


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")
def test_estimator_passes_all_checks_of_scikit_learn(fast_searches: None):
    results = check_estimator(_classifier(target=0.4, limits="parameters<=500"), on_skip=None)

    # The first check needs a setting of SciPy; scikit-learn skips the second, because a search ends by the clock.
    skipped = {each["check_name"] for each in results if each["status"] == "skipped"}
    assert skipped == {"check_array_api_input", "check_pipeline_consistency"}
