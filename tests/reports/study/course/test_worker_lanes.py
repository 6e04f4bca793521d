from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from harness.evidence import study as study_folder
from harness.evidence.study import owned
from harness.system.files import Workspace
from harness.training import result
from harness.training.result import Purpose, Status
from reports.html import svg
from reports.study.course.worker_lanes import Bar, Fate, WorkerLanes, worker_lanes
from reports.study.course.worker_lanes_picture import description, lanes
from reports.study.networks import networks
from reports.study.study_files import read_study
from tests.wording import lacking


def facts(study: Any, place: Workspace, *, at_work: bool = False) -> WorkerLanes:
    study.write()
    if at_work:
        with owned(study.folder):
            files = read_study(study.folder, place)
    else:
        files = read_study(study.folder, place)
    return worker_lanes(files, networks(files))


def ended(study: Any, proposal: Any, at: float, errors: int | None = 50, node: str = "", **more: Any) -> None:
    """Let a training of 45 seconds end at a moment of the study, on a node."""
    made = study.finish(proposal, errors, **more)
    path = study_folder.result_path(study.folder, made.trial, made.purpose, made.seed_index)
    result.write(path, replace(made, node=node))
    study.events[-1]["elapsed"] = study.elapsed = at


@pytest.fixture
def study(new_study: Any) -> Any:
    return new_study()


def test_trainings_that_take_turns_share_a_lane_and_others_do_not(study: Any, place: Workspace, synthetic: Any):
    first, second = (study.propose(synthetic.network(width, 8, 8)) for width in (8, 9))
    ended(study, first, 50.0)
    ended(study, second, 60.0)
    ended(study, first, 96.0, purpose=Purpose.CONFIRM)
    study.note("ended", 1.0, reason="time")

    found = facts(study, place)

    assert [(bar.lane, bar.begin, bar.end, bar.fresh) for bar in found.bars] == [
        (0, 5.0, 50.0, False), (1, 15.0, 60.0, False), (0, 51.0, 96.0, True)
    ]  # fmt: skip
    assert found.lanes == 2


def test_on_a_cluster_a_node_has_lanes_of_its_own(study: Any, place: Workspace, synthetic: Any):
    first, second = (study.propose(synthetic.network(width, 8, 8)) for width in (8, 9))
    ended(study, first, 50.0, node="two")
    ended(study, second, 60.0, node="one")
    # Lane "one" became free last, but it is another node's.
    ended(study, first, 106.0, purpose=Purpose.CONFIRM, node="two")
    study.note("ended", 1.0, reason="time")

    found = facts(study, place)

    assert found.nodes == ("one", "two")
    assert [(bar.lane, bar.end) for bar in found.bars] == [(1, 50.0), (0, 60.0), (1, 106.0)]
    drawn = str(lanes(found, svg.Axis(0.0, 100.0, 0.0, 1000.0), 0.0, 1.0))
    assert ">one</text>" in drawn
    assert "worker" not in drawn
    assert description(found).startswith("3 trainings on 2 workers of 2 nodes: ")


def test_bars_of_a_lane_never_overlap(realistic_study: Any, place: Workspace):
    found = facts(realistic_study, place)

    assert len(found.bars) > 60
    for lane in range(found.lanes):
        ours = [bar for bar in found.bars if bar.lane == lane]
        assert all(before.end <= after.begin for before, after in pairwise(ours))


@pytest.mark.parametrize(
    ("errors", "status", "fate"),
    [
        (55, Status.COMPLETE, Fate.PASSED),  # 99.45 %, the threshold
        (56, Status.COMPLETE, Fate.MISSED),
        (50, Status.PRUNED, Fate.STOPPED),
        (50, Status.DIVERGED, Fate.FAILED),
        (None, Status.CRASHED, Fate.FAILED),
    ],
)
def test_a_bar_says_how_its_training_ended(
    study: Any, place: Workspace, synthetic: Any, errors: int | None, status: Status, fate: Fate
):
    study.finish(study.propose(synthetic.network(8, 8, 8)), errors, status=status)

    assert [bar.fate for bar in facts(study, place).bars] == [fate]


