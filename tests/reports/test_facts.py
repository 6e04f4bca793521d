"""The facts of studies: goldens of six, tables of small ones, and what an independent count says."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import precision_recall_fscore_support

from harness.evidence import ledger, record
from harness.studies.candidate import NetworkState
from harness.studies.config import StudyObjective, owned
from harness.studies.events import Entry, Event, RunEnded
from harness.system.files import Workspace
from harness.training.result import Epoch, Result, Status
from reports import history
from reports.study_facts import NetworkFacts, StudyFacts, front_of, made_by, read_study, recipe_rows, settings
from reports.study_page import CONFIRMED_LABEL_ERRORS, _caveats, commands, mistakes
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network
from search_spaces.space import Metric
from tests.factories import CONFIG, make_result
from tests.reports.conftest import drawn, evidence, facts_of, inspected, label_of, network
from tests.study_logs import make_entry

GOLDEN = Path(__file__).parents[1] / "golden"
SEARCH = "harness search --budget 20000"


def facts_of_study(study: Any) -> StudyFacts:
    return read_study(study.write(), study.place)


def facts_document(info: StudyFacts) -> dict[str, Any]:
    """Return the facts of a study but for sentences, as JSON takes them."""

    def plain(value: Any) -> Any:
        match value:
            case NetworkFacts():
                return value.label
            case Result():
                return value.status
            case float():
                return round(value, 6)
            case dict():
                return {str(key): plain(item) for key, item in value.items()}
            case list() | tuple():
                return [plain(item) for item in value]
            case _ if dataclasses.is_dataclass(value):
                return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return value

    step, known, rest = info.ending.advice, mistakes_of(info), _caveats(info)
    counts = {
        "answer": info.answer and [info.answer.hash, info.answer.parameters, info.row and info.row.tier],
        "outcome": info.ending.outcome,
        "next": step and step.command,
        "commands": commands(info),
        "seconds": [info.elapsed, info.last_utc],
        "made by": made_by(info),
        "settings": [*settings(info), *recipe_rows(info.config)],
        "mistakes": known and [(item.image, item.said, item.seeds) for item in known.mistakes],
        "caveats": rest | {"seeds": [run.test_errors for run in rest["seeds"]]},
        "accounting": history.accounting(info),
        "decided": [
            (item.elapsed, item.cost, item.state is NetworkState.CONFIRMED, item.max_cost)
            for item in info.study.decisions
        ],
        "budget": history.budget_steps(info),
        "ends": history.first_ends(info),
        "curves": history.learning_curves(info),
        "seeds": history.seed_spread(info),
        "time": history.time_spent(info),
        "spared": history.saved_by_pruning(info),
        "progress": history.progress(info),
        "pruning": history.pruning(info),
    }
    made: dict[str, Any] = json.loads(json.dumps(plain(counts)))
    return made


def mistakes_of(info: StudyFacts) -> Any:
    return mistakes(info.proof.record, info.proof.inspections) if info.proof else None


def test_the_facts_of_six_studies_are_those_of_before(place: Workspace):
    with tarfile.open(GOLDEN / "studies.tar.xz") as archive:
        archive.extractall(place.root, filter="data")
    # They are of when a person's records lay beside the runs.
    (place.root / "records").rename(place.records)
    folders = sorted(path.parent for path in place.runs.glob("*/log.jsonl"))

    found = {folder.name: facts_document(read_study(folder, place)) for folder in folders}

    assert found == json.loads((GOLDEN / "reports.json").read_text(encoding="utf-8"))


# The answer and the verdict -------------------------------------------------------------------------------------------


@pytest.fixture
def study(new_study: Any) -> Any:
    return new_study()


@pytest.fixture
def proposal(study: Any) -> Any:
    return study.propose(network(8, 8, 8))


def verify_networks(study: Any, *given: tuple[int, list[int]], **changes: Any) -> list[Any]:
    """Choose networks of these widths as winners, one after the other, and verify each with these errors."""
    proposals = []
    for width, errors in given:
        proposals.append(study.propose(network(width, 8, 8)))
        study.standing("winner", proposals[-1], [50])
        if errors:
            study.verify(proposals[-1], errors, **changes)
            if not changes:
                mean = 100 - sum(errors) / len(errors) / 100
                passed = (mean >= 99.4) if len(errors) >= 5 else None
                study.note(
                    "verified",
                    hash=proposals[-1]["hash"],
                    seeds=len(errors),
                    passed=passed,
                    tier="measured",
                    mean_test_accuracy_pct=mean,
                )
    return proposals


@pytest.mark.parametrize(
    ("given", "answer", "reached"),
    [
        ([], None, None),
        ([(8, [])], 0, None),
        ([(9, [50] * 5), (8, [55] * 5), (7, [70] * 5)], 1, True),
        ([(9, [70] * 5), (8, [70] * 5)], 1, False),
    ],
    ids=["none", "not verified", "smallest proven", "last chosen"],
)
def test_the_answer_is_the_smallest_that_is_proven_else_the_last_that_was_chosen(
    study: Any, given: Any, answer: int | None, reached: bool | None
):
    proposals = verify_networks(study, *given)

    found = facts_of_study(study)

    assert (found.answer and found.answer.hash) == (None if answer is None else proposals[answer]["hash"])
    assert (found.row and found.row.reached) == reached


def test_a_proof_of_another_study_or_for_another_target_is_no_answer(study: Any, new_study: Any):
    other = new_study(name="other")
    other.verify(other.propose(network(6, 6, 6)), [50] * 5)
    study.finish(study.propose(network(6, 6, 6)), 70)
    assert facts_of_study(study).answer is None

    [chosen] = verify_networks(study, (8, [90] * 5), target_pct=99.0)
    found = facts_of_study(study)
    assert found.answer is not None
    assert (found.answer.hash, found.row) == (chosen["hash"], None)


@pytest.mark.parametrize(
    ("errors", "outcome", "said"),
    [
        # The mean of 50, 52, 54, 56, 58 errors is 54.
        ([50, 52, 54, 56, 58], "reached", "Verified: 3,128 parameters, mean test accuracy 99.460 % over 5 seeds"),
        ([57, 58, 59, 60, 61], "reached", "At the target: 3,128 parameters, mean test accuracy 99.410 %"),
        ([62, 63, 64, 65, 66], "missed", "64.0 test errors over 5 seeds, 4.0 more than the 60.0 allowed"),
        ([50, 52], "not verified yet", "51.0 test errors over 2 seeds; 60.0 are allowed, but the seeds are too few"),
    ],
)
def test_a_measured_answer_is_told_with_its_figures(study: Any, errors: list[int], outcome: str, said: str):
    verify_networks(study, (8, errors))

    found = facts_of_study(study).ending

    assert found.outcome == outcome
    assert "3,128 parameters" in found.verdict
    assert said in found.verdict


def test_seeds_that_were_declared_and_not_run_leave_no_verdict(study: Any, place: Workspace):
    verify_networks(study, (8, [50, 52, 54, 56, 58]))
    [made] = record.read_all(place.records)
    ledger.declare_verification(place.ledger, made.key, [5])

    assert facts_of_study(study).ending.outcome == "not verified yet"


def test_a_network_that_was_verified_and_missed_is_named_beside_the_answer(study: Any):
    [missed, chosen] = verify_networks(study, (7, [62, 63, 64, 65, 66]), (8, [50, 51, 52, 53, 54]))

    found = facts_of_study(study).ending

    assert f"{chosen['parameters']:,} parameters" in found.answer
    assert missed["hash"] == network(7, 8, 8).hash
    [(_, also)] = found.missed
    assert network(7, 8, 8).hash in also
    assert "99.360 % over 5 seeds" in also


@pytest.mark.parametrize(
    ("errors", "status", "end", "outcome"),
    [
        (80, Status.COMPLETE, None, "no verdict yet"),
        (40, Status.COMPLETE, None, "no verdict yet"),
        (80, Status.COMPLETE, "trials", "missed"),
        (300, Status.PRUNED, None, "no result yet"),
        (None, Status.CRASHED, "exhausted", "missed"),
        (None, Status.CRASHED, "interrupted", "no result yet"),
    ],
)
def test_a_search_without_an_answer_says_how_far_it_is(
    study: Any, proposal: Any, errors: Any, status: Status, end: Any, outcome: str
):
    study.finish(proposal, errors, status=status)
    if end:
        study.note("ended", reason=end)

    assert facts_of_study(study).ending.outcome == outcome


def test_while_a_program_works_on_it_a_search_is_running_and_nothing_else(study: Any, place: Workspace):
    study.write()
    with owned(study.folder):
        info = read_study(study.folder, place)

    assert info.ending.reason.startswith("is running: ")
    assert info.ending.advice is None


# What comes next ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "command"),
    [
        (None, SEARCH),
        ([], "harness verify {}"),
        ([50] * 6, "harness verify {} --certify --declare-only"),
        ([50] * 3, "harness verify {} --seeds 10"),
        ([90] * 6, SEARCH),
    ],
    ids=["nothing", "chosen", "verified", "too few seeds", "missed"],
)
def test_what_follows_an_end_depends_on_the_answer(study: Any, errors: Any, command: str):
    proposals = [] if errors is None else verify_networks(study, (8, errors))
    study.note("ended", reason="time")

    step = facts_of_study(study).ending.advice

    assert step is not None
    assert step.command == command.format(*(made["hash"] for made in proposals))


@pytest.mark.parametrize(
    ("command", "facts", "longer"),
    [
        ("search --time 2m --seed 1", {"reason": "time", "seconds": 120.0}, "search --seed 1 --time 4m"),
        ("search", {"reason": "exhausted", "seconds": 3420.0}, "search --time 1h54m"),
        ("search --trials 8", {"reason": "trials", "seconds": 3420.0, "trials": 8}, "search --trials 16"),
    ],
)
def test_a_search_that_has_used_its_limit_is_continued_with_a_larger_limit(
    study: Any, command: str, facts: dict[str, Any], longer: str
):
    study.note("session", 0.0, command=["harness", *command.split()])
    study.note("ended")
    study.events[-1] |= facts

    step = facts_of_study(study).ending.advice

    assert step is not None
    assert step.command == f"harness {longer}"


def test_the_advice_of_the_search_holds_until_another_session_or_a_verification(study: Any, proposal: Any):
    study.standing("winner", proposal, [50, 52, 54])
    study.note("ended", reason="time")
    study.note("advised", arguments=["search", "--time", "3m"], advice="resumes the study")
    step = facts_of_study(study).ending.advice
    assert step is not None
    assert (step.command, step.advice) == ("harness search --time 3m", "resumes the study")

    study.events[-1]["utc"] = "2020-01-01T00:00:00+00:00"
    study.verify(proposal, [50] * 6)
    step = facts_of_study(study).ending.advice
    assert step is not None
    assert step.command == f"harness verify {proposal['hash']} --certify --declare-only"

    study.note("session", 60.0, command=SEARCH.split())
    step = facts_of_study(study).ending.advice
    assert step is not None
    assert (step.command, step.advice) == (SEARCH, "continues the interrupted search")


# How the search went --------------------------------------------------------------------------------------------------


def test_every_proposal_is_counted_once(realistic_template: Any, realistic_facts: StudyFacts):
    accounting = history.accounting(realistic_facts)

    events = realistic_template.events
    kinds = Counter(event["event"] for event in events)
    ends = [event for event in events if event["event"] == "finished" and event["run"]["purpose"] == "search"]
    whole = [event for event in ends if event["run"]["status"] == "complete"]
    assert accounting.proposed == kinds["rejected"] + kinds["repeated"] + kinds["proposed"]
    assert sum(number for _, number in accounting.rejections) == kinds["rejected"]
    assert dict(accounting.steps) == {
        "proposed": accounting.proposed,
        "within the limits": kinds["proposed"] + kinds["repeated"],
        "trained": len(ends),
        "not pruned": len(whole),
        "reached the threshold": sum(event["run"]["validation_errors"] <= 55 for event in whole),
        "confirmed": kinds["standing"],
        "verified": 1,
    }


def facts_of_events(events: Sequence[Entry[Event]], results: Sequence[Result] = (), config: Any = CONFIG) -> StudyFacts:
    ends = [Entry(0.0, RunEnded(run=each)) for each in results]
    return facts_of(*events, *ends, config=config)


def test_rare_reasons_are_summed_up_and_none_is_lost():
    reasons = [f"reason {number:02d}" for number in range(30) for _ in range(30 - number)]
    events = [make_entry("rejected", reason=reason) for reason in reasons]
    events.append(make_entry("looked", rejected={"parameters": 50}))

    accounting = history.accounting(facts_of_events(events))

    assert accounting.rejections[0] == ("too many parameters", 50)
    assert (len(accounting.rejections), accounting.rejections[-1][0]) == (12, "20 further reasons")
    assert sum(number for _, number in accounting.rejections) == len(reasons) + 50 == accounting.rejected


@pytest.mark.parametrize(
    ("events", "budgets"),
    [
        ([("session", 60, "", 0)], []),
        ([("standing", 10, "a", 900), ("refuted", 20, "x", 0), ("standing", 30, "b", 500)], [900, 900, 500]),
        ([("standing", 10, "a", 900), ("refuted", 20, "a", 0)], [900, 20_000]),
        # Another network takes the place of the one that fell at once.
        ([("standing", 10, "a", 900), ("refuted", 20, "a", 0), ("standing", 20.01, "b", 1200)], [900, 900, 1200]),
    ],
)
def test_the_effective_budget_falls_with_confirmed_networks_and_opens_again(events: Any, budgets: list[int]):
    entries = [
        make_entry(kind, elapsed, hash=name, parameters=budget + 1, **({"budget": budget} if budget else {}))
        for kind, elapsed, name, budget in events
    ]

    assert [item.max_cost for item in facts_of_events(entries).study.decisions] == budgets
    assert history.budget_steps(facts_of_events(entries))[0] == (0.0, 20_000)


def run_with_errors(trial: int, parameters: int, errors: Sequence[int], **fields: Any) -> Result:
    """Return a first run with these errors at the rungs and at the end; the hash is the number of the trial."""
    epochs = fields.get("recipe", CONFIG.recipe).epochs
    looks = dict(zip((*CONFIG.rungs, epochs), errors, strict=False))
    plain: dict[str, Any] = {
        "hash": f"{trial:012x}",
        "parameters": parameters,
        "history": tuple(Epoch(epoch, 0.1, 0.1, 1.0, looks.get(epoch)) for epoch in range(1, epochs + 1)),
        "trial": trial,
    }
    return make_result(errors=errors[-1], **plain | fields)


def rung_entry(trial: int, epoch: int, decided: str, **changes: Any) -> Entry[Event]:
    """Return the log's entry of a decision: pruned, exempt or hopeful."""
    values = {"trial": trial, "epoch": epoch, "pruned": decided == "pruned", "exempt": decided == "exempt"}
    return make_entry("rung", **(values | changes))


