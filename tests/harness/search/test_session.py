"""A session: how it opens, what it files, and that settled networks may be left out."""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from harness.search import loop, race, session
from harness.search import session as time_left
from harness.search.loop import poll
from harness.search.nearest_miss import nearest_miss
from harness.search.prior import keep, shipped
from harness.search.pruning import next_rung
from harness.search.race import Candidate
from harness.search.resume import open_session
from harness.search.session import Session
from harness.training.executor import Source
from harness.training.result import Purpose
from tests.harness import scripted
from tests.harness.raced import THRESHOLD, candidate, result
from tests.harness.scripted import Made, Trainer
from tests.harness.search.conftest import PROPOSAL
from tests.harness.silent import Silent


def test_a_run_is_filed_once_whatever_comes_twice(opened: Session):
    candidate = opened.candidates[0]
    runs = [
        scripted.made_result(session.job_for(opened, candidate, Purpose.CONFIRM, index), scripted.by_size, 8)
        for index in (2, 0, 2)
    ]

    for run in runs:
        session.enter_result(opened, run)

    assert [run.seed_index for run in candidate.fresh] == [0, 2]
    assert candidate.first is None
    # Nor does it count twice for what is learned from runs.
    assert {len(known) for known in opened.ratios.values()} == {2}
    assert opened.timing.sums[""][0] == sum(Fraction(run.train_seconds) for run in runs[:2])


def test_the_first_run_stops_at_every_rung_and_fresh_seeds_do_not(opened: Session):
    candidate = opened.candidates[0]

    first = session.job_for(opened, candidate, Purpose.SEARCH, 0)
    fresh = session.job_for(opened, candidate, Purpose.CONFIRM, 4)

    assert (first.until_epoch, fresh.until_epoch) == (2, None)
    assert first.checkpoint == opened.folder / "checkpoints" / "trial-00000-search-0.pt"
    assert fresh.checkpoint == opened.folder / "checkpoints" / "trial-00000-confirm-4.pt"
    assert [next_rung(opened.config, 8, epoch) for epoch in (0, 2, 3, 4, 8)] == [2, 4, 4, None, None]


def test_a_network_of_another_length_is_trained_so_and_stops_at_rungs_of_its_own(opened: Session):
    candidate = Candidate(replace(PROPOSAL, epochs=20), PROPOSAL.parameters)

    first = session.job_for(opened, candidate, Purpose.SEARCH, 0)
    fresh = session.job_for(opened, candidate, Purpose.CONFIRM, 0)

    assert (first.recipe.epochs, first.recipe_name, first.until_epoch) == (20, "short-20ep", 5)
    assert (fresh.recipe, fresh.recipe_name, fresh.until_epoch) == (first.recipe, "short-20ep", None)
    assert replace(first.recipe, epochs=8) == scripted.RECIPE
    assert next_rung(opened.config, 20, 5) == 10


def test_the_pace_is_that_of_the_slowest_node_also_where_a_search_goes_on(opened: Session):
    candidate = opened.candidates[0]
    pace = time_left._pace_of(opened).seconds_an_image
    estimated = time_left.run_seconds(opened, candidate)
    for index, (node, factor) in enumerate((("near", 1.0), ("far", 3.0), ("near", 2.0))):
        run = scripted.made_result(session.job_for(opened, candidate, Purpose.CONFIRM, index), scripted.by_size, 8)
        session.enter_result(opened, replace(run, node=node, train_seconds=factor * estimated))

    assert time_left._pace_of(opened).seconds_an_image == pytest.approx(3 * pace)

    fields = {each.name: getattr(opened, each.name) for each in dataclasses.fields(opened) if each.init}
    again = Session(**fields)

    assert (again.timing, again.ratios) == (opened.timing, opened.ratios)


def test_a_settled_network_comes_back_when_seeds_that_were_in_flight_let_it_stand(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(20, fresh=(98.5,))])
    network = opened.candidates[0]
    assert opened.contenders == {}

    network.fresh += [result(40, index=index) for index in (1, 2, 3)]
    session.update_contenders(opened, network)

    assert opened.contenders == {0: network}