def test_a_training_without_an_end_runs_until_now_or_was_cut_off(study: Any, place: Workspace, synthetic: Any):
    study.propose(synthetic.network(8, 8, 8))
    study.note("rung", 30.0, trial=0, epoch=4)

    [running] = facts(study, place, at_work=True).bars
    assert running.fate is Fate.RUNNING
    assert (running.begin, running.end) == pytest.approx((1.1, 31.1))

    study.note("ended", 9.0, reason="time")
    study.note("verified", 20.0)
    found = facts(study, place)
    assert [bar.fate for bar in found.bars] == [Fate.CUT]
    assert [bar.end for bar in found.bars] == pytest.approx([40.1])
    assert found.verification == pytest.approx((40.1, 60.1))


def test_a_worker_that_trains_no_first_run_confirms_what_has_passed(study: Any, place: Workspace, synthetic: Any):
    first = study.propose(synthetic.network(8, 8, 8))
    ended(study, first, 50.0)
    study.propose(synthetic.network(9, 8, 8))
    study.note("rung", 30.0, trial=1, epoch=4)

    found = [bar for bar in facts(study, place, at_work=True).bars if bar.fate is Fate.RUNNING]

    assert sorted((bar.lane, bar.fresh) for bar in found) == [(0, True), (1, False)]


def test_a_worker_at_work_is_given_no_second_training(study: Any, place: Workspace, synthetic: Any):
    first = study.propose(synthetic.network(8, 8, 8))
    ended(study, first, 50.0)
    study.propose(synthetic.network(9, 8, 8))
    # The next fresh seed begins at the last moment that the journal knows.
    ended(study, first, 80.0, purpose=Purpose.CONFIRM)

    found = [bar for bar in facts(study, place, at_work=True).bars if bar.fate is Fate.RUNNING]

    assert sorted(bar.lane for bar in found) == [0, 1]


def test_a_journal_without_trainings_has_no_lane(study: Any, place: Workspace):
    assert facts(study, place) == WorkerLanes((), 0, None)


BARS = WorkerLanes(
    (
        Bar(lane=0, begin=0.0, end=50.0, fate=Fate.PASSED, number=3, label="plain-178 0123ab", fresh=False),
        Bar(lane=1, begin=10.0, end=30.0, fate=Fate.STOPPED, number=4, label="plain-200 0123cd", fresh=False),
    ),
    2,
    (60.0, 100.0),
)


def test_a_bar_is_as_long_as_its_training_and_names_its_network():
    made = lanes(BARS, svg.Axis(0.0, 100.0, 0.0, 1000.0), 0.0, 1.0)

    [(passed, number), (stopped, _)] = re.findall(r'<path d="M0?[^h]*h([\d.]+)" data-n="(\d)"/>', made)
    assert (float(passed), float(stopped)) == pytest.approx((500, 200), abs=1)
    assert number == "3"
    assert ">plain-178</text>" in made
    assert "plain-200" not in made  # no room


def test_each_fate_has_a_class_and_a_thickness_of_its_own():
    made = lanes(BARS, svg.Axis(0.0, 100.0, 0.0, 1000.0), 0.0, 1.0)

    looks = re.findall(r'class="run (\w+)" stroke-width="([\d.]+)"', made)
    assert [kind for kind, _ in looks] == ["passed", "stopped"]
    assert len({thickness for _, thickness in looks}) == 2


def test_thousands_of_bars_are_one_path_a_fate():
    bar = BARS.bars[0]
    many = WorkerLanes((bar,) * 2_000, 1, None)

    made = lanes(many, svg.Axis(0.0, 100.0, 0.0, 1000.0), 0.0, 1.0)

    assert made.count("<path") == 1
    assert "data-n" not in made


def test_the_lanes_are_told_in_words():
    fates = ("1 met the threshold", "1 stopped early")
    assert lacking(description(BARS), "2 trainings", "2 workers", *fates, "Verification", "40 s") == []
