"""State, command, API and page of a study show the same answer, tier and front."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cli import cli
from harness.interface.results import Study
from harness.studies.config import open_study
from harness.studies.events import WinnerChosen
from harness.studies.log import read_state
from harness.system.files import Workspace
from harness.training.result import Purpose
from reports.study_facts import read_study
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network
from tests import searches
from tests.factories import make_result
from tests.study_logs import write_event, write_runs

WIDTHS = (4, 6, 8, 10)
TIERS = {True: "verified", None: "measured", False: "measured"}
ERRORS = st.integers(40, 110)
# Errors of the first run and of fresh seeds, for each network.
NETWORKS = st.lists(st.tuples(ERRORS, st.lists(ERRORS, max_size=3)), min_size=1, max_size=len(WIDTHS))
# Index of the winner, and the result of the verification; None if open.
VERDICTS = st.lists(st.tuples(st.integers(0, len(WIDTHS) - 1), st.sampled_from([True, None, False])), max_size=3)


def write_study(folder: Path, networks: list[tuple[int, list[int]]], verdicts: list[tuple[int, bool | None]]) -> None:
    """Write a study with these runs and verdicts."""
    open_study(folder, searches.config(), {})
    hashes = []
    for trial, (first, fresh) in enumerate(networks):
        text = f"conv3x3({WIDTHS[trial]}) bn relu | gap | linear(10)"
        runs = [make_result(text, first, trial=trial, purpose=Purpose.SEARCH)]
        runs += [
            replace(make_result(text, errors, trial=trial, purpose=Purpose.CONFIRM), seed_index=index)
            for index, errors in enumerate(fresh)
        ]
        hashes.append((runs[0].hash, analyse(parse_network(text), MNIST).parameters))
        write_runs(folder, *runs)
    for number, (choice, passed) in enumerate(verdicts):
        trial = choice % len(networks)
        network_hash, parameters = hashes[trial]
        write_event(folder, "winner", float(number), trial=trial, hash=network_hash, parameters=parameters)
        values = {"passed": passed, "tier": TIERS[passed], "mean_test_accuracy_pct": 99.4, "seeds": 6}
        write_event(folder, "verified", float(number), hash=network_hash, **values)


def check_views(
    networks: list[tuple[int, list[int]]], verdicts: list[tuple[int, bool | None]], workspace: Workspace
) -> None:
    """Write a study, and check that all views agree."""
    folder = workspace.study("one")
    write_study(folder, networks, verdicts)
    state = read_state(folder)
    answer = state.answer and state.answer.proposal.hash

    study = Study(folder, workspace)
    assert (study.answer and study.answer.hash, study.tier) == (answer, state.answer_tier)
    assert [trial.hash for trial in study.front] == [candidate.proposal.hash for candidate in state.front]
    [row] = json.loads(CliRunner().invoke(cli, ["studies", "--json"], catch_exceptions=False).stdout)["studies"]
    assert (row["hash"], row["tier"] or "") == (answer, state.answer_tier)
    facts = read_study(folder, workspace)
    if answer is not None:
        assert facts.answer is not None
        assert facts.answer.hash == answer
        assert facts.ending.outcome == "not verified yet"
    else:
        # Without an answer, the page shows the last winner and does not call the target reached.
        winners = [entry.event.hash for entry in state.of_kind(WinnerChosen)]
        assert (facts.answer and facts.answer.hash) == (winners[-1] if winners else None)
        assert facts.ending.outcome != "reached"
    for network in facts.networks:
        assert network.state is state.network_states[network.hash]


@settings(max_examples=40, deadline=None)
@given(NETWORKS, VERDICTS)
def test_all_views_of_a_study_agree(networks: list[Any], verdicts: list[Any]):
    check_views_in_new_workspace(networks, verdicts)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None)
@given(NETWORKS, VERDICTS)
def test_all_views_of_two_thousand_studies_agree(networks: list[Any], verdicts: list[Any]):
    check_views_in_new_workspace(networks, verdicts)


def check_views_in_new_workspace(networks: list[Any], verdicts: list[Any]) -> None:
    root = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKSPACE", str(root))
        try:
            check_views(networks, verdicts, Workspace(root))
        finally:
            shutil.rmtree(root)
