"""Order of the proposals: ladder, sampler, surrogate, and rejected networks."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from typing import Any

import pytest

from harness.searching import finder as finder_module
from harness.searching import proposer
from harness.searching.acquisition import _MIN_CHANCE, Acquisition, Forecast, NetworkOption, ScoredOption
from harness.searching.finder import MAX_ANSWERS, Finder, Inquiry, InquiryAnswer
from harness.searching.proposer import ALL_ON, Proposer, Switches, _size_ladder, _violation
from harness.searching.samplers import seeds_of
from harness.searching.scheduler import turn_at
from harness.searching.surrogate import model
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import Observation, Prior
from harness.searching.time_budget import Pace, TimeLeft, pace_of, step_macs
from harness.spaces.catalog import space
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network, parse_space
from harness.spaces.space import Condition, Draw, Metric, SearchSpace, measured
from harness.spaces.space_errors import DrawError
from harness.studies.candidate import _TYPICAL_RATIO, BASELINE, Candidate, combined_cost, costs_of, objective_of
from harness.studies.events import Event, Rejected, Repeated, RunEnded
from harness.training.recipe import Recipe
from harness.training.result import Status
from tests import searches
from tests.factories import make_job_result, make_proposal
from tests.fakes import by_size

TINY_SPACE = "net = conv3x3({4, 8, 12}) gap linear(10);"  # 86, 162 and 238 parameters
WIDE = "width = 1..100; net = conv3x3(width) gap linear(10);"  # 10 parameters, and 19 per channel
NO_LIMIT = TimeLeft(images=50_000, pace=pace_of("native", "cpu"))
MANY_WORKERS = replace(NO_LIMIT, workers=40)
TRAINING = (searches.RECIPE.batch_size, searches.RECIPE.augmented_share)
NO_LADDER, SAMPLER_ONLY = Switches(ladder=False), Switches(ladder=False, surrogate=False)


def network_of(channels: int) -> Any:
    return parse_network(f"conv3x3({channels}) gap linear(10)")


# Trainings of these networks: a hundred errors, as many as allowed, at 40 channels.
LARGER_IS_BETTER = tuple(
    Observation(row_of(network_of(channels), MNIST, epochs, *TRAINING), errors, 20)
    for epochs in (5, 8, 10)
    for channels, errors in ((4, 1_000.0), (10, 400.0), (20, 200.0), (40, 100.0), (80, 50.0), (100, 40.0))
)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce draws and mutations to a tenth of the numbers of a search."""
    for name, value in {"_SURROGATE_DRAWS": 60, "_MAX_SURROGATE_ATTEMPTS": 160, "_PARENTS": 3}.items():
        monkeypatch.setattr(finder_module, name, value)
    # The few trainings of these tests count as a settled prior.
    monkeypatch.setattr(model, "_SETTLED_OBSERVATIONS", 1)


def create(
    text: str = searches.SPACE, switches: Switches = ALL_ON, past: Sequence[Observation] = (), **fields: Any
) -> Proposer:
    config = searches.config(space_text=text, **fields)
    space = replace(parse_space(text, "test"), weight_bits=config.recipe.weight_bits)
    return Proposer(space, config, switches, Prior(tuple(past)))


def create_with_prior(text: str = WIDE, **fields: Any) -> Proposer:
    return create(text, past=LARGER_IS_BETTER, sampler="surrogate", **fields)


def candidate_with(trial: int, width: int, errors: int, fresh: Sequence[int] = ()) -> Candidate:
    """Return a candidate whose runs ended with these errors; the threshold is 100 errors."""
    proposal = make_proposal(trial, f"conv3x3({width}) gap linear(10)")
    run = make_job_result(searches.first_job(proposal), by_size, searches.RECIPE.epochs)
    seeds = [replace(run, seed_index=index, validation_errors=count) for index, count in enumerate(fresh)]
    return Candidate(proposal, proposal.parameters, replace(run, validation_errors=errors), seeds, threshold_pct=99.0)


