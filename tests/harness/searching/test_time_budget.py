"""Estimates, spare time and effort of a search against numbers computed by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.throughput import NETWORKS
from harness.searching.search_state import Search
from harness.searching.time_budget import Pace, Timing, is_spent, pace_of, work
from harness.studies.candidate import Candidate
from harness.studies.events import RunEnded, Verified
from harness.studies.study_state import StudyState
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status
from search_spaces.network import MNIST
from search_spaces.notation import parse_network
from tests import searches
from tests.conftest import REPOSITORY
from tests.factories import make_job_result, make_result
from tests.fakes import Trainer, by_size
from tests.harness.searching.conftest import PROPOSAL
from tests.searches import Trial
from tests.study_logs import make_entry

IMAGES = 50_000
PACE = Pace(1e-4, 2e-11)
# 36 * 784 + 40 multiply-adds, 4 * 784 + 4 + 10 numbers in the maps, 9 each, and 86 parameters, 22 each.
NETWORK = "conv3x3(4) gap linear(10)"
WORK = 28_264 + 6.1 * 3_150 + 20 * 86


def test_an_estimate_is_the_sum_over_all_images_and_starts():
    # 15 epochs of 50,000 images, 0.1 ms each and 0.02 ns a multiply-add.
    assert PACE.seconds(15, IMAGES, 1_000_000) == pytest.approx(75.0 + 15.0)

    assert PACE.of_recipe(Recipe()) == PACE

    # Of five starts two go on after two epochs and one after four, so 3 * 2 + 1 * 4 epochs more than the recipe's ten;
    # in a training of three epochs a single start goes on after the third.
    several = PACE.of_recipe(Recipe(epochs=10, starts=5, start_epochs=2))
    for epochs, overhead in ((10, 10), (30, 10), (3, 9), (2, 8)):
        assert several.seconds(epochs, IMAGES, 1000) == pytest.approx(PACE.seconds(epochs + overhead, IMAGES, 1000))


POSED_SUM = "res(conv1x1(4, poses=4, tie=c) conv3x3(8, poses=4, tie=b) bn(poses=4)) relu"


@pytest.mark.parametrize(
    ("text", "macs", "numbers", "parameters"),
    [
        (NETWORK, 28_264, 4 * 784 + 4 + 10, 86),
        # A sum writes three inner maps and the map of the sum.
        (
            f"conv3x3(8, stride=2, poses=4) bn(poses=4) relu | {POSED_SUM} | {POSED_SUM} | gap | linear(10)",
            139_632 + 1.9 * 2 * 8 * 4 * 196,
            3 * 8 * 196 + 2 * 5 * 8 * 196 + 8 + 10,
            18 + 4 + (8 + 72) + 2 * 4 + 90,
        ),
        # A multiply-add of a depthwise kernel takes 0.6 more, a multiply-add of a 1x1 kernel 1.9.
        (
            "conv1x1(8) dwconv3x3 gap linear(10)",
            (8 + 9 * 8) * 784 + 80 + 0.6 * 9 * 8 * 784 + 1.9 * 8 * 784,
            2 * 8 * 784 + 8 + 10,
            8 + 9 * 8 + 90,
        ),
    ],
)
def test_work_is_multiply_adds_numbers_of_all_maps_and_parameters(
    text: str, macs: float, numbers: int, parameters: int
):
    assert work(parse_network(text), MNIST) == pytest.approx(macs + 6.1 * numbers + 20 * parameters)


TURN = "conv1x1(16, poses=4{tie}) conv3x3(40, poses=4, tie=a) bn(poses=4)"
SPIN = "res(dwconv3x3(poses={poses}, tie=a) conv1x1({channels}, poses={poses}, tie=b) bn(poses={poses})) relu"
POSED_STEM = "conv3x3(24, poses={poses}) bn(poses={poses}) relu | maxpool | "
SPUN = SPIN.format(poses=4, channels=48)
MIRRORED_SPUN = SPIN.format(poses=8, channels=40)
# Microseconds of a training step for one image, one core, one epoch (diary 141).
STEP_MICROSECONDS = {
    "conv3x3(10) relu bn | avgpool | conv3x3(12) relu bn dropout(0.02) | avgpool | conv3x3(8) relu bn conv3x3(8) relu "
    "bn | gap | linear(10)": 23.0,
    "conv3x3(8, stride=2) bn relu | conv1x1(20) bn relu "
    + "res(dwconv3x3 conv1x1(20) bn) relu " * 3
    + "| maxpool | res(dwconv3x3 conv1x1(20) bn) relu | gap | linear(10)": 44.8,
    f"{POSED_STEM.format(poses=4)} {TURN.format(tie='')} relu | maxpool | "
    + f"res({TURN.format(tie=', tie=b')}) relu " * 2
    + "| gap | linear(10)": 77.2,
    f"{POSED_STEM.format(poses=4)} conv1x1(48, poses=4) bn(poses=4) relu {SPUN} | maxpool | {SPUN} | "
    "gap | linear(10)": 94.1,
    f"{POSED_STEM.format(poses=8)} conv1x1(40, poses=8) bn(poses=8) relu | maxpool | {MIRRORED_SPUN} {MIRRORED_SPUN} | "
    "gap | poselinear(10, poses=8)": 47.0,
}


def test_networks_of_all_forms_take_as_much_longer_than_others_as_was_measured():
    pace = pace_of("native", "cpu")
    estimated = {text: 1e6 * pace.seconds(1, 1, work(parse_network(text), MNIST)) for text in STEP_MICROSECONDS}

    # The processor of the measurement is faster than the reference processor of the paces.
    factors = [estimated[text] / measured for text, measured in STEP_MICROSECONDS.items()]
    assert factors == pytest.approx([1 / 0.46] * len(factors), rel=0.12)


def test_torch_is_as_much_slower_than_the_native_engine_as_was_measured():
    speeds = json.loads((REPOSITORY / "benchmarks/results/throughput.json").read_text())["images_a_second"]
    for name, (text, _) in NETWORKS.items():
        network_work = work(parse_network(text), MNIST)
        estimated = pace_of("torch", "cpu").seconds(1, 1, network_work)
        ratio = estimated / pace_of("native", "cpu").seconds(1, 1, network_work)
        measured = median(speeds[name]["harness, native"]) / median(speeds[name]["harness, torch"])
        assert 1 / 2.5 < ratio / measured < 2.5


def timed(*runs: Result) -> Timing:
    timing = Timing(IMAGES, PACE)
    for run in runs:
        timing.add(run, WORK, run.node)
    return timing


def measured(epochs: int, factor: float, **changes: Any) -> Result:
    """Return a run that took a multiple of the estimated time."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 60) for number in range(1, epochs + 1))
    seconds = factor * (epochs or 1) * IMAGES * (1e-4 + 2e-11 * WORK)
    return replace(make_result(NETWORK), history=history, train_seconds=seconds, **changes)


