"""Functions of ``import harness``: examples in docstrings, checks of arguments, and a fast import."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.interface import api
from harness.spaces.space_errors import NotationError
from harness.system.errors import ContentError, UsageError
from tests.conftest import REPOSITORY
from tests.fakes import train_in_this_process

SPACE = "net = conv3x3({4, 6}) bn relu | maxpool(4) | gap | linear(10)"


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the search space of the example of ``search``."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "mine.space").write_text(SPACE, encoding="utf-8")
    return folder


def _enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    train_in_this_process(patch)
    patch.setenv("HARNESS_WORKSPACE", str(folder))
    patch.delenv("HARNESS_DATA", raising=False)
    patch.chdir(folder)


@pytest.fixture
def in_example_folder(example_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _enter(example_folder, monkeypatch)


@pytest.fixture(scope="module")
def failed_examples(example_folder: Path) -> dict[str, int]:
    """The number of failed lines in the example of each function; ``search`` creates the study of further examples."""
    first = ["search", "verify"]
    names = dict(vars(api))
    lines = {}
    with pytest.MonkeyPatch.context() as patch:
        _enter(example_folder, patch)
        for name in [*first, *sorted({*harness.__all__} & {*vars(api)} - {*first})]:
            [example] = doctest.DocTestFinder(recurse=False).find(getattr(api, name), globs=names)
            assert example.examples, name
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            lines[name] = runner.run(example, clear_globs=False).failed
    return lines


def test_examples_of_all_functions_run(failed_examples: dict[str, int]):
    assert {name: lines for name, lines in failed_examples.items() if lines} == {}


def test_wrong_arguments_raise_exceptions_with_hints(in_example_folder: None):
    with pytest.raises(NotationError) as caught:
        harness.explain("sed4")
    assert caught.value.__notes__ == ["did you mean 'seed4'?"]
    with pytest.raises(TypeError, match=r"^harness.search: .*'targt_pct'; did you mean 'target_pct'\?$"):
        harness.search("mnist-5k", targt_pct=97)  # type: ignore[call-arg]
    with pytest.raises(ContentError, match="recipes: fast, small, "):
        harness.load("linear(10)", recipe="nope")


REFUSED: list[tuple[str, str, list[Any]]] = [
    *((name, "network", [None, 5, b"x"]) for name in ("explain", "train", "verify", "load", "evaluate")),
    ("explain", "classes", [1, True, -3, 2.5]),
    *((name, "seed", [-1, True, 0.5]) for name in ("train", "load", "evaluate")),
    *((name, "epochs", [0, True, [3]]) for name in ("train", "verify")),
    ("verify", "seeds", [0, True, 1_001, math.nan]),
    ("verify", "workers", [-1, 0, 1_000_000]),
    *((name, "target_pct", [0.97, True, math.inf]) for name in ("verify", "leaderboard")),
    ("verify", "name", [5]),
    ("export", "onnx", [5, "a\0b"]),
    ("export", "pytorch", [None]),
    ("search", "limits", ["macs<=5,macs>=10"]),
    ("leaderboard", "dataset", ["mnits", 5]),
    ("study", "name", [5, True]),
    *(("report", argument, [5, True]) for argument in ("of", "path")),
]


@pytest.mark.parametrize(("name", "argument", "values"), REFUSED, ids=[f"{each[0]}-{each[1]}" for each in REFUSED])
def test_functions_refuse_invalid_arguments(name: str, argument: str, values: list[Any], in_example_folder: None):
    network = {} if name in ("leaderboard", "study", "report", "search") else {"network": "conv3x3(4) gap linear(10)"}
    for value in values:
        with pytest.raises(UsageError, match=argument.replace("dataset", "data")) as caught:
            getattr(harness, name)(**network | {argument: value})
        assert "--" not in caught.value.one_line  # which is an option of a command


@pytest.mark.slow
def test_notebook_runs_and_results_have_representations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((REPOSITORY / "examples" / "first_search.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "notebook", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names)
                assert getattr(value, "_repr_html_", value.__repr__)()
    assert (tmp_path / "report.html").exists()


def test_package_has_eleven_functions_and_two_classes():
    import harness.searching.loop

    assert dir(harness) == sorted(harness.__all__)
    are_functions = [inspect.isfunction(getattr(harness, name)) for name in harness.__all__]
    assert (are_functions.count(True), are_functions.count(False)) == (11, 2)


def test_import_does_not_load_torch_or_click():
    program = "import sys, harness; print(*{name.partition('.')[0] for name in sys.modules} & {'torch', 'click'})"
    child = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert child.stdout == "\n"


def test_study_has_trials_table_and_html(failed_examples: dict[str, int], in_example_folder: None):
    study = harness.study("mine")

    # Two requested trials after four baselines.
    assert [trial.number for trial in study.trials] == list(range(6))
    assert {trial.parameters for trial in study.trials[4:]} == {94, 136}
    frame = study.to_frame()
    assert list(frame["hash"]) == [trial.hash for trial in study.trials]
    assert (frame["validation_soft_errors"] > 0).all()
    assert (frame["validation_loss"] > 0).all()
    assert study.answer is None
    assert study.nearest in study.trials
    html = study._repr_html_()
    assert "<table" in html
    assert "<svg" in html


def test_trial_is_verified_with_own_recipe_and_target(failed_examples: dict[str, int], in_example_folder: None):
    trial = harness.study("mine").trials[-1]

    verdict = harness.verify(trial, 1, engine="torch", workers=1)

    evidence = verdict.record
    assert (evidence.recipe_hash, evidence.target_pct, evidence.dataset) == (trial.recipe.hash, 90, "mnist-5k")
    assert verdict.document()["tier"] == verdict.tier
    assert harness.load(verdict).training is False


def test_rows_inside_residual_sum_add_up_to_row_of_sum():
    network = "conv3x3(4) res(conv3x3(4, tie=a) bn(tie=b) relu conv3x3(4, tie=a) bn(tie=b)) gap linear(10)"
    _, total, *inner = [(row[2], row[3]) for row in harness.explain(network).rows()][:7]

    assert [parameters for parameters, _ in inner] == ["144", "8", "0", "shared", "0"]
    assert total == ("152", f"{2 * 144 * 28 * 28:,}")
    assert sum(int(macs.replace(",", "")) for _, macs in inner) == 2 * 144 * 28 * 28