def answer_of(
    proposer_: Proposer, *candidates: Candidate, budget: int = 20_000, time_left: TimeLeft = NO_LIMIT
) -> InquiryAnswer:
    return proposer_.propose(Inquiry(budget, {item.proposal.trial: item for item in candidates}, time_left))


def simulate(proposer_: Proposer, count: int, budget: int = 20_000) -> tuple[dict[int, Candidate], list[InquiryAnswer]]:
    """Make this number of proposals; each network is trained successfully before the next proposal."""
    candidates: dict[int, Candidate] = {}
    answers = []
    for _ in range(count):
        answers.append(proposer_.propose(Inquiry(budget, candidates, NO_LIMIT)))
        if (proposal := answers[-1].proposal) is not None:
            job = searches.first_job(proposal)
            run = make_job_result(job, lambda parameters, seed: 99.5, job.recipe.epochs)
            candidates[proposal.trial] = Candidate(proposal, proposal.parameters, run, threshold_pct=99.0)
            proposer_.tell(candidates[proposal.trial])
    return candidates, answers


def rejections(*answers: InquiryAnswer) -> list[Rejected]:
    return [event for answer in answers for event in answer.rejected_proposals if isinstance(event, Rejected)]


# The ladder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["card", "tiny", "posed"])
def test_ladder_sizes_are_evenly_log_spaced_and_start_at_the_middle(name: str):
    steps = _size_ladder(space(name), searches.config())

    sizes = [analyse(step.architecture, MNIST).parameters for step in steps]
    ratios = [larger / smaller for smaller, larger in itertools.pairwise(sorted(sizes))]
    assert [sorted(sizes).index(size) for size in sizes] == [4, 3, 5, 2, 6, 1, 0]
    assert max(ratios) < 2 * min(ratios)


def test_ladder_steps_over_current_budget_are_rejected():
    proposer_ = create()
    sizes = [analyse(step.architecture, MNIST).parameters for step in proposer_.ladder]
    budget = sorted(sizes)[2]

    answer = answer_of(proposer_, budget=budget)

    skipped = itertools.takewhile(lambda size: size > budget, sizes)
    assert [(item.reason, item.parameters, item.origin) for item in rejections(answer)] == [
        ("parameters", size, "ladder") for size in skipped
    ]
    assert answer.proposal is not None
    assert answer.proposal.origin == "ladder"
    assert answer.proposal.parameters <= budget


@pytest.mark.parametrize(("errors", "networks"), [((50,), 1), ((150, 150, 50), 3), ((150,) * 7, 4)])
def test_ladder_without_prior_ends_after_first_passed_or_fourth_network(errors: tuple[int, ...], networks: int):
    proposer_ = create(WIDE, sampler="surrogate")
    candidates: list[Candidate] = []
    origins = []
    for trial, count in enumerate(errors):
        proposal = answer_of(proposer_, *candidates).proposal
        assert proposal is not None
        origins.append(proposal.origin)
        candidates.append(candidate_with(trial, 4 + trial, count))
    next_proposal = answer_of(proposer_, *candidates).proposal
    assert next_proposal is not None
    origins.append(next_proposal.origin)

    assert origins[: networks + 1] == ["ladder"] * networks + ["surrogate"]


# The sampler ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_proposals_are_within_budget_and_rejections_have_reasons(sampler: str):
    _, answers = simulate(create(switches=NO_LADDER, sampler=sampler, seed=1), 12, budget=1_500)

    assert all(answer.proposal and answer.proposal.parameters <= 1_500 for answer in answers)
    rejected = rejections(*answers)
    assert {item.reason for item in rejected} == {"parameters"}
    assert all(item.parameters is not None and item.parameters > 1_500 for item in rejected)