def test_wrong_pruning_is_the_share_of_spared_networks_that_reached():
    events = [
        *(rung_entry(trial, epoch, "pruned") for trial, epoch in ((1, 4), (2, 4), (2, 4), (3, 8), (9, 8))),
        rung_entry(3, 4, "hopeful"),
        *(rung_entry(trial, 4, "exempt") for trial in (10, 20, 30, 40, 60, 70, 80)),
        rung_entry(10, 8, "exempt"),
        rung_entry(50, 4, "exempt", purpose="confirm"),
        make_entry("proposed", trial=9, epochs=30),
    ]
    results = [
        run_with_errors(10, 1_500, (900, 200, 100)),
        run_with_errors(20, 1_500, (900, 200, 56)),
        run_with_errors(30, 1_500, (200, 90, 55)),  # 99.45 %, the threshold
        run_with_errors(40, 1_500, (200, 90, 90)),
        run_with_errors(70, 1_500, (900, 200, 9_000), status=Status.DIVERGED),
        run_with_errors(
            80, 1_500, (900, 200, 10), status=Status.CRASHED
        ),  # says nothing, as 60 does, which is in training yet
    ]

    short, long = history.pruning(facts_of_events(events, results))

    # Five were spared: one reached, three missed, one diverged.
    assert tuple(short[key] for key in ("epochs", "pruned", "spared", "reached")) == (CONFIG.recipe.epochs, 3, 5, 1)
    exact = stats.binomtest(1, 5).proportion_ci(0.95, method="exact")
    assert short["interval"] == pytest.approx((exact.low, exact.high))
    assert tuple(long[key] for key in ("epochs", "pruned", "spared", "interval")) == (30, 1, 0, None)


