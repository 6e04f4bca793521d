"""Tests of how often a winner misses: the rules are those of a search, the arithmetic is done by hand."""

from __future__ import annotations

import csv
import itertools
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import margin
from benchmarks.margin import Assumption, Network, World, misses, network, raced, searched, stands
from harness.bench.tables.table_files import read_table
from harness.evidence import record
from harness.search import race
from tests.benchmarks.made_up import ask
from tests.checkout import REPOSITORY

THRESHOLD = 99.3
ALLOWED = 70.0
CASE = Assumption(World.EVEN, networks=6, spread=0.1, network_share=0.04, seeds="records")
RUNS = 1 + race.MOST_SEEDS + race.VERIFY_SEEDS


def made(errors: float, *luck: float, ratio: float = 1.0, deviation: float = 0.1) -> Network:
    return Network(errors, ratio, deviation, (*luck, *[0.0] * (RUNS - len(luck))))


def test_the_winner_is_that_of_a_search_that_tries_all_networks_in_decreasing_size():
    outcomes = []
    for number in range(25):
        networks = [network(CASE, (0.08, 0.12), place, number, ALLOWED) for place in range(CASE.networks)]
        candidates = [raced(item, at, THRESHOLD, race.CONFIDENCE) for at, item in enumerate(networks)]
        sizes = [candidate.proposal.parameters for candidate in candidates]
        winner = race.smallest_standing(candidates, THRESHOLD)
        outcomes.append(None if winner is None else misses(networks[winner.proposal.trial], ALLOWED))

        assert sizes == sorted(sizes, reverse=True)
        assert searched(CASE, (0.08, 0.12), number, THRESHOLD, race.CONFIDENCE) is outcomes[-1]
    # All that can happen has happened.
    assert set(outcomes) == {None, False, True}


def test_a_good_network_stands_on_the_least_seeds_and_one_that_misses_gets_none():
    good, bad = raced(made(40), 0, THRESHOLD, race.CONFIDENCE), raced(made(71), 0, THRESHOLD, race.CONFIDENCE)

    assert [run.validation_errors for run in (good.first, *good.fresh) if run] == [40] * (1 + race.STAND_SEEDS)
    assert (bad.first is not None, bad.fresh) == (True, [])


def test_a_network_that_is_not_sure_enough_gets_seeds_until_the_last_one():
    # Errors at 0.9 of the allowed ones stand by the rule of a search, and not with next to no doubt.
    border = raced(made(0.9 * ALLOWED), 0, THRESHOLD, 0.999)

    assert len(border.fresh) == race.MOST_SEEDS
    assert not stands(border, THRESHOLD, 0.999)


def test_a_network_without_a_chance_is_given_up_at_once():
    assert len(raced(made(0.99 * ALLOWED), 0, THRESHOLD, race.CONFIDENCE).fresh) <= 1


def test_another_confidence_asks_for_the_same_probability_as_the_rule_of_the_search():
    for errors, luck in itertools.product((55, 60, 64, 68), (-1.0, 0.0, 1.0)):
        candidate = raced(made(errors, -2, luck, -luck), 0, THRESHOLD, race.CONFIDENCE)

        assert stands(candidate, THRESHOLD, race.CONFIDENCE) is race.stands(candidate, THRESHOLD)
        assert stands(candidate, THRESHOLD, race.CONFIDENCE + 1e-12) is race.stands(candidate, THRESHOLD)
    chance = race.chance_to_verify(candidate, THRESHOLD)
    assert stands(candidate, THRESHOLD, chance - 1e-9)
    assert not stands(candidate, THRESHOLD, chance + 1e-9)


def test_a_winner_misses_by_the_mean_of_its_verification_and_by_its_ratio():
    assert not misses(made(70.0), ALLOWED)
    assert misses(made(70.1), ALLOWED)
    assert misses(made(60.0, ratio=1.2), ALLOWED)
    # Luck on validation is none in the verification; its own seeds deviate by 0.1 * 3 / 6 of 68 errors, to 71.4.
    assert not misses(made(70.0, *[-5.0] * (1 + race.MOST_SEEDS)), ALLOWED)
    assert misses(made(68.0, *[0.0] * (1 + race.MOST_SEEDS), 3.0), ALLOWED)