@pytest.mark.parametrize(
    ("condition", "budget", "expected"),
    [
        ("", 50, (86 - 50) / 50),
        ("where parameters <= 43", 86, 1.0),
        ("where receptive_field >= 6", 86, 0.5),  # the receptive field is 3
        ("where parameters < 86", 86, 1 / 86),
        ("where receptive_field >= 6, parameters <= 43", 43, 2.5),
        ("", 86, 0.0),
    ],
)
def test_violation_sums_relative_excess_over_limits(condition: str, budget: int, expected: float):
    space = parse_space(f"net = conv3x3(4) gap linear(10); {condition};" if condition else TINY_SPACE)
    limited = replace(space, conditions=(*space.conditions, Condition(Metric.PARAMETERS, "<=", budget)))

    assert _violation(limited, analyse(network_of(4), MNIST)) == pytest.approx(expected)


def test_uniform_draws_replace_repeated_proposals_until_space_is_exhausted():
    candidates, answers = simulate(create(TINY_SPACE, NO_LADDER, budget=162), 3, budget=162)

    assert len(candidates) == len({candidate.proposal.hash for candidate in candidates.values()}) == 2
    repeats = [item for item in answers[-1].rejected_proposals if isinstance(item, Repeated)]
    assert {repeat.trial for repeat in repeats} == {0, 1}
    assert all(repeat.indices for repeat in repeats)
    assert answers[-1].proposal is None
    assert answers[-1].why_no_proposal == "the space has no further network with at most 162 parameters"
    assert len(answers[-1].rejected_proposals) == MAX_ANSWERS


def test_message_names_each_limit_once():
    limits = "where parameters <= 162; where parameters <= 300, macs <= 99999, parameters >= 9; where macs <= 99999;"
    _, answers = simulate(create(f"{TINY_SPACE} {limits}", NO_LADDER, budget=162), 3, budget=162)
    assert answers[-1].why_no_proposal.endswith("with at most 162 parameters and macs <= 99999 and parameters >= 9")


@pytest.mark.parametrize(
    ("metric", "sampler"),
    [(Metric.WEIGHT_BYTES, "surrogate"), (Metric.MACS, "random"), (Metric.RAM_BYTES, "surrogate")],
)
def test_message_for_unreachable_limit_states_nearest_draw(metric: Metric, sampler: str):
    # A space of this size is not enumerated, but sampled.
    net = "net = conv3x3(2..71) conv3x3(2..73, pad={0, 1}) gap linear(10)"
    answer = answer_of(create(f"{net}; where {metric} <= 9", NO_LADDER, sampler=sampler))

    pattern = rf"; nearest draw: {metric} is ([\d,]+), but the space requires {metric} <= 9$"
    least = re.search(pattern, answer.why_no_proposal)

    assert least is not None
    # The smallest network of the space has two channels in both convolutions.
    smallest = measured(analyse(parse_network("conv3x3(2) conv3x3(2, pad=0) gap linear(10)"), MNIST), metric)
    assert smallest <= int(least[1].replace(",", "")) <= 2 * smallest


def test_surrogate_and_requested_sampler_propose_alternately():
    _, answers = simulate(create(switches=NO_LADDER, sampler="random"), 6)

    assert [answer.proposal.origin for answer in answers if answer.proposal] == ["surrogate", "random"] * 3


# Length and time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["ladder", "surrogate", "random", "draw"])
def test_proposal_has_a_length_of_the_study_and_a_chance(origin: str, monkeypatch: pytest.MonkeyPatch):
    proposer_ = create(
        sampler="random", lengths=(5, 10), switches=Switches(ladder=origin == "ladder", surrogate=origin == "surrogate")
    )
    monkeypatch.setattr(proposer, "MAX_ANSWERS", 0 if origin == "draw" else 40)

    proposal = answer_of(proposer_).proposal

    assert proposal is not None
    assert proposal.origin == origin
    assert proposal.epochs in (5, 10)
    assert proposal.chance is not None
    assert 0 <= proposal.chance <= 1


