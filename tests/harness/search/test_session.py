"""What a session keeps of its runs, the jobs that it makes, and the seeds that are free."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from fractions import Fraction

import pytest

from harness.search import session
from harness.search import session as time_left
from harness.search.pruning import next_rung
from harness.search.race import Candidate
from harness.search.session import Session
from harness.training.result import Purpose
from harness.training.workers import Processes, Source, Worker
from tests.harness import scripted
from tests.harness.search.conftest import PROPOSAL


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


def test_a_first_run_is_no_fresh_seed(opened: Session):
    run = scripted.made_result(scripted.first_job(PROPOSAL), scripted.by_size, 8)

    session.enter_result(opened, run)
    session.enter_result(opened, replace(run, trial=7))

    assert opened.candidates[0].first == run
    assert opened.candidates[0].fresh == []
    assert list(opened.candidates) == [0]


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


def test_free_seeds_leave_out_what_is_run_and_what_is_being_run(opened: Session):
    candidate = opened.candidates[0]
    for index in (0, 3):
        job = session.job_for(opened, candidate, Purpose.CONFIRM, index)
        session.enter_result(opened, scripted.made_result(job, scripted.by_size, 8))
    jobs = [
        session.job_for(opened, candidate, Purpose.CONFIRM, 1),
        session.job_for(opened, candidate, Purpose.SEARCH, 2),
        replace(session.job_for(opened, candidate, Purpose.CONFIRM, 4), trial=9),
        None,
    ]
    source = Source("mnist", None)
    pool = [Worker(scripted.FakeProcess(), None, source, job) for job in jobs]  # type: ignore[arg-type]
    opened.executor = Processes(source, opened.effort.limits, pool)

    free = session.free_indices(opened, candidate)

    assert [next(free) for _ in range(4)] == [2, 4, 5, 6]


def test_what_is_left_is_infinite_without_an_end_in_time(opened: Session):
    assert opened.left == float("inf")
    opened.effort = scripted.effort(seconds=100.0)
    opened.before = 40.0
    assert 59.0 < opened.left < 60.0


def test_the_pace_is_that_of_the_slowest_node_also_where_a_search_goes_on(opened: Session):
    candidate = opened.candidates[0]
    pace = time_left.pace_of(opened).seconds_an_image
    estimated = time_left.run_seconds(opened, candidate)
    for index, (node, factor) in enumerate((("near", 1.0), ("far", 3.0), ("near", 2.0))):
        run = scripted.made_result(session.job_for(opened, candidate, Purpose.CONFIRM, index), scripted.by_size, 8)
        session.enter_result(opened, replace(run, node=node, train_seconds=factor * estimated))

    assert time_left.pace_of(opened).seconds_an_image == pytest.approx(3 * pace)

    fields = {each.name: getattr(opened, each.name) for each in dataclasses.fields(opened) if each.init}
    again = Session(**fields)

    assert (again.timing, again.ratios) == (opened.timing, opened.ratios)
