"""Estimates, spare time and effort of a search against numbers computed by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from harness.searching.search_state import Search
from harness.searching.time_budget import Pace, Timing, pace_of, step_macs, verification_seconds
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.studies.candidate import Candidate
from harness.studies.events import RunEnded, Verified
from harness.studies.study_state import StudyState
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status
from measurements.throughput import NETWORKS
from tests import searches
from tests.conftest import REPOSITORY
from tests.factories import make_job_result, make_result
from tests.fakes import Trainer, by_size
from tests.harness.searching.conftest import PROPOSAL
from tests.searches import Trial
from tests.study_logs import make_entry

IMAGES = 50_000
PACE = Pace(1e-4, 2e-11)
# 36 * 784 + 40 multiply-adds, 4 * 784 + 4 + 10 numbers in the maps, 6.1 each, and 86 parameters, 20 each.
NETWORK = "conv3x3(4) gap linear(10)"
WORK = 28_264 + 6.1 * 3_150 + 20 * 86


def test_estimate_sums_over_epochs_images_and_starts():
    # 15 epochs of 50,000 images, 0.1 ms per image and 0.02 ns per multiply-add.
    assert PACE.seconds(15, IMAGES, 1_000_000) == pytest.approx(75.0 + 15.0)

    assert PACE.of_recipe(Recipe()) == PACE

    # Of five starts, two continue after two epochs and a single start after four: 3 * 2 + 1 * 4 additional epochs; in a
    # training of three epochs a single start continues after the third.
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
def test_work_sums_multiply_adds_map_values_and_parameters(text: str, macs: float, numbers: int, parameters: int):
    assert step_macs(parse_network(text), MNIST) == pytest.approx(macs + 6.1 * numbers + 20 * parameters)


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


def test_estimates_of_all_forms_are_proportional_to_measurements():
    pace = pace_of("native", "cpu")
    estimated = {text: 1e6 * pace.seconds(1, 1, step_macs(parse_network(text), MNIST)) for text in STEP_MICROSECONDS}

    # The processor of the measurement is faster than the reference processor of the paces.
    factors = [estimated[text] / microseconds for text, microseconds in STEP_MICROSECONDS.items()]
    assert factors == pytest.approx([1 / 0.46] * len(factors), rel=0.12)


def test_estimated_slowdown_of_torch_agrees_with_measured_slowdown():
    speeds = json.loads((REPOSITORY / "measurements/results/throughput.json").read_text())["images_a_second"]
    for name, (text, _) in NETWORKS.items():
        macs = step_macs(parse_network(text), MNIST)
        estimated = pace_of("torch", "cpu").seconds(1, 1, macs)
        ratio = estimated / pace_of("native", "cpu").seconds(1, 1, macs)
        measured_ratio = median(speeds[name]["harness, native"]) / median(speeds[name]["harness, torch"])
        assert 1 / 2.5 < ratio / measured_ratio < 2.5


def timing_of(*runs: Result) -> Timing:
    timing = Timing(IMAGES, PACE)
    for run in runs:
        timing.add(run, WORK, run.node)
    return timing


def run_with_factor(epochs: int, factor: float, **changes: Any) -> Result:
    """Return a run that took a multiple of the estimated time."""
    history = tuple(Epoch(number, 0.1, 0.1, 1.0, 60) for number in range(1, epochs + 1))
    seconds = factor * (epochs or 1) * IMAGES * (1e-4 + 2e-11 * WORK)
    return replace(make_result(NETWORK), history=history, train_seconds=seconds, **changes)


def test_slowdown_is_ratio_of_measured_to_estimated_seconds_of_latest_runs():
    long_run, short_run = run_with_factor(10, 2.5), run_with_factor(5, 1.0)
    crashed, unknown = run_with_factor(0, 9.0), run_with_factor(10, 9.0, macs=0)

    assert timing_of(long_run, short_run, crashed, unknown).slowdown() == pytest.approx(2.0)
    assert timing_of(crashed, unknown).slowdown() is None
    assert timing_of(long_run, short_run).measured_pace.seconds_an_image == pytest.approx(2e-4)
    assert timing_of(long_run, short_run).measured_pace.seconds_a_mac == pytest.approx(4e-11)
    assert timing_of().measured_pace == PACE


def test_estimates_recover_after_a_busy_period():
    busy = [run_with_factor(10, 3.0, trial=0) for _ in range(30)]
    quiet = [run_with_factor(10, 1.0, trial=1) for _ in range(8)]

    assert timing_of(*busy, *quiet[:4]).slowdown() == pytest.approx(2.0)
    assert timing_of(*busy, *quiet).slowdown() == pytest.approx(1.0)
    # The seconds of a network that was trained in the busy period count a third then.
    assert timing_of(*busy).change_since(0) == pytest.approx(1.0)
    assert timing_of(*busy, *quiet).change_since(0) == pytest.approx(1 / 3)
    assert timing_of(*busy).change_since(1) == 1.0


def test_family_factor_differs_from_one_only_for_the_slow_family():
    plain_runs = [run_with_factor(10, 2.0, trial=0) for _ in range(3)]
    network = parse_network("conv3x3(8, poses=4) relu | gap | linear(10)")
    posed_runs = [replace(run_with_factor(10, 3.0, trial=1), architecture=network) for _ in range(3)]

    timing = timing_of(*(plain_runs + posed_runs) * 8)
    assert timing.family_factor("posed") == pytest.approx(1.5, rel=0.05)
    assert timing.family_factor("plain") == pytest.approx(1.0, rel=0.05)
    assert timing.family_factor("separable") == 1.0
    # The pace of the machine has not changed.
    assert timing.slowdown() == pytest.approx(2.0, rel=0.1)
    assert timing.change_since(1) == pytest.approx(1.0, rel=0.1)


def test_slowdown_is_of_slowest_node_by_latest_runs():
    factors = (("a", 1.0), ("b", 4.0), ("a", 3.0), ("b", 1.0), ("c", 2.2))
    runs = [run_with_factor(10, factor, node=node) for node, factor in factors]

    assert timing_of(*runs).slowdown() == pytest.approx(2.5)


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
def test_effort_is_spent_unless_larger_than_effort_of_ended_search(
    ended: dict[str, Any], limits: dict[str, object], finished: bool
):
    spent = searches.effort(**limits)
    state = StudyState(Path("study"), searches.config())
    assert not spent.is_spent(state)

    state.apply(make_entry("ended", **ended))
    assert spent.is_spent(state) is finished
    state.apply(make_entry("session"))
    assert not spent.is_spent(state)


CONFIRMED = (99.4, 99.4)


def add_fresh_runs(search: Search, *seconds: float) -> Candidate:
    """Add a fresh run to the candidate for each training time."""
    candidate = search.state.candidates[0]
    for index, run_seconds in enumerate(seconds):
        run = make_job_result(search.job(candidate, Purpose.CONFIRM, index), by_size, 8)
        searches.apply(search, RunEnded(run=replace(run, train_seconds=run_seconds)))
    return candidate


def test_expected_run_seconds_equal_mean_of_complete_runs(search: Search):
    candidate = add_fresh_runs(search, 8.0, 8.0)
    candidate.first_run = replace(candidate.fresh_runs[0], status=Status.PRUNED, train_seconds=1.0)

    assert search.run_seconds(candidate) == pytest.approx(8.0)


def test_expected_run_seconds_of_untrained_network_follow_measured_pace(search: Search):
    estimated = search.run_seconds(search.state.candidates[0])
    pace = search.timing.measured_pace

    trained = add_fresh_runs(search, 3 * estimated)
    untrained = Candidate(replace(PROPOSAL, trial=1, epochs=16), PROPOSAL.parameters, threshold_pct=99.0)

    assert search.run_seconds(untrained) == pytest.approx(3 * 2 * estimated)
    assert search.run_seconds(trained) == pytest.approx(3 * estimated)
    assert search.timing.measured_pace.seconds_an_image == pytest.approx(3 * pace.seconds_an_image)
    # 8 epochs of 50,000 images by the figures of recorded runs.
    assert estimated == pytest.approx(8 * 50_000 * (1.85e-4 + 3.35e-11 * step_macs(PROPOSAL.architecture, MNIST)))


@pytest.mark.parametrize(
    ("workers", "rounds"),
    # The first run, two fresh seeds, and five verification seeds of 1.2 times the length; the workers share the runs.
    [(1, 1 + 2 + 5 * 1.2), (2, 1 + 1 + 3 * 1.2), (5, 1 + 1 + 1.2)],
)
def test_longest_training_leaves_time_for_confirmation_and_verification(workers: int, rounds: float, search: Search):
    search.effort = searches.effort(seconds=1_000.0, workers=workers)

    time_left = search.time_left()

    # A margin of 10 %, and 12 s for all work besides training.
    assert time_left.longest_training == pytest.approx((1_000 - 12) / (1.1 * rounds), rel=1e-3)
    assert time_left.seconds_left == pytest.approx(1_000, rel=1e-3)
    search.earlier_seconds = 990.0
    assert search.time_left().longest_training == 0.0


# Each simulated run takes 8 s; a verification trains on a fifth more images. The margin is 10 %, and 12 s are reserved
# for all work besides training.
@pytest.mark.parametrize(("workers", "rounds"), [(1, 5), (2, 3), (5, 1)])
def test_closing_seconds_cover_five_seeds_of_the_incumbent(workers: int, rounds: int, trainer: Trainer, tmp_path: Path):
    networks = [Trial(12, fresh=CONFIRMED), Trial(8, fresh=CONFIRMED)]
    search = searches.with_trials(tmp_path, networks, seconds=1000.0, workers=workers)
    search.timing.slowdowns.clear()  # the pace is constant
    large = search.state.candidates[0]
    large.fresh_runs = [replace(run, train_seconds=1_000.0) for run in large.fresh_runs]

    assert search.closing_seconds() == pytest.approx(1.1 * 1.2 * rounds * 8 + 12)
    assert search.verify_seconds(search.state.candidates[1], 4) == pytest.approx(1.1 * 1.2 * -(-4 // workers) * 8 + 12)


def test_closing_seconds_are_zero_if_no_verification_fits(trainer: Trainer, tmp_path: Path):
    networks = [Trial(12, fresh=CONFIRMED), Trial(8, fresh=CONFIRMED)]
    search = searches.with_trials(tmp_path, networks, seconds=1000.0)
    search.timing.slowdowns.clear()  # the pace is constant

    searches.slow_down(search, 1, 180.0)  # a verification takes 1,080 s
    assert search.closing_seconds() == pytest.approx(1.1 * 1.2 * 5 * 8 + 12)
    time_left = search.time_left()
    search.earlier_seconds = 940.0
    assert time_left.is_over()  # the choice of a network does not use the time of the verification
    search.earlier_seconds = 0.0
    searches.slow_down(search, 0, 180.0)
    assert search.closing_seconds() == 0.0
    assert search.time_left().spare_seconds == math.inf
    # Nor does an unconfirmed network have reserved time.
    unconfirmed = searches.with_trials(tmp_path / "likeliest", [Trial(8, fresh=(99.02, 98.98))], seconds=1000.0)
    assert unconfirmed.state.incumbent is None
    assert unconfirmed.closing_seconds() > 0.0
    unconfirmed.earlier_seconds = 990.0
    assert unconfirmed.closing_seconds() == 0.0


def test_spare_seconds_leave_time_for_verifications_of_incumbent_and_fastest_network(trainer: Trainer, tmp_path: Path):
    networks = [Trial(20), Trial(16, fresh=CONFIRMED), Trial(12, fresh=CONFIRMED), Trial(8, fresh=CONFIRMED)]
    search = searches.with_trials(tmp_path, networks, seconds=1000.0)
    search.timing.slowdowns.clear()  # the pace is constant
    for trial, seconds in ((1, 30.0), (2, 20.0), (3, 40.0)):
        searches.slow_down(search, trial, seconds)

    two_verifications = 1.1 * 1.2 * 5 * (40 + 20) + 2 * 12
    assert search.time_left().spare_seconds == pytest.approx(1000 - two_verifications, abs=0.5)
    single = searches.with_trials(tmp_path / "alone", [Trial(8, fresh=CONFIRMED)], seconds=1000.0)
    single.timing.slowdowns.clear()
    assert single.time_left().spare_seconds == pytest.approx(1000 - (1.1 * 1.2 * 5 * 8 + 12), abs=0.5)


def test_closing_seconds_cover_smallest_network_without_verdict_below_verified_network(
    trainer: Trainer, tmp_path: Path
):
    networks = [Trial(16, fresh=CONFIRMED), Trial(12, fresh=CONFIRMED), Trial(8, fresh=CONFIRMED)]
    search = searches.with_trials(tmp_path, networks, seconds=1000.0)
    search.timing.slowdowns.clear()  # the pace is constant
    for trial, seconds in ((0, 10.0), (1, 40.0), (2, 20.0)):
        searches.slow_down(search, trial, seconds)
    rounds = 1.1 * 1.2 * 5

    search.state.verdicts[2] = Verified(passed=False)
    assert search.closing_seconds() == pytest.approx(rounds * 40 + 12)
    assert search.time_left().spare_seconds == pytest.approx(1000 - rounds * (40 + 10) - 24, abs=0.5)
    search.state.verdicts[1] = Verified(passed=True)
    assert search.closing_seconds() == 0.0
    del search.state.verdicts[2]
    assert search.closing_seconds() == pytest.approx(rounds * 20 + 12)
    assert search.time_left().spare_seconds == pytest.approx(1000 - rounds * 20 - 12, abs=0.5)


@pytest.mark.parametrize(
    ("network", "workers", "rounds"),
    [
        (Trial(4, fresh=CONFIRMED), 1, 0),
        (Trial(4, fresh=(99.4,)), 1, 1),
        (Trial(4), 1, 2),
        (Trial(4), 2, 1),
        (Trial(4, fresh=(99.4,)), 2, 1),
    ],
)
def test_remaining_seconds_cover_missing_seeds_and_verification(
    network: Trial, workers: int, rounds: int, trainer: Trainer, tmp_path: Path
):
    search = searches.with_trials(tmp_path, [network], workers=workers, seconds=10_000.0)

    seconds = search.remaining_seconds(search.state.candidates[0], workers)

    assert seconds == pytest.approx(1.1 * rounds * 8 + 1.1 * 1.2 * -(-5 // workers) * 8 + 12)


@pytest.mark.parametrize(("images", "reserve"), [(9_999, 6), (10_000, 12)])
def test_verification_reserves_less_time_for_few_images(images: int, reserve: float):
    # Five seeds on a fifth more images in three rounds, and a tenth of caution.
    assert verification_seconds(10.0, workers=2, images=images) == pytest.approx(3 * 10 * 1.2 * 1.1 + reserve)