def time_for(width: int, epochs: int) -> TimeLeft:
    return replace(
        NO_LIMIT, longest_training=NO_LIMIT.training_seconds(epochs, step_macs(network_of(width), MNIST)) + 1e-6
    )


@pytest.mark.parametrize("ladder", [True, False])
def test_networks_and_lengths_without_time_are_rejected(ladder: bool):
    switches = Switches(ladder=ladder, surrogate=False)
    answer = answer_of(create(WIDE, switches, sampler="random"), time_left=time_for(5, 8))
    single_network = create("net = conv3x3(12) gap linear(10);", switches, sampler="random", lengths=(5, 10))
    short_answer = answer_of(single_network, time_left=time_for(12, 5))

    assert answer.proposal is not None
    assert answer.proposal.parameters <= 10 + 19 * 5
    assert {item.reason for item in rejections(answer)} == {"time"}
    assert short_answer.proposal is not None
    assert short_answer.proposal.epochs == 5


@pytest.mark.parametrize(("sampler", "listed"), [("surrogate", False), ("surrogate", True), ("random", True)])
def test_lack_of_time_for_any_network_is_reported(sampler: str, listed: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finder_module, "_MAX_LISTED", 5_000 if listed else 10)
    monkeypatch.setattr(finder_module, "DRAWS", 50)

    proposer_ = create(WIDE, NO_LADDER, sampler=sampler)
    answer = answer_of(proposer_, time_left=replace(NO_LIMIT, longest_training=0.25))
    calls = itertools.count(1)
    late = answer_of(proposer_, time_left=replace(NO_LIMIT, longest_training=0.0, is_over=lambda: next(calls) > 20))

    assert answer.proposal is None
    assert answer.lacks_time
    assert "at most 20,000 parameters and at most 0 s" in answer.why_no_proposal
    assert late.proposal is None
    assert late.lacks_time
    assert sum(late.rejected_draws.values()) <= 20


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
def test_exhausted_space_is_not_reported_as_lack_of_time(sampler: str):
    candidates, _ = simulate(create(TINY_SPACE, NO_LADDER, sampler=sampler), 3)

    limit = replace(NO_LIMIT, longest_training=1e3)
    exhausted = answer_of(create(TINY_SPACE, NO_LADDER, sampler=sampler), *candidates.values(), time_left=limit)
    slow = create(TINY_SPACE, NO_LADDER, sampler=sampler).propose(
        Inquiry(20_000, {0: candidates[0], 1: candidates[1]}, replace(NO_LIMIT, longest_training=0.0))
    )

    assert [(answer.proposal, answer.lacks_time) for answer in (exhausted, slow)] == [(None, False), (None, True)]


# The surrogate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(), (5, 10)])
def test_each_pair_of_network_and_length_is_proposed_once(lengths: tuple[int, ...]):
    proposer_, candidates = create_with_prior(TINY_SPACE, lengths=lengths), list[Candidate]()
    while (proposal := answer_of(proposer_, *candidates).proposal) is not None:
        candidates.append(Candidate(proposal, proposal.parameters, threshold_pct=99.0))

    pairs = {(item.proposal.hash, item.proposal.epochs) for item in candidates}
    assert len(pairs) == len(candidates) == 3 * max(1, len(lengths))
    assert {item.proposal.epochs for item in candidates} == set(lengths or (8,))
    assert [item.proposal.trial for item in candidates] == list(range(len(candidates)))