def test_a_slowdown_is_the_measured_over_the_estimated_seconds_of_the_latest_runs():
    long, short = measured(10, 2.5), measured(5, 1.0)
    crashed, unknown = measured(0, 9.0), measured(10, 9.0, macs=0)

    assert timed(long, short, crashed, unknown).slowdown() == pytest.approx(2.0)
    assert timed(crashed, unknown).slowdown() is None
    assert timed(long, short).measured_pace.seconds_an_image == pytest.approx(2e-4)
    assert timed(long, short).measured_pace.seconds_a_mac == pytest.approx(4e-11)
    assert timed().measured_pace == PACE


def test_estimates_recover_after_a_busy_period():
    busy = [measured(10, 3.0, trial=0) for _ in range(30)]
    quiet = [measured(10, 1.0, trial=1) for _ in range(8)]

    assert timed(*busy, *quiet[:4]).slowdown() == pytest.approx(2.0)
    assert timed(*busy, *quiet).slowdown() == pytest.approx(1.0)
    # The seconds of a network that was trained in the busy period count a third then.
    assert timed(*busy).change_since(0) == pytest.approx(1.0)
    assert timed(*busy, *quiet).change_since(0) == pytest.approx(1 / 3)
    assert timed(*busy).change_since(1) == 1.0