@pytest.mark.parametrize("seed", range(5))
def test_no_answer_of_a_race_changes_when_it_is_asked_of_the_contenders_alone(
    seed: int, trainer: Trainer, tmp_path: Path
):
    rng, opened = random.Random(seed), scripted.opened(tmp_path, [])
    known = opened.candidates
    for _ in range(300):
        if not known or rng.random() < 0.4:
            changed = candidate(first=None, trial=len(known), parameters=rng.randrange(100, 3_000))
            known[len(known)] = changed
        else:
            changed = rng.choice(list(known.values()))
            errors = round(rng.gauss(95, 12))
            if changed.first is None:
                changed.first = candidate(first=errors).first
            elif rng.random() < 0.2:
                changed.repeats += 1
            else:
                changed.fresh = [*changed.fresh, result(errors, index=len(changed.fresh))]
        session.update_contenders(opened, changed)
        every, some = list(known.values()), list(opened.contenders.values())

        assert race.final_order(some, THRESHOLD) == race.final_order(every, THRESHOLD)
        assert opened.standing is race.smallest_standing(every, THRESHOLD)
        assert race.next_to_confirm(some, THRESHOLD, 5_000, {}) is race.next_to_confirm(every, THRESHOLD, 5_000, {})
    assert len(opened.contenders) < len(known)


@pytest.mark.parametrize("workers", [1, 20])
def test_what_a_search_shows_is_what_all_of_its_networks_say(
    workers: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: set[str] = set()

    def checked(found: Session, seconds: float = 0.5) -> None:
        poll(found, seconds)
        every, threshold_pct = list(found.candidates.values()), found.config.threshold_pct
        standing = race.smallest_standing(every, threshold_pct)
        assert found.standing is standing
        assert found.nearest == (nearest_miss(every, threshold_pct) if standing is None else None)
        seen.add("standing" if standing else "nearest" if found.nearest else "neither")

    monkeypatch.setattr(loop, "poll", checked)
    config = scripted.config(sampler="surrogate")

    scripted.run(tmp_path, config, scripted.effort(workers=workers, trials=12))
    scripted.run(tmp_path, config, scripted.effort(workers=workers, trials=24))

    assert seen == {"neither", "nearest", "standing"}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def test_a_resumed_study_learns_from_the_trainings_that_it_keeps(trainer: Trainer, tmp_path: Path):
    past = tuple(item for item in shipped("mnist") if item.learning_rate == scripted.RECIPE.learning_rate)[:5]
    assert len(past) == 5
    other = replace(past[0], learning_rate=0.5)
    keep(tmp_path, (*past, other))

    with_past = open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())
    without = open_session(tmp_path / "new", scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    assert [seen.errors for seen in scripted.proposer_of(with_past).past] == [item.errors for item in past]
    assert scripted.proposer_of(with_past).ladder == []
    assert scripted.proposer_of(without).past == ()
    assert scripted.proposer_of(without).ladder != []


def test_networks_without_a_result_are_waiting_when_a_session_opens(trainer: Trainer, tmp_path: Path):
    with scripted.killed_at(trainer, 60):
        scripted.run(tmp_path, scripted.config(), scripted.effort(workers=3, trials=9))

    found = open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    open_trials = [trial for trial, candidate in found.candidates.items() if candidate.first is None]
    assert open_trials
    assert [job.trial for job in found.waiting] == open_trials
    assert {job.purpose for job in found.waiting} == {Purpose.SEARCH}
    assert sorted(scripted.proposer_of(found).running) == open_trials


def test_a_result_whose_note_was_lost_is_noted_and_told_when_the_session_opens(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=3))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    lost = next(line for line in reversed(lines) if '"finished"' in line and '"search"' in line)
    (tmp_path / "log.jsonl").write_text("\n".join(line for line in lines if line != lost) + "\n")

    found = open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    (*_, again) = scripted.events(tmp_path, "finished")
    kept = {"utc", "elapsed"}
    assert {name: value for name, value in json.loads(lost).items() if name not in kept} == {
        name: value for name, value in again.items() if name not in kept
    }
    assert scripted.proposer_of(found).running == {}
    assert found.waiting == []


def test_a_standing_network_whose_note_was_lost_is_noted_when_the_session_opens(trainer: Trainer, tmp_path: Path):
    scripted.run(tmp_path, scripted.config(), scripted.effort(trials=9))
    (*_, last) = scripted.events(tmp_path, "standing")
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    kept = [line for line in lines if not ('"event": "standing"' in line and f'"trial": {last["trial"]},' in line)]
    (tmp_path / "log.jsonl").write_text("\n".join(kept) + "\n")

    open_session(tmp_path, scripted.config(), scripted.effort(), Source("mnist", None), Silent())

    (*_, again) = scripted.events(tmp_path, "standing")
    names = ("trial", "hash", "parameters", "budget")
    assert [again[name] for name in names] == [last[name] for name in names]