def test_with_incumbent_improbable_network_is_proposed_in_doubt_within_spare_time():
    incumbent, budget = candidate_with(0, 60, 50, fresh=(60, 60)), 10 + 19 * 6
    time_left = replace(NO_LIMIT, longest_training=1_000.0, seconds_left=3_600.0)
    # Networks within the budget have at most six channels and 700 errors.
    proposal = answer_of(create_with_prior(), incumbent, budget=budget, time_left=time_left).proposal
    assert proposal is not None
    assert proposal.origin == "doubt"
    assert proposal.chance is not None
    assert proposal.chance < _MIN_CHANCE

    # The reason is not the time: with more time no network has a sufficient chance.
    answer = answer_of(create_with_prior(), incumbent, budget=budget, time_left=replace(time_left, spare_seconds=0.0))
    assert answer.proposal is None
    assert not answer.lacks_time
    assert "20 % or more" in answer.why_no_proposal
    assert answer_of(create_with_prior(), incumbent, budget=budget).proposal is not None


def finder_of(
    *candidates: Candidate,
    space: SearchSpace | None = None,
    budget: int = 20_000,
    past: Sequence[Observation] = LARGER_IS_BETTER,
    time_left: TimeLeft = NO_LIMIT,
    missed_trials: Set[int] = frozenset(),
    **changes: Any,
) -> Finder:
    config = searches.config(space_text=WIDE, **changes)
    known = {item.proposal.trial: item for item in candidates}
    inquiry = Inquiry(budget, known, time_left, missed_trials=missed_trials)
    return Finder(space or parse_space(WIDE, "test"), config, inquiry, Prior(tuple(past)))


def test_surrogate_chooses_best_of_draws_and_neighbours(monkeypatch: pytest.MonkeyPatch):
    finder, batches, forecast = (
        finder_of(space=space("card"), budget=4_000),
        list[list[NetworkOption]](),
        Acquisition.forecast,
    )

    def spy(acquisition: Acquisition, options: Iterable[NetworkOption]) -> Forecast:
        batches.append(list(options))
        return forecast(acquisition, batches[-1])

    def highest_value(networks: Sequence[NetworkOption]) -> float:
        return max(
            choice.value for choice in finder.acquisition().ranked(forecast(finder.acquisition(), networks)).choices
        )

    monkeypatch.setattr(Acquisition, "forecast", spy)
    best, *_ = finder.choose_by_surrogate(random.Random(0))

    draws, all_options = batches[0], [each for options in batches for each in options]
    assert len(all_options) > len(draws) > 0
    # The forecast of each network is computed once.
    assert len({each.hash for each in all_options}) == len(all_options)
    assert max(each.cost for each in all_options) <= 4_000
    assert best.value == pytest.approx(highest_value(all_options))
    assert best.value >= highest_value(draws)


def test_choice_starts_from_best_options_of_previous_choice(monkeypatch: pytest.MonkeyPatch):
    first = finder_of(space=space("card"), budget=4_000)
    (best, *_) = first.choose_by_surrogate(random.Random(0))
    second = finder_of(space=space("card"), budget=4_000)
    second.best_options = first.best_options
    batches, forecast = list[list[NetworkOption]](), Acquisition.forecast

    def spy(acquisition: Acquisition, options: Iterable[NetworkOption]) -> Forecast:
        batches.append(list(options))
        return forecast(acquisition, batches[-1])

    monkeypatch.setattr(Acquisition, "forecast", spy)
    (next_best, *_) = second.choose_by_surrogate(random.Random(1))

    assert next_best.value >= best.value
    assert {each.hash for each in first.best_options} <= {each.hash for each in batches[0]}


def test_latest_networks_are_mutated_even_if_no_network_passed(monkeypatch: pytest.MonkeyPatch):
    card = space("card")
    config = searches.config(space_text=card.text, space="card", sampler="surrogate")
    proposal = answer_of(Proposer(card, config, prior=Prior(LARGER_IS_BETTER)), budget=4_000).proposal
    assert proposal is not None
    parents = set[str]()

    def refuse_mutation(within: SearchSpace, parent: Draw, rng: random.Random, **options: int) -> None:
        parents.add(parent.architecture.hash)
        raise DrawError("none")

    monkeypatch.setattr(finder_module, "mutate", refuse_mutation)

    finder = finder_of(Candidate(proposal, proposal.parameters, threshold_pct=99.0), space=card, budget=4_000)
    finder.choose_by_surrogate(random.Random(0))

    assert proposal.hash in parents