def test_a_form_that_trains_slower_than_estimated_is_expected_to_stay_so_and_no_other():
    plain = [measured(10, 2.0, trial=0) for _ in range(3)]
    network = parse_network("conv3x3(8, poses=4) relu | gap | linear(10)")
    turned = [replace(measured(10, 3.0, trial=1), architecture=network) for _ in range(3)]

    timing = timed(*(plain + turned) * 8)
    assert timing.form_factor("posed") == pytest.approx(1.5, rel=0.05)
    assert timing.form_factor("plain") == pytest.approx(1.0, rel=0.05)
    assert timing.form_factor("separable") == 1.0
    # The pace of the machine has not changed.
    assert timing.slowdown() == pytest.approx(2.0, rel=0.1)
    assert timing.change_since(1) == pytest.approx(1.0, rel=0.1)


def test_of_several_places_the_slowest_by_its_latest_runs_is_told():
    factors = (("a", 1.0), ("b", 4.0), ("a", 3.0), ("b", 1.0), ("c", 2.2))
    runs = [measured(10, factor, node=node) for node, factor in factors]

    assert timed(*runs).slowdown() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("ended", "limits", "finished"),
    [
        ({"reason": "time", "seconds": 60.0, "trials": None}, {"seconds": 60.0}, True),
        ({"reason": "time", "seconds": 60.0, "trials": None}, {"seconds": 61.0}, False),
        ({"reason": "time", "seconds": 60.0, "trials": None}, {"seconds": None}, False),
        ({"reason": "trials", "seconds": 60.0, "trials": 9}, {"trials": 9, "seconds": 90.0}, True),
        ({"reason": "trials", "seconds": 60.0, "trials": 9}, {"trials": 10}, False),
        ({"reason": "trials", "seconds": 60.0, "trials": 9}, {"trials": None}, False),
        ({"reason": "exhausted", "seconds": 60.0, "trials": 9}, {"trials": 99, "seconds": 60.0}, True),
        ({"reason": "exhausted", "seconds": 60.0, "trials": 9}, {"trials": 9, "seconds": 61.0}, False),
        ({"reason": "exhausted", "seconds": None, "trials": 9}, {"trials": 99, "seconds": 9e9}, True),
        ({"reason": "interrupted", "seconds": 60.0, "trials": 9}, {"trials": 9, "seconds": 60.0}, False),
    ],
)
def test_a_search_is_finished_when_no_more_effort_is_given(
    ended: dict[str, Any], limits: dict[str, object], finished: bool
):
    spent = searches.effort(**limits)
    state = StudyState(Path("study"), searches.config())
    assert not is_spent(spent, state)

    state.apply(make_entry("ended", **ended))
    assert is_spent(spent, state) is finished
    state.apply(make_entry("session"))
    assert not is_spent(spent, state)


STANDS = (99.4, 99.4)


def file(opened: Search, *seconds: float) -> Candidate:
    """Give a network fresh runs, with a training time each."""
    candidate = opened.state.candidates[0]
    for index, each in enumerate(seconds):
        run = make_job_result(opened.job(candidate, Purpose.CONFIRM, index), by_size, 8)
        searches.apply(opened, RunEnded(run=replace(run, train_seconds=each)))
    return candidate


def test_a_run_takes_what_the_whole_ones_before_took(opened: Search):
    candidate = file(opened, 8.0, 8.0)
    candidate.first_run = replace(candidate.fresh_runs[0], status=Status.PRUNED, train_seconds=1.0)

    assert opened.run_seconds(candidate) == pytest.approx(8.0)


