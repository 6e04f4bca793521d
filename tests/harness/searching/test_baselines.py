"""Baselines at the begin of a search: linear layers and small convolutional networks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.searching.acquisition import NetworkOption
from harness.searching.baselines import baseline_epochs, baseline_networks, best_linear
from harness.searching.finder import Finder, Inquiry
from harness.searching.proposer import Proposer
from harness.searching.surrogate.model import NO_PRIOR
from harness.searching.time_budget import Pace, TimeLeft
from harness.spaces.network import Task, analyse
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import Draw, Metric, judge
from harness.studies.events import Rejected
from harness.training.result import Status
from tests import searches
from tests.searches import trained_candidate

SPACE = parse_space(searches.SPACE, "widths")
TIME = TimeLeft(images=1_000, pace=Pace(0.001, 0.0))


# Weights and a bias per class: 10 * (28 * 28 + 1), then with a quarter and a sixteenth of the pixels.
@pytest.mark.parametrize(
    ("task", "linear"),
    [
        (Task((1, 28, 28), 10), [7_850, 1_970, 500]),
        (Task((3, 8, 8), 4), [4 * (3 * 64 + 1), 4 * (3 * 16 + 1), 4 * (3 * 4 + 1)]),
        (Task((12, 1, 25), 9), [9 * (12 * 25 + 1)]),
        (Task((1, 3, 3), 2), [2 * 10, 2 * 2]),
    ],
    ids=str,
)
def test_baselines_are_linear_layers_by_image_shape_and_convolutional_networks(task: Task, linear: list[int]):
    networks = baseline_networks(task)
    assert [analyse(network, task).parameters for network in networks][: len(linear)] == linear
    assert all("conv" in str(network) for network in networks[len(linear) :])
    assert len(networks) > len(linear)


def test_search_begins_with_baselines_within_limits():
    baselines = [parse_network(text) for text in ("linear(10)", "avgpool(4) | linear(10)")]
    proposer = Proposer(SPACE, searches.config(), baselines=baselines)
    answers = [proposer.propose(Inquiry(7_000, {}, TIME)) for _ in range(2)]
    assert [answer.proposal and answer.proposal.origin for answer in answers] == ["baseline", "ladder"]
    # The linear layer on all pixels has more than 7,000 parameters and is rejected.
    refusals = [event for event in answers[0].rejected_proposals if isinstance(event, Rejected)]
    assert [(event.reason, event.parameters) for event in refusals] == [("parameters", 7_850)]


@pytest.mark.parametrize(("left", "epochs"), [(1_000.0, 2), (10_000.0, 8), (1.0, 2), (math.inf, 8)])
def test_baseline_epochs_are_bounded_by_share_of_time_limit(left: float, epochs: int):
    # An epoch takes a second; a baseline may take 0.003 of the time limit, at most of an hour.
    network = parse_network("linear(10)")
    option = NetworkOption.of(Draw(network, ()), judge(SPACE, network), Metric.PARAMETERS)
    assert baseline_epochs(replace(option, step_macs=1.0), (2, 4, 8), replace(TIME, seconds_left=left)) == epochs


def test_best_linear_is_complete_linear_baseline_with_fewest_errors():
    candidates = [
        trained_candidate(0, "linear(10)", 80),
        trained_candidate(1, "avgpool | linear(10)", 70),
        trained_candidate(2, "avgpool(4) | linear(10)", 60, status=Status.CRASHED),
        trained_candidate(3, "conv3x3(4) gap linear(10)", 50),
        trained_candidate(4, "linear(10)", 40, origin="surrogate"),
    ]
    best = best_linear(candidates)
    assert best is not None
    assert best.parameters == 1_970
    assert best_linear(candidates[2:]) is None


def test_surrogate_ignores_baselines():
    candidates = {
        0: trained_candidate(0, "linear(10)", 80),
        1: trained_candidate(1, "conv3x3(4) gap linear(10)", 50, origin="surrogate"),
    }
    finder = Finder(SPACE, searches.config(), Inquiry(20_000, candidates, TIME), NO_PRIOR)
    assert len(finder._observations()) == 1
