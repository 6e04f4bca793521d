"""The classifier for scikit-learn: protocol, labels and columns in all forms, and errors that are ValueErrors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, get_scorer, log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from harness.evidence.verification_runs import Verdict
from harness.interface import api
from harness.interface.estimator import SmallestClassifier
from harness.searching import finder
from harness.searching.request import SearchRequest
from harness.studies import mirror
from harness.studies.names import group_of
from harness.system.errors import UsageError
from harness.system.option import options_of
from harness.training import recipe
from reports import study_page
from tests.fakes import train_in_this_process


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Searches of a single network, with few draws and few epochs, in this process, without pages.

    The clock stands still, because the proposals of a search depend on the time so far, and two fits of the same data
    must be equal on a busy machine.
    """
    trials = options_of(SearchRequest)["trials"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKSPACE", str(tmp_path_factory.mktemp("guest")))
        train_in_this_process(patch)
        patch.setattr(recipe, "_LARGEST_FACTOR", 2)
        patch.setattr(finder, "_MOST_SURROGATE_ATTEMPTS", 50)
        patch.setattr(finder, "_PATIENCE", 1)
        patch.setattr(finder.Finder.draw_options, "__defaults__", (50,))
        patch.setattr(mirror, "write_database", lambda *_: None)
        patch.setattr(study_page, "write_report", lambda folder, *_, **__: folder / "report.html")
        patch.setattr(trials, "default", 1)
        patch.setattr(time, "monotonic", lambda: 0.0)
        patch.setattr(time, "perf_counter", lambda: 0.0)
        yield


def _steps(labels: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    y = np.tile(labels, 60 // len(labels))
    places = np.searchsorted(np.sort(labels), y)
    return np.random.default_rng(seed).normal(size=(60, 8)) + 3 * places[:, None], y


def _classifier(**changes: Any) -> SmallestClassifier:
    usual: dict[str, Any] = {"target": 0.6, "limits": "parameters<=300", "time": "1m", "workers": 1}
    return SmallestClassifier(**usual | changes)


@pytest.fixture(scope="module")
def fitted(quick: None) -> SmallestClassifier:
    return _classifier(target=0.9).fit(*_steps([-1, 1]))


def test_scorers_of_scikit_learn_say_what_is_true(fitted: SmallestClassifier):
    X, y = _steps([-1, 1], seed=1)
    shares = fitted.predict_proba(X)

    assert fitted.classes_.tolist() == [-1, 1]
    assert (y == fitted.predict(X)).mean() > 0.9
    assert get_scorer("roc_auc")(fitted, X, y) == roc_auc_score(y == 1, shares[:, 1]) > 0.9
    assert get_scorer("neg_log_loss")(fitted, X, y) == pytest.approx(-log_loss(y == 1, shares[:, 1]))


ORDERS = [["9", "10", "2"], *(pytest.param(each, marks=pytest.mark.nightly) for each in ([10, 9, 2], [True, False]))]


@pytest.mark.parametrize("labels", ORDERS)
def test_columns_are_in_the_order_of_unique_labels(labels: list[Any], quick: None):
    X, y = _steps(labels)
    table = pd.DataFrame(X, columns=[*"abcdefgh"])
    model = _classifier(target=0.9).fit(table, pd.Series(y))

    assert model.classes_.tolist() == np.unique(y).tolist()
    assert model.feature_names_in_.tolist() == [*"abcdefgh"]
    assert model.score(table, y) > 0.9


def test_tables_lists_and_columns_are_what_arrays_are(fitted: SmallestClassifier):
    X, y = _steps([-1, 1], seed=1)
    weights = np.arange(60)
    due = fitted.predict(X)

    assert all((fitted.predict(same) == due).all() for same in (pd.DataFrame(X), X.tolist(), torch.from_numpy(X)))
    for same in (y[:, None], pd.Series(y), y.tolist(), pd.DataFrame(y)):
        assert fitted.score(X, same) == accuracy_score(y, due)
        assert fitted.score(X, same, sample_weight=weights) == accuracy_score(y, due, sample_weight=weights)


def test_the_weights_that_another_study_has_verified_predict(
    fitted: SmallestClassifier, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(api, "train", lambda *_, **__: pytest.fail("it was trained again, and never tested"))
    again = _classifier(target=0.9).fit(*_steps([-1, 1]))

    assert again.study_.name != fitted.study_.name
    assert (again.network_, again.verified_) == (fitted.network_, True)
    X, _ = _steps([-1, 1], seed=1)
    assert (again.predict_proba(X) == fitted.predict_proba(X)).all()


def test_a_seed_that_failed_does_not_predict(fitted: SmallestClassifier, monkeypatch: pytest.MonkeyPatch):
    load, models = api.load, list[Any]()

    def load_one(*seed: Any) -> Any:
        model = load(*seed)
        if not models:
            torch.nn.utils.vector_to_parameters(torch.zeros(fitted.parameters_), model.parameters())
        models.append(model)
        return model

    monkeypatch.setattr(api, "load", load_one)
    assert _classifier(target=0.9).fit(*_steps([-1, 1])).score(*_steps([-1, 1], seed=1)) > 0.9
    assert len(models) > 1


def test_a_network_that_missed_predicts_with_a_warning(quick: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Verdict, "passed", False)
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
def test_wrong_parameters_are_value_errors_of_one_line(name: str, quick: None):
    for value in WRONG_PARAMETERS[name]:
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            _classifier(**{name: value}).fit(*_steps([0, 1]))


X = np.random.default_rng(0).normal(size=(40, 8))
WRONG: dict[str, tuple[Any, Any]] = {
    "one class": (X, [1] * 40),
    "lengths": (X, [0, 1] * 19),
    "one of a class": (X, [0, 1, *[2] * 38]),
    "one shade": (0 * X, [0, 1] * 20),
    "six axes": (X.reshape(40, 2, 2, 2, 1, 1), [0, 1] * 20),
    "two columns": (X, X[:, :2] > 0),
    "too few for the target": (X[:10], [0, 1] * 5),
}


@pytest.mark.parametrize("case", WRONG)
def test_data_that_do_not_hold_together_are_value_errors(case: str, quick: None):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        _classifier(target=0.9).fit(*WRONG[case])


def test_later_images_of_another_shape_are_value_errors(fitted: SmallestClassifier):
    X, _ = _steps([-1, 1])
    for other in (X[:, :7], X.reshape(60, 2, 4), X[0], np.full((3, 8), np.nan)):
        with pytest.raises(ValueError, match=r"features|array|images (must )?have the shape|NaN"):
            fitted.predict(other)
    with pytest.raises(ValueError, match="not fitted"):
        SmallestClassifier().certify(*_steps([-1, 1]))


@pytest.mark.parametrize("state", [None, np.random.RandomState(3), np.int64(3), 3])
def test_a_seed_is_given_or_drawn(state: Any, quick: None, monkeypatch: pytest.MonkeyPatch):
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


def test_the_fits_of_all_clones_are_a_group(quick: None, monkeypatch: pytest.MonkeyPatch):
    groups = list[str | None]()

    def search(data: Any, *, study: str, **_: Any) -> None:
        groups.append(group_of(study, data.name))
        raise UsageError("enough")

    monkeypatch.setattr(api, "search", search)
    with pytest.raises(ValueError, match="enough"):
        cross_val_score(_classifier(study="parts"), *_steps([0, 1]), cv=3)
    assert groups == ["parts"] * 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_it_passes_every_check_of_scikit_learn(quick: None):
    results = check_estimator(_classifier(target=0.4, limits="parameters<=500"), on_skip=None)

    # The first check needs a setting of SciPy; scikit-learn leaves out the second, because a search ends by the clock.
    skipped = {each["check_name"] for each in results if each["status"] == "skipped"}
    assert skipped == {"check_array_api_input", "check_pipeline_consistency"}