def test_a_run_of_a_network_that_was_not_trained_takes_the_pace_of_the_others(opened: Search):
    estimated = opened.run_seconds(opened.state.candidates[0])
    pace = opened.timing.measured_pace

    slow = file(opened, 3 * estimated)
    other = Candidate(replace(PROPOSAL, trial=1, epochs=16), PROPOSAL.parameters, threshold_pct=99.0)

    assert opened.run_seconds(other) == pytest.approx(3 * 2 * estimated)
    assert opened.run_seconds(slow) == pytest.approx(3 * estimated)
    assert opened.timing.measured_pace.seconds_an_image == pytest.approx(3 * pace.seconds_an_image)
    # 8 epochs of 50,000 images by the figures of recorded runs.
    assert estimated == pytest.approx(8 * 50_000 * (1.85e-4 + 3.35e-11 * work(PROPOSAL.architecture, MNIST)))


@pytest.mark.parametrize(
    ("workers", "rounds"),
    # The first run, two fresh seeds, and five of 1.2 times the length to verify; the workers share the runs.
    [(1, 1 + 2 + 5 * 1.2), (2, 1 + 1 + 3 * 1.2), (5, 1 + 1 + 1.2)],
)
def test_a_training_has_room_if_its_network_can_be_confirmed_and_verified(workers: int, rounds: float, opened: Search):
    opened.effort = searches.effort(seconds=1_000.0, workers=workers)

    time_left = opened.time_left()

    # Raised by 15 %, and 20 s for all work besides training.
    assert time_left.longest_training == pytest.approx((1_000 - 12) / (1.1 * rounds), rel=1e-3)
    assert time_left.seconds_left == pytest.approx(1_000, rel=1e-3)
    opened.earlier_seconds = 990.0
    assert opened.time_left().longest_training == 0.0