# What to know ---------------------------------------------------------------------------------------------------------


def test_errors_on_images_with_a_wrong_label_are_counted_apart(study: Any, place: Workspace):
    verify_networks(study, (8, [50, 52, 54, 56, 58]))
    study.verify(study.propose(network(9, 9, 9)), [70] * 3)
    with place.test_log.open("a", encoding="utf-8") as log:
        log.write('not JSON, but a read all the same\n\n{"dataset": "mnist-5k", "purpose": "of other images"}\n')

    found = _caveats(facts_of_study(study))

    # Ten of the errors of each seed lie on the 15 mislabelled images; 9,985 have a label that nobody doubts.
    labels = found["label_errors"]
    assert (labels["images"], labels["among"], labels["outside"]) == (15, 10, 44)
    assert labels["outside_pct"] == pytest.approx(100 * (9985 - 44) / 9985)
    assert (found["winner_reads"], found["workspace_reads"]) == (5, 9)


def test_the_fall_from_the_first_run_is_that_of_networks_that_passed(study: Any):
    for width, first, fresh in ((8, 50, [56, 58]), (9, 40, [44]), (10, 90, [10])):
        made = study.propose(network(width, 8, 8))
        study.finish(made, first)
        study.confirm(made, fresh)

    # The third missed the threshold at first, so its first run chose nothing.
    assert sorted(_caveats(facts_of_study(study))["falls"]) == pytest.approx([0.04, 0.07])


