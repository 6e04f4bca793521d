"""The tables outside of the harness: each adapter runs fifty evaluations, and every result is a row of the table.

The tests of optional packages need optunahub, smac, syne-tune[extra], neural-pipeline-search or mlcroissant.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.spaces.notation import parse_space
from harness.spaces.space import enumerate_draws
from measurements import table_metadata
from tests.conftest import REPOSITORY, example

TABLES = REPOSITORY / "measurements" / "tables"
NAME = "mnist-bench"
TARGET_PCT = 98.68
ROWS = [*csv.DictReader((TABLES / NAME / "table.csv").read_text(encoding="utf-8").splitlines())]
BY_RUN = {(row["architecture"], int(row["seed"]), int(row["rung"])): row for row in ROWS}
SPACE = parse_space(json.loads((TABLES / NAME / "table.json").read_text(encoding="utf-8"))["facts"]["space"])
NETWORKS = [(draw.indices.items(), str(draw.architecture)) for draw in enumerate_draws(SPACE)]


def row_of(config: Mapping[str, Any], seed: int = 0, rung: int = 8) -> dict[str, str]:
    """Return the line of the table for a configuration, found by comparison with all networks of the space."""
    items = {name: int(value) for name, value in config.items()}.items()
    [network] = [text for indices, text in NETWORKS if indices <= items]
    return BY_RUN[network, seed, rung]


def cost_of(row: Mapping[str, str]) -> float:
    shortfall = math.log((100.01 - float(row["validation_accuracy_pct"])) / (100.01 - TARGET_PCT))
    return math.log(int(row["parameters"])) + 5 * max(0.0, shortfall)


def assert_trials_are_rows(trials: list[Any]) -> None:
    for trial in trials:
        row = row_of(trial.params)
        assert trial.value == int(row["parameters"])
        assert trial.constraints == {"accuracy": TARGET_PCT - float(row["validation_accuracy_pct"])}
    assert len(trials) == 50


def test_optuna():
    assert_trials_are_rows(example("table_optuna").study(harness.bench.problem(NAME)).trials)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Path]:
    # As published: the folder without the repository.
    shutil.copytree(TABLES, tmp_path / "measurements" / "small_network_tables")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("optunahub_registry.package")]:
        del sys.modules[name]


def test_optunahub(registry: Path):
    hub = pytest.importorskip("optunahub")
    import optuna

    module = hub.load_local_module("measurements/small_network_tables", registry_root=str(registry))
    problem = module.Problem(NAME)
    study = optuna.create_study(directions=problem.directions)
    study.optimize(problem, n_trials=50)

    assert_trials_are_rows(study.trials)
    for name in json.loads((TABLES / "spaces.json").read_text(encoding="utf-8")):
        assert module.Problem(name).search_space == harness.bench.problem(name).space
    for wrong, allowed in (({"seed": 99}, "0, 1"), ({"table": "digits-all-16"}, NAME)):
        with pytest.raises(ValueError, match=allowed):
            module.Problem(**wrong)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_smac(tmp_path: Path):
    pytest.importorskip("smac")
    runs = example("table_smac").optimise(harness.bench.problem(NAME), tmp_path).runhistory

    for key, value in runs.items():
        row = row_of(dict(runs.get_config(key.config_id)), key.seed % 2)
        assert value.cost == pytest.approx(cost_of(row), rel=1e-12)
    assert len(runs) == 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_neps(tmp_path: Path):
    pytest.importorskip("neps")
    evaluations = example("table_neps").optimise(harness.bench.problem(NAME), tmp_path / "neps")

    for evaluation in evaluations.to_dict("records"):
        config = {name.removeprefix("config."): value for name, value in evaluation.items() if "config." in name}
        row = row_of(config, rung=2 ** (config.pop("rung") - 1))
        assert evaluation["objective_to_minimize"] == pytest.approx(cost_of(row), rel=1e-12)
        assert evaluation["cost"] == float(row["seconds"])
    assert len(evaluations) == 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_syne_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("syne_tune")
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    results = example("table_syne_tune").tune(harness.bench.problem(NAME)).to_dict("records")

    for result in results:
        config = {name.removeprefix("config_"): value for name, value in result.items() if "config_" in name}
        row = row_of(config, rung=result["epochs"])
        assert result["cost"] == pytest.approx(cost_of(row), rel=1e-12)
        assert result["seconds"] == float(row["seconds"])
    ended_trials = [result for result in results if result["epochs"] == 8 or result["st_decision"] == "STOP"]
    assert len(ended_trials) >= 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_syne_tunes_repository_of_blackboxes(tmp_path: Path):
    pytest.importorskip("fastparquet")
    tabular = pytest.importorskip("syne_tune.blackbox_repository.blackbox_tabular")
    blackbox = example("table_syne_tune").blackbox(harness.bench.problem(NAME))
    tabular.serialize({NAME: blackbox}, tmp_path / "tables")
    stored = tabular.deserialize(tmp_path / "tables")[NAME]

    for config in blackbox.all_configurations()[::100]:
        for seed in (0, 1):
            values = stored.objective_function(config, seed=seed)
            costs = [(cost_of(row), float(row["seconds"])) for row in (row_of(config, seed, 2**i) for i in range(4))]
            # Syne Tune stores 32 bits per value.
            assert values == pytest.approx(np.array(costs), rel=1e-6)


# Files ------------------------------------------------------------------------------------------------------

LOADER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import load
frame = load.read("mnist-bench")
row = load.rows_of(frame, json.loads(sys.argv[2]))
heavy = {"harness", "torch", "optuna"} & {*sys.modules}
absent = bool(row.pop("deep/unit.2*").isna().all())
print(json.dumps([row.to_dict("list"), absent, len(load.read("spoken-all-24")), sorted(heavy)]))
"""