def test_networks_are_drawn_around_the_allowed_errors_and_may_get_harder():
    plain = replace(CASE, networks=40, spread=0.2)
    logs = [
        math.log(network(plain, (0.1,), at, 5 + each, ALLOWED).errors / 70) for at in range(40) for each in range(5)
    ]
    rising = replace(plain, rise=0.4)
    first, last = ([network(case, (0.1,), at, 5, ALLOWED).errors for case in (plain, rising)] for at in (0, 39))

    assert statistics.mean(logs) == pytest.approx(0, abs=4 * 0.2 / math.sqrt(200))
    assert statistics.stdev(logs) == pytest.approx(0.2, rel=0.2)
    assert [math.log(pair[1] / pair[0]) for pair in (first, last)] == pytest.approx([-0.2, 0.2])
    assert {network(plain, (0.1, 0.2), at, 5, ALLOWED).deviation for at in range(40)} == {0.1, 0.2}


def test_the_deviations_are_those_of_the_records_and_of_the_table():
    # Read without the code of records and tables.
    documents = [json.loads(path.read_text()) for path in (REPOSITORY / "records").glob("*-mnist-*.json")]
    errors = [[seed["test_errors"] for seed in each["seeds"]] for each in documents]
    own = sorted(statistics.stdev(each) / statistics.mean(each) for each in errors if len(each) >= 6)
    folder = REPOSITORY / "benchmarks" / "tables" / "mnist-bench"
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    wrong = {
        seed: {row["hash"]: 100 - float(row["validation_accuracy_pct"]) for row in rows if row["seed"] == seed}
        for seed in ("0", "1")  # the last rung of a run comes last
    }
    squares = [2 * ((one - wrong["1"][key]) / (one + wrong["1"][key])) ** 2 for key, one in wrong["0"].items()]

    assert margin.record_deviations(record.read_all(REPOSITORY / "records")) == pytest.approx(own)
    assert margin.table_deviation(read_table(folder)) == pytest.approx(math.sqrt(statistics.mean(squares)))


def test_a_row_counts_what_was_named_and_what_missed():
    found = margin.row(CASE, 0.9, [None] * 10 + [True] + [False] * 9)

    assert (found["searches"], found["named"], found["missed"]) == (20, 10, 1)
    assert (found["share"], found["share_of_named"]) == (0.05, 0.1)
    # Clopper and Pearson's limits of one in ten are in every printed table.
    assert found["interval_of_named"] == [0.0025, 0.4450]
    assert margin.row(CASE, 0.9, [None])["share_of_named"] is None


def test_a_verdict_says_of_how_many_assumptions_the_claim_is_true():
    rows = [margin.row(CASE, 0.9, [True] * missed + [False] * (200 - missed)) for missed in (0, 10, 12, 60)]

    found = margin.verdict(rows)["share"]

    assert (found["least"], found["mean"], found["most"]) == (0.0, 0.1025, 0.3)
    assert (found["holds"], found["above"], found["surely_above"]) == (False, 2, 1)
    assert margin.verdict(rows[:2])["share"]["holds"]


def test_all_searches_are_played_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(margin, "RESULTS", tmp_path / "margin.json")
    monkeypatch.setattr(margin, "machine", lambda: {"cores": 1})
    monkeypatch.setattr(margin, "NETWORKS", (3,))

    ask(monkeypatch, margin.main, "--searches", "2")

    found = json.loads((tmp_path / "margin.json").read_text(encoding="utf-8"))
    assert len(found["rows"]) == 3 * 2 * 2 * (len(margin.CONFIDENCES) + 1)
    assert {row["searches"] for row in found["rows"]} == {2}
    assert capsys.readouterr().out.count('"claim": 0.05') == len(found["verdicts"]) == len(margin.CONFIDENCES) + 1


def committed() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(margin.RESULTS.read_text(encoding="utf-8"))
    return document


def test_the_committed_figures_were_made_with_the_present_rules():
    assert committed()["constants"] == margin.constants(), "python -m benchmarks.margin"


def test_what_the_committed_file_says_of_the_claim_follows_from_its_rows():
    found = committed()

    assert found["verdicts"] == margin.verdicts(found["rows"])
    for row in found["rows"]:
        assert row["share"] == round(row["missed"] / row["searches"], 4)
        assert row["missed"] <= row["named"] <= row["searches"]
