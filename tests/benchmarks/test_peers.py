"""The peers in benchmarks/methods play along in the bench, within the budget, until no network is left."""

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
from search_spaces.catalog import space
from search_spaces.space import SearchSpace, uniform
from search_spaces.space import replay as redrawn
from tests.conftest import REPOSITORY
from tests.harness.bench import made_up

METHODS = REPOSITORY / "benchmarks" / "methods"
TABLE = made_up.table(made_up.TINY)
SIZES = sorted(TABLE.sizes.values())


def run(monkeypatch: pytest.MonkeyPatch, file: str, *names: str, target_pct: float) -> Trace:
    # A checkout need not be installed to be tested.
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    method = Method(name="peer", says="", command=(sys.executable, str(METHODS / file), *names))
    comparison = made_up.asked(TABLE, seconds=2_000.0, target_pct=target_pct)
    # The table's largest network is over the budget: who names it is refused.
    study = replace(comparison.task.study, budget=SIZES[-1] - 1)
    listed = tuple({row.architecture: None for row in TABLE.rows if row.parameters < SIZES[-1]})
    task = replace(comparison.task, study=study, networks=listed)
    return replay(method, replace(comparison, task=task), _TableRuns(TABLE).read, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctpe", "gp", "asha", "bohb"])
def test_a_peer_of_optuna_names_each_network_within_the_budget_once(name: str, monkeypatch: pytest.MonkeyPatch):
    # No network reaches it.
    trace = run(monkeypatch, "optuna_peers.py", name, target_pct=99.99)

    assert trace.networks == sum(size < SIZES[-1] for size in TABLE.sizes.values())
    assert trace.answers == ()


def test_a_peer_of_optuna_finds_the_smallest_network_of_a_few(monkeypatch: pytest.MonkeyPatch):
    # Every network reaches it.
    trace = run(monkeypatch, "optuna_peers.py", "bohb", target_pct=50.0)

    assert trace.answers[-1].parameters == SIZES[0]


def test_cma_es_finds_the_smallest_network_of_a_few(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("cmaes")

    assert run(monkeypatch, "optuna_peers.py", "cmaes", target_pct=50.0).answers[-1].parameters == SIZES[0]


def test_smac_names_each_network_within_the_budget_once(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("smac")

    trace = run(monkeypatch, "smac_peer.py", target_pct=99.99)
    assert trace.networks == sum(size < SIZES[-1] for size in TABLE.sizes.values())


@pytest.mark.parametrize("name", ["forms", "bench", "tied", "small"])
@pytest.mark.filterwarnings("ignore")
def test_a_configuration_for_smac_has_the_decisions_of_its_network_and_no_others(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("ConfigSpace")
    from harness.bench.configuration_space import configuration_space

    monkeypatch.syspath_prepend(str(METHODS))
    door: Any = importlib.import_module("door")
    searched: SearchSpace = space(name)

    for configuration in configuration_space(door.draws_of(searched, 0), seed=0).sample_configuration(200):
        indices = {decision: int(index) for decision, index in dict(configuration).items()}
        network = redrawn(searched, indices, uniform(random.Random(0)))
        assert network.indices == indices