# Each made-up run takes 8 s; a verification trains on a fifth more images. All is raised by 10 %, and 12 s are kept for
# all work besides training.
@pytest.mark.parametrize(("workers", "rounds"), [(1, 5), (2, 3), (5, 1)])
def test_the_time_for_the_end_is_that_of_five_seeds_of_the_smallest_that_stands(
    workers: int, rounds: int, trainer: Trainer, tmp_path: Path
):
    networks = [Trial(12, fresh=STANDS), Trial(8, fresh=STANDS)]
    opened = searches.opened(tmp_path, networks, seconds=1000.0, workers=workers)
    opened.timing.slowdowns.clear()  # the pace is constant
    large = opened.state.candidates[0]
    large.fresh_runs = [replace(run, train_seconds=1_000.0) for run in large.fresh_runs]

    assert opened.closing_seconds() == pytest.approx(1.1 * 1.2 * rounds * 8 + 12)
    assert opened.verify_seconds(opened.state.candidates[1], 4) == pytest.approx(1.1 * 1.2 * -(-4 // workers) * 8 + 12)


def test_no_time_is_kept_for_a_verification_that_does_not_fit_any_more(trainer: Trainer, tmp_path: Path):
    networks = [Trial(12, fresh=STANDS), Trial(8, fresh=STANDS)]
    opened = searches.opened(tmp_path, networks, seconds=1000.0)
    opened.timing.slowdowns.clear()  # the pace is constant

    def slow(trial: int) -> None:
        each = opened.state.candidates[trial]
        assert each.first_run is not None
        each.first_run = replace(each.first_run, train_seconds=180.0)  # a verification takes 1,080 s
        each.fresh_runs = [replace(run, train_seconds=180.0) for run in each.fresh_runs]

    slow(1)
    assert opened.closing_seconds() == pytest.approx(1.1 * 1.2 * 5 * 8 + 12)
    time_left = opened.time_left()
    opened.earlier_seconds = 940.0
    assert time_left.is_over()  # the choice of a network does not use the time of the verification
    opened.earlier_seconds = 0.0
    slow(0)
    assert opened.closing_seconds() == 0.0
    assert opened.time_left().spare_seconds == math.inf
    # Neither for an unconfirmed network.
    likeliest = searches.opened(tmp_path / "likeliest", [Trial(8, fresh=(99.02, 98.98))], seconds=1000.0)
    assert likeliest.state.incumbent is None
    assert likeliest.closing_seconds() > 0.0
    likeliest.earlier_seconds = 990.0
    assert likeliest.closing_seconds() == 0.0


def test_what_is_spare_leaves_time_for_the_winner_and_for_the_quickest_of_the_others(trainer: Trainer, tmp_path: Path):
    networks = [Trial(20), Trial(16, fresh=STANDS), Trial(12, fresh=STANDS), Trial(8, fresh=STANDS)]
    opened = searches.opened(tmp_path, networks, seconds=1000.0)
    opened.timing.slowdowns.clear()  # the pace is constant
    for trial, seconds in ((1, 30.0), (2, 20.0), (3, 40.0)):
        each = opened.state.candidates[trial]
        assert each.first_run is not None
        each.first_run = replace(each.first_run, train_seconds=seconds)
        each.fresh_runs = [replace(run, train_seconds=seconds) for run in each.fresh_runs]

    two_verifications = 1.1 * 1.2 * 5 * (40 + 20) + 2 * 12
    assert opened.time_left().spare_seconds == pytest.approx(1000 - two_verifications, abs=0.5)
    alone = searches.opened(tmp_path / "alone", [Trial(8, fresh=STANDS)], seconds=1000.0)
    alone.timing.slowdowns.clear()
    assert alone.time_left().spare_seconds == pytest.approx(1000 - (1.1 * 1.2 * 5 * 8 + 12), abs=0.5)


def test_time_is_kept_for_the_smallest_that_has_not_missed_and_for_none_above_one_that_has_met_the_target(
    trainer: Trainer, tmp_path: Path
):
    networks = [Trial(16, fresh=STANDS), Trial(12, fresh=STANDS), Trial(8, fresh=STANDS)]
    opened = searches.opened(tmp_path, networks, seconds=1000.0)
    opened.timing.slowdowns.clear()  # the pace is constant
    for trial, seconds in ((0, 10.0), (1, 40.0), (2, 20.0)):
        each = opened.state.candidates[trial]
        assert each.first_run is not None
        each.first_run = replace(each.first_run, train_seconds=seconds)
        each.fresh_runs = [replace(run, train_seconds=seconds) for run in each.fresh_runs]
    one = 1.1 * 1.2 * 5

    opened.state.verdicts[2] = Verified(passed=False)
    assert opened.closing_seconds() == pytest.approx(one * 40 + 12)
    assert opened.time_left().spare_seconds == pytest.approx(1000 - one * (40 + 10) - 24, abs=0.5)
    opened.state.verdicts[1] = Verified(passed=True)
    assert opened.closing_seconds() == 0.0
    del opened.state.verdicts[2]
    assert opened.closing_seconds() == pytest.approx(one * 20 + 12)
    assert opened.time_left().spare_seconds == pytest.approx(1000 - one * 20 - 12, abs=0.5)


@pytest.mark.parametrize(
    ("made", "workers", "rounds"),
    [
        (Trial(4, fresh=STANDS), 1, 0),
        (Trial(4, fresh=(99.4,)), 1, 1),
        (Trial(4), 1, 2),
        (Trial(4), 2, 1),
        (Trial(4, fresh=(99.4,)), 2, 1),
    ],
)
def test_a_network_still_takes_its_lacking_runs_and_the_verification(
    made: Trial, workers: int, rounds: int, trainer: Trainer, tmp_path: Path
):
    opened = searches.opened(tmp_path, [made], workers=workers, seconds=10_000.0)

    seconds = opened.remaining_seconds(opened.state.candidates[0], workers)

    assert seconds == pytest.approx(1.1 * rounds * 8 + 1.1 * 1.2 * -(-5 // workers) * 8 + 12)
