"""The external search methods in measurements/methods take part in the bench, and keep the budget."""

from __future__ import annotations

import importlib
import random
import sys
from dataclasses import replace
from typing import Any

import pytest

from harness.bench.comparison import Trace
from harness.bench.methods import Method
from harness.bench.replay import _TableRuns, replay
from harness.spaces.catalog import space
from harness.spaces.space import SearchSpace, uniform
from harness.spaces.space import replay as replay_draw
from tests.conftest import REPOSITORY
from tests.harness.bench import made_up

METHODS = REPOSITORY / "measurements" / "methods"
TABLE = made_up.table(made_up.TINY)
SIZES = sorted(TABLE.sizes.values())


def run(monkeypatch: pytest.MonkeyPatch, file: str, *names: str, target_pct: float) -> Trace:
    # The subprocess must import the checkout, which may not be installed.
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    method = Method(name="peer", says="", command=(sys.executable, str(METHODS / file), *names))
    comparison = made_up.comparison_of(TABLE, seconds=2_000.0, target_pct=target_pct)
    # The largest network of the table exceeds the budget, so proposals of this network are refused.
    study = replace(comparison.task.study, budget=SIZES[-1] - 1)
    networks = tuple({row.architecture: None for row in TABLE.rows if row.parameters < SIZES[-1]})
    task = replace(comparison.task, study=study, networks=networks)
    return replay(method, replace(comparison, task=task), _TableRuns(TABLE).read, 0)


@pytest.mark.parametrize(
    ("file", "names"),
    [
        *(pytest.param("optuna_peers.py", [name], marks=pytest.mark.slow) for name in ("ctpe", "gp", "asha", "bohb")),
        ("smac_peer.py", []),
    ],
)
def test_peer_proposes_each_network_within_budget_once(file: str, names: list[str], monkeypatch: pytest.MonkeyPatch):
    if file == "smac_peer.py":
        pytest.importorskip("smac")
    # No network reaches this target.
    trace = run(monkeypatch, file, *names, target_pct=99.99)

    assert trace.networks == sum(size < SIZES[-1] for size in TABLE.sizes.values())
    assert trace.answers == ()


@pytest.mark.parametrize(("name", "package"), [("bohb", "optuna"), ("cmaes", "cmaes")])
def test_optuna_peer_finds_smallest_network(name: str, package: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip(package)
    # Every network reaches this target.
    assert run(monkeypatch, "optuna_peers.py", name, target_pct=50.0).answers[-1].parameters == SIZES[0]


@pytest.mark.parametrize("name", ["forms", "bench", "tied", "small"])
@pytest.mark.filterwarnings("ignore")
def test_smac_configuration_has_exactly_the_decisions_of_the_network(name: str, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("ConfigSpace")
    from harness.bench.configuration_space import configuration_space

    monkeypatch.syspath_prepend(str(METHODS))
    door: Any = importlib.import_module("door")
    search_space: SearchSpace = space(name)

    for configuration in configuration_space(door.draws_of(search_space, 0), seed=0).sample_configuration(200):
        indices = {decision: int(index) for decision, index in dict(configuration).items()}
        assert replay_draw(search_space, indices, uniform(random.Random(0))).indices == indices