def test_observation_is_mean_error_of_runs_at_length_of_network():
    candidate = candidate_with(0, 20, 90, fresh=(120, 60))
    candidate.proposal = replace(candidate.proposal, epochs=5)

    row = row_of(network_of(20), MNIST, 5, *TRAINING)
    assert finder_of()._observation_of(candidate, _TYPICAL_RATIO) == Observation(row, 90.0, 3, 0.0)


def test_observation_of_pruned_run_is_an_estimate_and_of_failed_run_is_none():
    candidate = candidate_with(0, 20, 300)
    assert candidate.first_run is not None
    pruned = replace(candidate.first_run, status=Status.PRUNED, history=candidate.first_run.history[:2])
    failed = replace(candidate.first_run, status=Status.DIVERGED, validation_errors=None, validation_size=None)
    estimate, *missing = (
        finder_of()._observation_of(replace(candidate, first_run=run), _TYPICAL_RATIO) for run in (pruned, failed, None)
    )

    assert estimate is not None
    assert estimate.errors == pytest.approx(300 * _TYPICAL_RATIO[0.25])
    assert estimate.doubt > 0
    assert missing == [None, None]


def test_surrogate_observes_convolutional_but_not_linear_baselines():
    convolutional = candidate_with(0, 20, 90)
    convolutional.proposal = replace(convolutional.proposal, origin=BASELINE)
    linear = candidate_with(1, 20, 90)
    linear.proposal = replace(linear.proposal, origin=BASELINE, architecture=parse_network("linear(10)"))

    observations = finder_of(convolutional, linear, past=())._observations()

    assert [each.errors for each in observations] == [90.0]


def test_acquisition_has_incumbent_and_open_candidates_of_inquiry():
    in_progress = Candidate(replace(candidate_with(0, 30, 0).proposal, chance=0.3), 580, threshold_pct=99.0)
    passed, missed = candidate_with(1, 40, 80), candidate_with(2, 10, 400)
    confirmed, refuted = candidate_with(3, 60, 50, fresh=(60, 60)), candidate_with(4, 20, 90, fresh=(200, 200))

    function = finder_of(in_progress, passed, missed, confirmed, refuted, budget=1_000, past=()).acquisition()

    assert (function.cost_bound, function.has_incumbent, round(function.allowed_errors, 9)) == (1_001, True, 100.0)
    assert function.open_candidates == ((580, 0.3), (770, passed.chance_to_confirm))
    assert not finder_of(passed, missed, refuted).acquisition().has_incumbent
    # Networks that missed the target on the test images cannot be the answer, confirmed or not.
    after_misses = finder_of(in_progress, passed, confirmed, missed_trials={1, 3}).acquisition()
    assert not after_misses.has_incumbent
    assert after_misses.open_candidates == ((580, 0.3),)


def test_surrogate_observes_latest_runs_and_a_share_of_the_prior(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finder_module, "_MAX_OBSERVATIONS", 5)
    inputs: list[list[float]] = []
    monkeypatch.setattr(
        finder_module, "Surrogate", lambda observations, *_: inputs.append([each.errors for each in observations])
    )
    past = [replace(LARGER_IS_BETTER[0], errors=float(errors)) for errors in range(8)]
    candidates = [candidate_with(trial, 4 + trial, 100 + trial) for trial in range(7)]

    finder_of(candidates[0], past=past).acquisition()
    finder_of(candidates[0], past=past[:2]).acquisition()
    finder_of(*candidates, past=past).acquisition()

    assert inputs == [[0, 2, 4, 6, 100], [0, 1, 100], [102, 103, 104, 105, 106]]


