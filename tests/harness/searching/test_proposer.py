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
from harness.searching.acquisition import LEAST_CHANCE, Acquisition, Forecast, NetworkOption, ScoredOption
from harness.searching.finder import Finder, Inquiry
from harness.searching.optuna_sampler import SamplerStudy
from harness.searching.proposer import ALL_ON, InquiryAnswer, Proposer, Switches, _size_ladder, _violation
from harness.searching.surrogate import model
from harness.searching.surrogate.features import row_of
from harness.searching.surrogate.model import Observation, Past
from harness.searching.time_budget import Pace, TimeLeft, pace_of, work
from harness.searching.turn import turn_at
from harness.studies.candidate import BASELINE, TYPICAL_RATIO, Candidate, combined_cost, costs_of, objective_of
from harness.studies.config import StudyObjective
from harness.studies.events import Event, Rejected, Repeated, RunEnded
from harness.training.recipe import Recipe
from harness.training.result import Status
from search_spaces.catalog import space
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network, parse_space
from search_spaces.space import Condition, Draw, Metric, SearchSpace, measured
from search_spaces.space_errors import DrawError
from tests import searches
from tests.factories import make_job_result, make_proposal
from tests.fakes import by_size

FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"  # 86, 162 and 238 parameters
WIDE = "width = 1..100; net = conv3x3(width) gap linear(10);"  # 10 + 19 a channel
ROOM = TimeLeft(images=50_000, pace=pace_of("native", "cpu"))
MANY = replace(ROOM, workers=40)
TRAINING = (searches.RECIPE.batch_size, searches.RECIPE.augmented_share)
NO_LADDER, ASKING = Switches(ladder=False), Switches(ladder=False, surrogate=False)


def one_convolution(channels: int) -> Any:
    return parse_network(f"conv3x3({channels}) gap linear(10)")


# Trainings of such networks: a hundred errors, which are allowed, at 40 channels.
LARGER_IS_BETTER = tuple(
    Observation(row_of(one_convolution(channels), MNIST, epochs, *TRAINING), errors, 20)
    for epochs in (5, 8, 10)
    for channels, errors in ((4, 1_000.0), (10, 400.0), (20, 200.0), (40, 100.0), (80, 50.0), (100, 40.0))
)