def run_loader(folder: Path, config: Mapping[str, int]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOADER, str(folder), json.dumps(config)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_loader_imports_only_pandas_and_returns_rows(tmp_path: Path):
    folder = shutil.copytree(TABLES, tmp_path / "tables")
    config = {"act": 1, "pool": 0, "early": 1, "late": 2, "unit*": 0, "deep/group": 1, "deep/unit.2*": 2, "head": 1}
    rows, is_absent, network_count, heavy = json.loads(run_loader(folder, config).stdout)

    expected = [row_of(config, seed, rung) for seed in (0, 1) for rung in (1, 2, 4, 8)]
    assert rows["validation_accuracy_pct"] == [float(row["validation_accuracy_pct"]) for row in expected]
    assert rows["hash"] == [row["hash"] for row in expected]
    assert rows["late"] == [2] * 8
    assert (is_absent, network_count, heavy) == (True, 120, [])

    damaged = folder / NAME / "table.csv"
    damaged.write_text(damaged.read_text(encoding="utf-8").replace("94.01", "94.02"), encoding="utf-8")
    answer = run_loader(folder, config)
    assert (answer.returncode, "ValueError" in answer.stderr) == (1, True)


def test_committed_metadata_equal_generated_metadata():
    for name, text in table_metadata.contents().items():
        assert (TABLES / name).read_text(encoding="utf-8") == text, "run python -m measurements.table_metadata"
    assert (TABLES / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def test_checksums_cover_all_files():
    lines = (TABLES / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    paths = [path for pattern in ("*/*", "*.json") for path in TABLES.glob(pattern) if "__pycache__" not in path.parts]

    assert sums == {
        path.relative_to(TABLES).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


@pytest.mark.filterwarnings("ignore")
def test_croissant_metadata_are_valid_and_read_rows():
    dataset = pytest.importorskip("mlcroissant").Dataset(TABLES / "croissant.json")
    issues = dataset.metadata.ctx.issues

    assert (issues.errors, issues.warnings) == (set(), set())
    records = [
        {name.partition("/")[2]: value for name, value in record.items()} for record in dataset.records("mnist-bench")
    ]
    assert len(records) == len(ROWS)
    for record, row in zip(records, ROWS, strict=True):
        assert record["hash"].decode() == row["hash"]
        assert record["validation_accuracy_pct"] == float(row["validation_accuracy_pct"])
        assert (record["seed"], record["rung"]) == (int(row["seed"]), int(row["rung"]))