@pytest.mark.parametrize(
    ("seconds", "workers", "seconds_left", "expected"),
    [(10.0, 2, 100.0, 1), (0.4, 1, 100.0, 1), (0.2, 1, 100.0, 2), (0.01, 1, 100.0, 4), (0.2, 1, math.inf, 1)],
)
def test_batch_size_grows_for_fast_trainings(seconds: float, workers: int, seconds_left: float, expected: int):
    # All trainings take the same time.
    time_left = TimeLeft(images=5_000, pace=Pace(seconds / 5_000 / 10, 0.0), workers=workers, seconds_left=seconds_left)
    finder = finder_of(time_left=time_left, lengths=(10,))

    assert len(finder.choose_by_surrogate(random.Random(0))) == expected


# Many workers -----------------------------------------------------------------------------------------------


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[Finder]:
    """Return a list of the finders that used the surrogate, which grows during the test."""
    instances, choose = list[Finder](), Finder.choose_by_surrogate

    def record_and_choose(finder: Finder, rng: random.Random) -> list[ScoredOption]:
        instances.append(finder)
        return choose(finder, rng)

    monkeypatch.setattr(Finder, "choose_by_surrogate", record_and_choose)
    return instances


def in_training(proposer_: Proposer, workers: int, count: int) -> list[Candidate]:
    """Return ``count`` candidates that were proposed in succession and are all in training."""
    candidates: list[Candidate] = []
    for _ in range(count):
        proposal = answer_of(proposer_, *candidates, time_left=replace(NO_LIMIT, workers=workers)).proposal
        assert proposal is not None
        candidates.append(Candidate(proposal, proposal.parameters, threshold_pct=99.0))
    return candidates


@pytest.mark.parametrize("workers", [1, 15])
def test_with_few_workers_each_proposal_is_first_choice_of_a_new_finder(workers: int):
    pool, seeds = in_training(create_with_prior(), workers, 8), seeds_of(0)

    for trial, candidate in enumerate(pool):
        finder = finder_of(*pool[:trial], time_left=replace(NO_LIMIT, workers=workers), sampler="surrogate")
        assert finder.acquisition().open_candidates == tuple((item.cost, item.proposal.chance) for item in pool[:trial])
        (first,) = finder.choose_by_surrogate(random.Random(next(seeds)))
        assert (candidate.proposal.hash, candidate.proposal.chance) == (first.option.hash, first.chance)
        next(seeds)  # of the registration


def test_batch_skips_known_and_too_slow_networks(finders: list[Finder]):
    proposer_ = create_with_prior()
    first = answer_of(proposer_, time_left=MANY_WORKERS).proposal
    assert first is not None
    known, slow, good, *_ = proposer_._batch
    proposer_._batch[1] = replace(slow, option=replace(slow.option, step_macs=1e18))
    repeated = make_proposal(1, str(known.option.draw.architecture))
    candidates = [
        Candidate(first, first.parameters, threshold_pct=99.0),
        Candidate(replace(repeated, epochs=known.epochs), repeated.parameters, threshold_pct=99.0),
    ]

    proposal = answer_of(proposer_, *candidates, time_left=replace(MANY_WORKERS, longest_training=1e6)).proposal

    assert proposal is not None
    assert (proposal.hash, proposal.epochs, proposal.chance) == (good.option.hash, good.epochs, good.chance)
    assert len(finders) == 1


def test_batch_is_discarded_after_new_incumbent(finders: list[Finder]):
    proposer_, incumbent = create_with_prior(), candidate_with(0, 90, 40, fresh=(40, 40))
    answer_of(proposer_, time_left=MANY_WORKERS)

    proposal = answer_of(proposer_, incumbent, budget=incumbent.cost - 1, time_left=MANY_WORKERS).proposal

    assert proposal is not None
    assert proposal.parameters < incumbent.cost
    assert len(finders) == 2
    assert {each.option.cost < incumbent.cost for each in proposer_._batch} == {True}