@pytest.fixture(autouse=True)
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the draws and mutations of a search, of which the search must choose the best."""
    for name, number in {"_SURROGATE_DRAWS": 60, "_MOST_SURROGATE_ATTEMPTS": 160, "_PARENTS": 3}.items():
        monkeypatch.setattr(finder_module, name, number)
    # The few trainings of these tests are known as surely as the many of a prior.
    monkeypatch.setattr(model, "_SETTLED_OBSERVATIONS", 1)


def new(
    text: str = searches.SPACE, switches: Switches = ALL_ON, past: Sequence[Observation] = (), **changes: Any
) -> Proposer:
    config = searches.config(space_text=text, **changes)
    space = replace(parse_space(text, "test"), weight_bits=config.recipe.weight_bits)
    return Proposer(space, config, switches, Past(tuple(past)))


def aiming(text: str = WIDE, **changes: Any) -> Proposer:
    return new(text, past=LARGER_IS_BETTER, sampler="surrogate", **changes)


def network(trial: int, width: int, errors: int, fresh: Sequence[int] = ()) -> Candidate:
    """Return a network whose runs ended with these errors; 100 errors are the threshold."""
    proposal = make_proposal(trial, f"conv3x3({width}) gap linear(10)")
    run = make_job_result(searches.first_job(proposal), by_size, searches.RECIPE.epochs)
    seeds = [replace(run, seed_index=index, validation_errors=count) for index, count in enumerate(fresh)]
    return Candidate(proposal, proposal.parameters, replace(run, validation_errors=errors), seeds, threshold_pct=99.0)


def proposed(
    asked: Proposer, *candidates: Candidate, budget: int = 20_000, time_left: TimeLeft = ROOM
) -> InquiryAnswer:
    return asked.propose(Inquiry(budget, {item.proposal.trial: item for item in candidates}, time_left))


def take(asked: Proposer, count: int, budget: int = 20_000) -> tuple[dict[int, Candidate], list[InquiryAnswer]]:
    """Propose so often; each network has been trained, with success, before the next is asked for."""
    candidates: dict[int, Candidate] = {}
    answers = []
    for _ in range(count):
        answers.append(asked.propose(Inquiry(budget, candidates, ROOM)))
        if (proposal := answers[-1].proposal) is not None:
            job = searches.first_job(proposal)
            run = make_job_result(job, lambda parameters, seed: 99.5, job.recipe.epochs)
            candidates[proposal.trial] = Candidate(proposal, proposal.parameters, run, threshold_pct=99.0)
            asked.tell(candidates[proposal.trial])
    return candidates, answers


def rejections(*answers: InquiryAnswer) -> list[Rejected]:
    return [item for found in answers for item in found.rejected_proposals if isinstance(item, Rejected)]


# The ladder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["card", "tiny", "posed"])
def test_the_ladder_spreads_sizes_evenly_in_the_logarithm_those_above_the_middle_first(name: str):
    steps = _size_ladder(space(name), searches.config())

    sizes = [analyse(step.architecture, MNIST).parameters for step in steps]
    ratios = [larger / smaller for smaller, larger in itertools.pairwise(sorted(sizes))]
    assert [sorted(sizes).index(size) for size in sizes] == [4, 3, 5, 2, 6, 1, 0]
    assert max(ratios) < 2 * min(ratios)


def test_steps_over_the_budget_of_the_day_are_counted_as_rejected():
    drawer = new()
    sizes = [analyse(step.architecture, MNIST).parameters for step in drawer.ladder]
    budget = sorted(sizes)[2]

    proposals = proposed(drawer, budget=budget)

    before = itertools.takewhile(lambda size: size > budget, sizes)
    assert [(item.reason, item.parameters, item.origin) for item in rejections(proposals)] == [
        ("parameters", size, "ladder") for size in before
    ]
    assert proposals.proposal is not None
    assert proposals.proposal.origin == "ladder"
    assert proposals.proposal.parameters <= budget


@pytest.mark.parametrize(("errors", "networks"), [((50,), 1), ((150, 150, 50), 3), ((150,) * 7, 4)])
def test_ladder_without_a_prior_ends_with_the_first_pass_or_the_fourth_network(errors: tuple[int, ...], networks: int):
    drawer = new(WIDE, sampler="surrogate")
    candidates: list[Candidate] = []
    origins = []
    for trial, count in enumerate(errors):
        proposal = proposed(drawer, *candidates).proposal
        assert proposal is not None
        origins.append(proposal.origin)
        candidates.append(network(trial, 4 + trial, count))
    following = proposed(drawer, *candidates).proposal
    assert following is not None
    origins.append(following.origin)

    assert origins[: networks + 1] == ["ladder"] * networks + ["surrogate"]


# The sampler ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_no_proposal_is_over_the_budget_and_every_rejection_has_a_reason(sampler: str):
    _, answers = take(new(switches=NO_LADDER, sampler=sampler, seed=1), 12, budget=1_500)

    assert all(found.proposal and found.proposal.parameters <= 1_500 for found in answers)
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
def test_the_violation_sums_what_is_broken_as_shares_of_the_limits(condition: str, budget: int, expected: float):
    within = parse_space(f"net = conv3x3(4) gap linear(10); {condition};" if condition else FEW)
    limited = replace(within, conditions=(*within.conditions, Condition(Metric.PARAMETERS, "<=", budget)))

    assert _violation(limited, analyse(one_convolution(4), MNIST)) == pytest.approx(expected)


def test_where_the_sampler_finds_nothing_new_a_network_is_drawn_until_a_space_is_used_up():
    candidates, answers = take(new(FEW, NO_LADDER, budget=162), 3, budget=162)

    assert len(candidates) == len({candidate.proposal.hash for candidate in candidates.values()}) == 2
    repeats = [item for item in answers[-1].rejected_proposals if isinstance(item, Repeated)]
    assert {repeat.trial for repeat in repeats} == {0, 1}
    assert all(repeat.indices for repeat in repeats)
    assert answers[-1].proposal is None
    assert answers[-1].why_no_proposal == "the space has no further network with at most 162 parameters"
    assert len(answers[-1].rejected_proposals) == proposer.MOST_ANSWERS


def test_limits_are_named_once_each():
    limits = "where parameters <= 162; where parameters <= 300, macs <= 99999, parameters >= 9; where macs <= 99999;"
    _, answers = take(new(f"{FEW} {limits}", NO_LADDER, budget=162), 3, budget=162)
    assert answers[-1].why_no_proposal.endswith("with at most 162 parameters and macs <= 99999 and parameters >= 9")


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
@pytest.mark.parametrize("metric", [Metric.WEIGHT_BYTES, Metric.MACS, Metric.RAM_BYTES])
def test_a_limit_that_no_draw_keeps_is_answered_by_the_least_that_was_reached(metric: Metric, sampler: str):
    # A space of this size is not enumerated, but sampled.
    net = "net = conv3x3(2..71) conv3x3(2..73, pad={0, 1}) gap linear(10)"
    answer = proposed(new(f"{net}; where {metric} <= 9", NO_LADDER, sampler=sampler))

    pattern = rf"; nearest draw: {metric} is ([\d,]+), but the space requires {metric} <= 9$"
    least = re.search(pattern, answer.why_no_proposal)

    assert least is not None
    # The smallest network of the space has two channels in both convolutions.
    smallest = measured(analyse(parse_network("conv3x3(2) conv3x3(2, pad=0) gap linear(10)"), MNIST), metric)
    assert smallest <= int(least[1].replace(",", "")) <= 2 * smallest


def test_every_second_network_is_the_model_s_with_a_sampler_that_was_asked_for():
    _, answers = take(new(switches=NO_LADDER, sampler="random"), 6)

    assert [found.proposal.origin for found in answers if found.proposal] == ["surrogate", "random"] * 3


# Length and time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["ladder", "surrogate", "random", "draw"])
def test_every_network_is_trained_for_one_of_the_lengths(origin: str, monkeypatch: pytest.MonkeyPatch):
    drawer = new(
        sampler="random", lengths=(5, 10), switches=Switches(ladder=origin == "ladder", surrogate=origin == "surrogate")
    )
    monkeypatch.setattr(proposer, "MOST_ANSWERS", 0 if origin == "draw" else 40)

    proposal = proposed(drawer).proposal

    assert proposal is not None
    assert proposal.origin == origin
    assert proposal.epochs in (5, 10)
    assert proposal.chance is not None
    assert 0 <= proposal.chance <= 1


def time_for(channels: int, epochs: int) -> TimeLeft:
    return replace(ROOM, longest_training=ROOM.training_seconds(epochs, work(one_convolution(channels), MNIST)) + 1e-6)


@pytest.mark.parametrize("ladder", [True, False])
def test_networks_and_lengths_that_take_too_long_are_rejected_for_their_multiply_adds(ladder: bool):
    switches = Switches(ladder=ladder, surrogate=False)
    proposals = proposed(new(WIDE, switches, sampler="random"), time_left=time_for(5, 8))
    only = new("net = conv3x3(12) gap linear(10);", switches, sampler="random", lengths=(5, 10))
    short = proposed(only, time_left=time_for(12, 5))

    assert proposals.proposal is not None
    assert proposals.proposal.parameters <= 10 + 19 * 5
    assert {item.reason for item in rejections(proposals)} == {"time"}
    assert short.proposal is not None
    assert short.proposal.epochs == 5


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_search_without_time_for_any_network_says_so(sampler: str, listed: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finder_module, "_MOST_LISTED", 5_000 if listed else 10)
    monkeypatch.setattr(finder_module, "DRAWS", 50)

    drawer = new(WIDE, NO_LADDER, sampler=sampler)
    proposals = proposed(drawer, time_left=replace(ROOM, longest_training=0.25))
    calls = itertools.count(1)
    over = proposed(drawer, time_left=replace(ROOM, longest_training=0.0, is_over=lambda: next(calls) > 20))

    assert proposals.proposal is None
    assert proposals.lacks_time
    assert "at most 20,000 parameters and at most 0 s" in proposals.why_no_proposal
    assert over.proposal is None
    assert over.lacks_time
    assert sum(over.rejected_draws.values()) <= 20


@pytest.mark.parametrize("sampler", ["surrogate", "random"])
def test_a_space_that_is_used_up_lacks_no_time(sampler: str):
    candidates, _ = take(new(FEW, NO_LADDER, sampler=sampler), 3)

    enough = replace(ROOM, longest_training=1e3)
    used_up = proposed(new(FEW, NO_LADDER, sampler=sampler), *candidates.values(), time_left=enough)
    slow = new(FEW, NO_LADDER, sampler=sampler).propose(
        Inquiry(20_000, {0: candidates[0], 1: candidates[1]}, replace(ROOM, longest_training=0.0))
    )

    assert [(found.proposal, found.lacks_time) for found in (used_up, slow)] == [(None, False), (None, True)]


# The surrogate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [(), (5, 10)])
def test_no_network_is_proposed_twice_with_one_length(lengths: tuple[int, ...]):
    asked, candidates = aiming(FEW, lengths=lengths), list[Candidate]()
    while (found := proposed(asked, *candidates).proposal) is not None:
        candidates.append(Candidate(found, found.parameters, threshold_pct=99.0))

    pairs = {(item.proposal.hash, item.proposal.epochs) for item in candidates}
    assert len(pairs) == len(candidates) == 3 * max(1, len(lengths))
    assert {item.proposal.epochs for item in candidates} == set(lengths or (8,))
    assert [item.proposal.trial for item in candidates] == list(range(len(candidates)))


def test_once_something_stands_what_has_no_chance_is_proposed_in_doubt_while_a_second_verification_has_time():
    standing, budget = network(0, 60, 50, fresh=(60, 60)), 10 + 19 * 6
    limits = replace(ROOM, longest_training=1_000.0, seconds_left=3_600.0)
    # Six channels at most, which make 700 errors.
    doubtful = proposed(aiming(), standing, budget=budget, time_left=limits).proposal
    assert doubtful is not None
    assert doubtful.origin == "doubt"
    assert doubtful.chance is not None
    assert doubtful.chance < LEAST_CHANCE

    # The reason is not the time: with more time no network has a chance either.
    without_spare = proposed(aiming(), standing, budget=budget, time_left=replace(limits, spare_seconds=0.0))
    assert without_spare.proposal is None
    assert not without_spare.lacks_time
    assert "20 % or more" in without_spare.why_no_proposal
    assert proposed(aiming(), standing, budget=budget).proposal is not None


def finder_of(
    *candidates: Candidate,
    of: SearchSpace | None = None,
    budget: int = 20_000,
    past: Sequence[Observation] = LARGER_IS_BETTER,
    time_left: TimeLeft = ROOM,
    missed_trials: Set[int] = frozenset(),
    **changes: Any,
) -> Finder:
    config = searches.config(space_text=WIDE, **changes)
    known = {item.proposal.trial: item for item in candidates}
    inquiry = Inquiry(budget, known, time_left, missed_trials=missed_trials)
    return Finder(of or parse_space(WIDE, "test"), config, inquiry, Past(tuple(past)))


def test_the_best_of_the_draws_and_of_their_neighbours_is_taken(monkeypatch: pytest.MonkeyPatch):
    asked, seen, forecast = (
        finder_of(of=space("card"), budget=4_000),
        list[list[NetworkOption]](),
        Acquisition.forecast,
    )

    def spy(acquisition: Acquisition, options: Iterable[NetworkOption]) -> Forecast:
        seen.append(list(options))
        return forecast(acquisition, seen[-1])

    def highest_value(networks: Sequence[NetworkOption]) -> float:
        return max(
            choice.value for choice in asked.acquisition().ranked(forecast(asked.acquisition(), networks)).choices
        )

    monkeypatch.setattr(Acquisition, "forecast", spy)
    best, *_ = asked.choose_by_surrogate(random.Random(0))

    drawn, every = seen[0], [each for options in seen for each in options]
    assert len(every) > len(drawn) > 0
    # Each is looked at once.
    assert len({each.hash for each in every}) == len(every)
    assert max(each.cost for each in every) <= 4_000
    assert best.value == pytest.approx(highest_value(every))
    assert best.value >= highest_value(drawn)


def test_a_look_begins_with_the_best_of_the_look_before(monkeypatch: pytest.MonkeyPatch):
    first = finder_of(of=space("card"), budget=4_000)
    (best, *_) = first.choose_by_surrogate(random.Random(0))
    second = finder_of(of=space("card"), budget=4_000)
    second.best_options = first.best_options
    beginnings, forecast = list[list[NetworkOption]](), Acquisition.forecast

    def spy(acquisition: Acquisition, options: Iterable[NetworkOption]) -> Forecast:
        beginnings.append(list(options))
        return forecast(acquisition, beginnings[-1])

    monkeypatch.setattr(Acquisition, "forecast", spy)
    (again, *_) = second.choose_by_surrogate(random.Random(1))

    assert again.value >= best.value
    assert {each.hash for each in first.best_options} <= {each.hash for each in beginnings[0]}


def test_the_latest_networks_are_changed_even_where_none_has_passed(monkeypatch: pytest.MonkeyPatch):
    card = space("card")
    config = searches.config(space_text=card.text, space="card", sampler="surrogate")
    made = proposed(Proposer(card, config, past=Past(LARGER_IS_BETTER)), budget=4_000).proposal
    assert made is not None
    parents = set[str]()

    def childless(within: SearchSpace, parent: Draw, rng: random.Random, **how: int) -> None:
        parents.add(parent.architecture.hash)
        raise DrawError("none")

    monkeypatch.setattr(finder_module, "mutate", childless)

    finder = finder_of(Candidate(made, made.parameters, threshold_pct=99.0), of=card, budget=4_000)
    finder.choose_by_surrogate(random.Random(0))

    assert made.hash in parents


def test_a_network_teaches_the_mean_of_its_runs_under_its_own_length():
    trained = network(0, 20, 90, fresh=(120, 60))
    trained.proposal = replace(trained.proposal, epochs=5)

    row = row_of(one_convolution(20), MNIST, 5, *TRAINING)
    assert finder_of()._observation_of(trained, TYPICAL_RATIO) == Observation(row, 90.0, 3, 0.0)


def test_a_pruned_run_teaches_a_guess_and_a_failed_one_nothing():
    trained = network(0, 20, 300)
    assert trained.first_run is not None
    stopped = replace(trained.first_run, status=Status.PRUNED, history=trained.first_run.history[:2])
    failed = replace(trained.first_run, status=Status.DIVERGED, validation_errors=None, validation_size=None)
    guess, *nothing = (
        finder_of()._observation_of(replace(trained, first_run=run), TYPICAL_RATIO) for run in (stopped, failed, None)
    )

    assert guess is not None
    assert guess.errors == pytest.approx(300 * TYPICAL_RATIO[0.25])
    assert guess.doubt > 0
    assert nothing == [None, None]


def test_kernels_of_the_floor_teach_and_linear_layers_do_not():
    small = network(0, 20, 90)
    small.proposal = replace(small.proposal, origin=BASELINE)
    linear = network(1, 20, 90)
    linear.proposal = replace(linear.proposal, origin=BASELINE, architecture=parse_network("linear(10)"))

    observations = finder_of(small, linear, past=())._observations()

    assert [each.errors for each in observations] == [90.0]


def test_an_aim_knows_what_stands_and_what_may_come_to():
    training = Candidate(replace(network(0, 30, 0).proposal, chance=0.3), 580, threshold_pct=99.0)
    passed, missed = network(1, 40, 80), network(2, 10, 400)
    standing, refuted = network(3, 60, 50, fresh=(60, 60)), network(4, 20, 90, fresh=(200, 200))

    value = finder_of(training, passed, missed, standing, refuted, budget=1_000, past=()).acquisition()

    assert (value.cost_bound, value.has_incumbent, round(value.allowed_errors, 9)) == (1_001, True, 100.0)
    assert value.open_candidates == ((580, 0.3), (770, passed.chance_to_confirm))
    assert not finder_of(passed, missed, refuted).acquisition().has_incumbent
    # Networks that missed the target on the test images cannot be the answer, confirmed or not.
    after_misses = finder_of(training, passed, standing, missed_trials={1, 3}).acquisition()
    assert not after_misses.has_incumbent
    assert after_misses.open_candidates == ((580, 0.3),)


def test_the_model_learns_the_latest_and_a_share_of_all_that_was_known_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finder_module, "_MOST_OBSERVATIONS", 5)
    learned: list[list[float]] = []
    monkeypatch.setattr(
        finder_module, "Surrogate", lambda observations, *_: learned.append([each.errors for each in observations])
    )
    past = [replace(LARGER_IS_BETTER[0], errors=float(errors)) for errors in range(8)]
    own = [network(trial, 4 + trial, 100 + trial) for trial in range(7)]

    finder_of(own[0], past=past).acquisition()
    finder_of(own[0], past=past[:2]).acquisition()
    finder_of(*own, past=past).acquisition()

    assert learned == [[0, 2, 4, 6, 100], [0, 1, 100], [102, 103, 104, 105, 106]]


@pytest.mark.parametrize(
    ("seconds", "workers", "left", "expected"),
    [(10.0, 2, 100.0, 1), (0.4, 1, 100.0, 1), (0.2, 1, 100.0, 2), (0.01, 1, 100.0, 4), (0.2, 1, math.inf, 1)],
)
def test_networks_that_train_faster_than_a_look_takes_are_chosen_several_at_once(
    seconds: float, workers: int, left: float, expected: int
):
    # Every training takes as long, whatever the network.
    time_left = TimeLeft(images=5_000, pace=Pace(seconds / 5_000 / 10, 0.0), workers=workers, seconds_left=left)
    finder = finder_of(time_left=time_left, lengths=(10,))

    assert len(finder.choose_by_surrogate(random.Random(0))) == expected


# Many workers -----------------------------------------------------------------------------------------------


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[Finder]:
    """Return a list that every finder enters which asks the surrogate."""
    seen, chosen = list[Finder](), Finder.choose_by_surrogate

    def noted(finder: Finder, rng: random.Random) -> list[ScoredOption]:
        seen.append(finder)
        return chosen(finder, rng)

    monkeypatch.setattr(Finder, "choose_by_surrogate", noted)
    return seen


def in_training(asked: Proposer, workers: int, count: int) -> list[Candidate]:
    """Return ``count`` networks that were proposed in turn and are all in training."""
    found: list[Candidate] = []
    for _ in range(count):
        proposal = proposed(asked, *found, time_left=replace(ROOM, workers=workers)).proposal
        assert proposal is not None
        found.append(Candidate(proposal, proposal.parameters, threshold_pct=99.0))
    return found


@pytest.mark.parametrize("workers", [1, 15])
def test_with_few_workers_each_proposal_is_the_first_choice_of_a_look_of_its_own(workers: int):
    found, questions = in_training(aiming(), workers, 8), SamplerStudy("surrogate", 0)

    for number, each in enumerate(found):
        known = finder_of(*found[:number], time_left=replace(ROOM, workers=workers), sampler="surrogate")
        assert known.acquisition().open_candidates == tuple((one.cost, one.proposal.chance) for one in found[:number])
        (first,) = known.choose_by_surrogate(questions.generator())
        assert (each.proposal.hash, each.proposal.chance) == (first.option.hash, first.chance)
        questions.start_fixed_trial(each.proposal.decisions)


def test_a_choice_made_ahead_is_passed_over_where_it_is_known_or_takes_too_long(finders: list[Finder]):
    asked = aiming()
    first = proposed(asked, time_left=MANY).proposal
    assert first is not None
    known, slow, good, *_ = asked._batch
    asked._batch[1] = replace(slow, option=replace(slow.option, work=1e18))
    again = make_proposal(1, str(known.option.draw.architecture))
    candidates = [
        Candidate(first, first.parameters, threshold_pct=99.0),
        Candidate(replace(again, epochs=known.epochs), again.parameters, threshold_pct=99.0),
    ]

    found = proposed(asked, *candidates, time_left=replace(MANY, longest_training=1e6)).proposal

    assert found is not None
    assert (found.hash, found.epochs, found.chance) == (good.option.hash, good.epochs, good.chance)
    assert len(finders) == 1


def test_choices_made_ahead_are_dropped_when_another_network_stands(finders: list[Finder]):
    asked, standing = aiming(), network(0, 90, 40, fresh=(40, 40))
    proposed(asked, time_left=MANY)

    found = proposed(asked, standing, budget=standing.cost - 1, time_left=MANY).proposal

    assert found is not None
    assert found.parameters < standing.cost
    assert len(finders) == 2
    assert {each.option.cost < standing.cost for each in asked._batch} == {True}


def test_a_restored_proposer_without_surrogate_continues_with_the_same_network():
    asked, restored = new(WIDE, ASKING, sampler="random"), new(WIDE, ASKING, sampler="random")
    candidates, answers = take(asked, 3)
    events: list[Event] = []
    for answer, candidate in zip(answers, candidates.values(), strict=True):
        assert candidate.first_run is not None
        events += [*answer.rejected_proposals, candidate.proposal, RunEnded(run=candidate.first_run)]

    restored.restore(events, candidates)

    inquiry = Inquiry(20_000, candidates, ROOM)
    assert restored.propose(inquiry).proposal == asked.propose(inquiry).proposal


@pytest.mark.parametrize(
    ("metric", "limit", "recipe"),
    [
        (Metric.MACS, 10_000_000, searches.RECIPE),
        (Metric.WEIGHT_BYTES, 10_000, replace(searches.RECIPE, precision="int8", weight_bits=5)),
    ],
    ids=["macs", "weight_bytes"],
)
def test_restored_front_search_reports_same_costs_of_rejections_to_sampler(metric: Metric, limit: int, recipe: Recipe):
    objectives = (StudyObjective(Metric.PARAMETERS), StudyObjective(metric, limit))
    # The sampler nsga2 uses the costs of rejected networks.
    fields: dict[str, Any] = {"sampler": "nsga2", "objectives": objectives, "recipe": recipe}
    limited = f"{WIDE} where parameters <= 700;"
    first, second = new(limited, ASKING, **fields), new(limited, ASKING, **fields)
    candidates: dict[int, Candidate] = {}
    events: list[Event] = []
    for trial in range(5):
        turn = turn_at(first.config, trial)
        answer = first.propose(Inquiry(turn.limit, candidates, ROOM, turn.objective))
        assert answer.proposal is not None
        job = searches.first_job(answer.proposal)
        run = make_job_result(job, lambda parameters, seed: 99.5, job.recipe.epochs)
        cost = combined_cost(costs_of(answer.proposal, first.config), objective_of(first.config))
        candidates[trial] = Candidate(answer.proposal, cost, run, threshold_pct=99.0)
        first.tell(candidates[trial])
        events += [*answer.rejected_proposals, answer.proposal, RunEnded(run=run)]

    second.restore(events, candidates)

    assert sum(isinstance(event, Rejected) for event in events) > 3
    reported = [trial.value for trial in first.sampler_study.study.trials]
    assert [trial.value for trial in second.sampler_study.study.trials] == reported


def test_a_search_begins_with_known_networks_even_where_earlier_trainings_are_known():
    widths = (3, 5, 8)
    known = tuple(f"conv3x3({width}) relu gap linear(10)" for width in widths)
    drawer = new(WIDE, past=LARGER_IS_BETTER, sampler="surrogate", start_from="leaderboard", known=known)
    first = [proposed(drawer).proposal for _ in widths]
    assert {each.architecture.hash for each in first if each} == {parse_network(text).hash for text in known}
    # The next is of the space.
    candidates = [network(trial, width, 150) for trial, width in enumerate(widths)]
    further = proposed(drawer, *candidates).proposal
    assert further is not None
    assert further.origin == "surrogate"
    assert further.decisions


@pytest.mark.parametrize("is_settled", [False, True])
def test_ladder_of_short_runs_comes_first_without_trainings_on_same_images(
    is_settled: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(model, "_SETTLED_OBSERVATIONS", 1 if is_settled else 100)
    config = searches.config(space_text=WIDE, sampler="surrogate", lengths=(5, 10))
    drawer = Proposer(parse_space(WIDE, "test"), config, past=Past(LARGER_IS_BETTER), has_short_runs=True)

    first, second = take(drawer, 2)[1]

    for answer in (first, second):
        assert answer.proposal is not None
        assert answer.proposal.origin == ("surrogate" if is_settled else "ladder")
        assert is_settled or answer.proposal.epochs == 5
