"""What a search begins with: linear layers and a few kernels, which others are compared with."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.searching.baselines import baseline_epochs, baseline_networks, best_linear
from harness.searching.finder import Finder, Inquiry
from harness.searching.proposer import Proposer
from harness.searching.surrogate.model import NO_PAST
from harness.searching.time_budget import Pace, TimeLeft
from harness.studies.candidate import BASELINE, Candidate
from harness.studies.events import Rejected
from harness.training.result import Status
from search_spaces.network import Task, analyse
from search_spaces.notation import parse_network, parse_space
from tests import searches
from tests.factories import make_job_result, make_proposal

SPACE = parse_space(searches.SPACE, "widths")
ROOM = TimeLeft(images=1_000, pace=Pace(0.001, 0.0))


def trained(trial: int, text: str, errors: int, origin: str = BASELINE, status: Status = Status.COMPLETE) -> Candidate:
    proposal = make_proposal(trial, text, origin=origin)
    job = searches.first_job(proposal)
    run = make_job_result(job, lambda parameters, seed: 100 - errors / 100, job.recipe.epochs)
    run = replace(run, status=status)
    return Candidate(proposal, proposal.parameters, run, threshold_pct=99.0)


# Weights and a bias a class: 10 * (28 * 28 + 1), and with a quarter and a sixteenth of the pixels.
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
def test_the_floor_has_the_linear_layers_that_images_allow_and_a_few_kernels(task: Task, linear: list[int]):
    networks = baseline_networks(task)
    sizes = [analyse(network, task).parameters for network in networks]
    assert sizes[: len(linear)] == linear
    assert all("conv" in str(network) for network in networks[len(linear) :])
    assert len(networks) > len(linear)


def test_a_search_begins_with_the_floor_within_its_limits():
    baselines = [parse_network(text) for text in ("linear(10)", "avgpool(4) | linear(10)")]
    proposer = Proposer(SPACE, searches.config(), baselines=baselines)
    answers = [proposer.propose(Inquiry(7_000, {}, ROOM)) for _ in range(2)]
    assert [answer.proposal and answer.proposal.origin for answer in answers] == ["floor", "ladder"]
    # The layer on the whole map is refused with its reason.
    refusals = [event for event in answers[0].rejected_proposals if isinstance(event, Rejected)]
    assert [(event.reason, event.parameters) for event in refusals] == [("parameters", 7_850)]


@pytest.mark.parametrize(("left", "epochs"), [(1_000.0, 2), (10_000.0, 8), (1.0, 2), (math.inf, 8)])
def test_a_network_of_the_floor_trains_for_as_long_as_costs_next_to_nothing(left: float, epochs: int):
    # An epoch takes a second; three thousandths of the time are free, of an hour at the most.
    assert baseline_epochs(1.0, (2, 4, 8), replace(ROOM, left=left)) == epochs


def test_the_linear_model_is_the_best_that_was_trained_to_its_end():
    candidates = [
        trained(0, "linear(10)", 80),
        trained(1, "avgpool | linear(10)", 70),
        trained(2, "avgpool(4) | linear(10)", 60, status=Status.CRASHED),
        trained(3, "conv3x3(4) gap linear(10)", 50),
        trained(4, "linear(10)", 40, origin="aim"),
    ]
    best = best_linear(candidates)
    assert best is not None
    assert best.parameters == 1_970
    assert best_linear(candidates[2:]) is None


def test_the_surrogate_learns_nothing_from_the_floor():
    candidates = {0: trained(0, "linear(10)", 80), 1: trained(1, "conv3x3(4) gap linear(10)", 50, origin="aim")}
    finder = Finder(SPACE, searches.config(), Inquiry(20_000, candidates, ROOM), NO_PAST)
    assert len(finder._observations()) == 1