def test_mistakes_count_every_image_of_every_seed():
    made = evidence(network(4, 8, 8), [12, 12, 14])
    image, _ = made.seeds[0].wrong[0]
    other = replace(made.seeds[0], wrong=((image, 7), *made.seeds[0].wrong[1:]))
    made = replace(made, seeds=(other, *made.seeds[1:]))
    inspections = [inspected(made, each) for each in made.seeds]

    found = mistakes(made, inspections)

    assert [mistake.seeds for mistake in found.mistakes] == [3] * 12 + [1] * 2
    assert sum(mistake.mislabelled for mistake in found.mistakes) == 10
    assert all((item.label, item.pixels) == (label_of(item.image), drawn(item.image)) for item in found.mistakes)
    assert [mistake.said for mistake in found.mistakes if mistake.image == image] == [((3, 2), (7, 1))]
    assert found.confusion is not None
    assert [sum(row) for row in found.confusion] == [3_000] * 10
    assert sum(row[3] for label, row in enumerate(found.confusion) if label != 3) == 12 + 12 + 14 - 1
    pairs = np.repeat(np.arange(100), np.ravel(found.confusion))
    columns = precision_recall_fscore_support(pairs // 10, pairs % 10, zero_division=0)
    for index, item in enumerate(found.scores):
        assert [item.precision, item.recall, item.f1] == pytest.approx([column[index] for column in columns[:3]])
    assert [item.support for item in found.scores] == [1_000] * 10
    # The third seed alone has two further mistakes.
    partly = mistakes(made, inspections[:2])
    assert partly.confusion is None
    assert partly.scores == ()
    assert sum(mistake.pixels is not None for mistake in partly.mistakes) == 12
    assert {name: len(images) for name, images in CONFIRMED_LABEL_ERRORS.items()} == {"mnist": 15}


# Networks -------------------------------------------------------------------------------------------------------------


def networks_of(study: Any) -> tuple[NetworkFacts, ...]:
    return read_study(study.write(), study.place).networks


def test_a_network_has_ended_when_the_first_of_its_first_runs_has(study: Any):
    for epochs in (5, 30):
        study.finish(study.propose(network(8, 8, 8), epochs=epochs), 40)
    ends = [event["elapsed"] for event in study.events if event["event"] == "finished"]
    assert history.first_ends(facts_of_study(study)) == {0: ends[0]}


@pytest.mark.parametrize("case", ["longer", "decided", "pruned"])
def test_of_two_lengths_the_one_that_was_decided_about_counts_else_the_longer_whole_one(study: Any, case: str):
    long, short = (study.propose(network(8, 8, 8), epochs=epochs) for epochs in (30, 5))
    study.finish(long, 40, **({"status": Status.PRUNED, "epochs": 8} if case == "pruned" else {}))
    study.finish(short, 90)
    if case == "decided":
        study.confirm(short, [52, 54])
        study.standing("standing", short, [52, 54], budget=100)

    [known] = networks_of(study)

    assert (known.epochs, known.trial) == ((30, long["trial"]) if case == "longer" else (5, short["trial"]))
    assert len(known.runs) == (4 if case == "decided" else 2)
    # Whoever looks for the pruned trial finds it.
    assert ("trial 0 at epoch 8 of 30" in known.remark) == (case == "pruned")


@pytest.mark.parametrize(
    ("status", "state", "remark", "accuracies"),
    [
        (
            Status.PRUNED,
            NetworkState.PRUNED,
            "in trial 0 at epoch 4 of 15: 300 errors; 10 % quantile of the forecast",
            (97.0,),
        ),
        (Status.DIVERGED, NetworkState.FAILED, "diverged", ()),
        (Status.OUT_OF_MEMORY, NetworkState.FAILED, "out of memory", ()),
        (None, NetworkState.WAITING, "", ()),
    ],
)
def test_a_run_that_ended_early_says_how(study: Any, status: Any, state: NetworkState, remark: str, accuracies: Any):
    proposal = study.propose(network(8, 8, 8))
    if status:
        study.note("rung", trial=0, epoch=4, pruned=True, predicted_pct=98.76)
        study.finish(proposal, 300, status=status, epochs=4)

    [known] = networks_of(study)

    assert (known.state, known.validation_accuracies_pct, known.complete) == (state, accuracies, False)
    assert known.remark.startswith(remark)


def test_the_order_is_reached_then_threshold_then_accuracy_then_the_rest(study: Any):
    proposals = [study.propose(network(width, 8, 8)) for width in range(3, 11)]
    for number, errors in ((0, 70), (1, 65), (2, 54), (3, 40), (5, 50)):
        study.finish(proposals[number], errors)
    study.finish(proposals[4], 200, status=Status.PRUNED, epochs=4)
    study.verify(proposals[5], [50] * 5)
    study.finish(proposals[6], None, status=Status.CRASHED)

    assert [known.trial for known in networks_of(study)] == [5, 2, 3, 1, 0, 4, 6, 7]


def test_no_network_of_equal_or_smaller_size_is_as_accurate_as_one_on_the_front(realistic_facts: StudyFacts):
    trained = [item for item in realistic_facts.networks if item.complete and item.accuracy_pct is not None]

    # Every pair is compared, which the sweep of the program does not do.
    expected = {
        item.hash
        for item in trained
        if not any(
            other.hash != item.hash
            and other.parameters <= item.parameters
            and (other.accuracy_pct or 0) >= (item.accuracy_pct or 0)
            for other in trained
        )
    }
    assert {item.hash for item in front_of(trained)} == expected
    assert len(expected) > 3


def test_what_a_study_minimises_orders_its_networks(new_study: Callable[..., Any]):
    few_parameters = parse_network("conv3x3(8) bn relu gap linear(10)")
    few_macs = parse_network("conv3x3(16, stride=2) bn relu gap linear(10)")
    counted = [analyse(item, MNIST) for item in (few_parameters, few_macs)]
    assert [(item.parameters, item.macs) for item in counted] == [(178, 56_528), (346, 28_384)]
    study = new_study(config=replace(CONFIG, objectives=(StudyObjective(Metric.MACS, 60_000),)))
    for architecture in (few_parameters, few_macs):
        study.finish(study.propose(architecture), 40)

    known = networks_of(study)

    assert [(item.hash, item.cost) for item in known] == [(few_macs.hash, 28_384), (few_parameters.hash, 56_528)]
    assert [item.hash for item in front_of(known)] == [few_macs.hash]


# What is read ---------------------------------------------------------------------------------------------------------


def test_evidence_comes_with_the_row_that_it_makes_and_of_this_target_alone(study: Any, place: Workspace):
    proposal = study.propose(network(8, 8, 8))
    for changes in ({}, {"target_pct": 99.0}, {"dataset": "kmnist"}):
        study.verify(proposal, [50] * 5, **changes)

    files = read_study(study.write(), place)

    [measured] = files.measured
    assert (measured.row.hash, measured.row.seeds) == (measured.record.hash, 5)
    assert len(files.evidence.rows) == 3