def test_a_restored_proposer_without_surrogate_continues_with_the_same_network():
    original, restored = create(WIDE, SAMPLER_ONLY, sampler="random"), create(WIDE, SAMPLER_ONLY, sampler="random")
    candidates, answers = simulate(original, 3)
    events: list[Event] = []
    for answer, candidate in zip(answers, candidates.values(), strict=True):
        assert candidate.first_run is not None
        events += [*answer.rejected_proposals, candidate.proposal, RunEnded(run=candidate.first_run)]

    restored.restore(events, candidates)

    inquiry = Inquiry(20_000, candidates, NO_LIMIT)
    assert restored.propose(inquiry).proposal == original.propose(inquiry).proposal


@pytest.mark.parametrize(
    ("metric", "limit", "recipe"),
    [
        (Metric.MACS, 10_000_000, searches.RECIPE),
        (Metric.WEIGHT_BYTES, 10_000, replace(searches.RECIPE, precision="int8", weight_bits=5)),
    ],
    ids=["macs", "weight_bytes"],
)
def test_restored_front_search_reports_same_costs_of_rejections_to_sampler(metric: Metric, limit: int, recipe: Recipe):
    # The sampler nsga2 uses the costs of rejected networks.
    fields: dict[str, Any] = {"sampler": "nsga2", "second": metric, "second_most": limit, "recipe": recipe}
    limited = f"{WIDE} where parameters <= 700;"
    first, second = create(limited, SAMPLER_ONLY, **fields), create(limited, SAMPLER_ONLY, **fields)
    candidates: dict[int, Candidate] = {}
    events: list[Event] = []
    for trial in range(5):
        turn = turn_at(first.config, trial)
        answer = first.propose(Inquiry(turn.limit, candidates, NO_LIMIT, turn.objective))
        assert answer.proposal is not None
        job = searches.first_job(answer.proposal)
        run = make_job_result(job, lambda parameters, seed: 99.5, job.recipe.epochs)
        cost = combined_cost(costs_of(answer.proposal, first.config), objective_of(first.config))
        candidates[trial] = Candidate(answer.proposal, cost, run, threshold_pct=99.0)
        first.tell(candidates[trial])
        events += [*answer.rejected_proposals, answer.proposal, RunEnded(run=run)]

    second.restore(events, candidates)

    assert sum(isinstance(event, Rejected) for event in events) > 3
    assert first.sampler_study is not None
    assert second.sampler_study is not None
    reported = [trial.value for trial in first.sampler_study.study.trials]
    assert [trial.value for trial in second.sampler_study.study.trials] == reported


def test_start_networks_are_proposed_first_despite_prior():
    widths = (3, 5, 8)
    known = tuple(f"conv3x3({width}) relu gap linear(10)" for width in widths)
    proposer_ = create(WIDE, past=LARGER_IS_BETTER, sampler="surrogate", start_from="leaderboard", known=known)
    first_proposals = [answer_of(proposer_).proposal for _ in widths]
    assert {each.architecture.hash for each in first_proposals if each} == {parse_network(text).hash for text in known}
    # The next network is from the space.
    candidates = [candidate_with(trial, width, 150) for trial, width in enumerate(widths)]
    further = answer_of(proposer_, *candidates).proposal
    assert further is not None
    assert further.origin == "surrogate"
    assert further.decisions


@pytest.mark.parametrize("is_settled", [False, True])
def test_ladder_of_short_runs_is_first_without_settled_prior(is_settled: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model, "_SETTLED_OBSERVATIONS", 1 if is_settled else 100)
    config = searches.config(space_text=WIDE, sampler="surrogate", lengths=(5, 10))
    proposer_ = Proposer(parse_space(WIDE, "test"), config, prior=Prior(LARGER_IS_BETTER), has_short_runs=True)

    first, second = simulate(proposer_, 2)[1]

    for answer in (first, second):
        assert answer.proposal is not None
        assert answer.proposal.origin == ("surrogate" if is_settled else "ladder")
        assert is_settled or answer.proposal.epochs == 5
