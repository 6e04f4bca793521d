"""Facts of studies: golden documents of six studies, cases of small studies, and independent counts."""

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
from harness.pages import history
from harness.pages.study_facts import PageNetwork, StudyFacts, front_of, made_by, read_study, recipe_rows, settings
from harness.pages.study_page import _CONFIRMED_LABEL_ERRORS, _caveats, _commands, _mistakes
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import Metric
from harness.studies.candidate import NetworkState
from harness.studies.config import locked_folder
from harness.studies.events import Entry, Event, RunEnded
from harness.system.files import Workspace
from harness.training.result import Epoch, Result, Status
from tests.factories import CONFIG, make_result
from tests.harness.pages.conftest import evidence, facts_of, inspection_of, label_of, network, ring_pixels
from tests.study_logs import make_entry

GOLDEN = Path(__file__).parents[2] / "golden"
SEARCH = "harness search --budget 20000"
ROW = "--recipe fast --dataset mnist --target 99.4"


def facts_of_study(study: Any) -> StudyFacts:
    return read_study(study.write(), study.home)


def facts_document(info: StudyFacts) -> dict[str, Any]:
    """Return the facts of a study without its sentences, as JSON values."""

    def plain(value: Any) -> Any:
        match value:
            case PageNetwork():
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

    advice, observed, caveats = info.ending.advice, mistakes_of(info), _caveats(info)
    facts = {
        "answer": info.answer and [info.answer.hash, info.answer.parameters, info.row and info.row.tier],
        "outcome": info.ending.outcome,
        "next": advice and advice.command,
        "commands": _commands(info),
        "seconds": [info.elapsed, info.last_utc],
        "made by": made_by(info),
        "settings": [*settings(info), *recipe_rows(info.config)],
        "mistakes": observed and [(item.image, item.predictions, item.seeds) for item in observed.mistakes],
        "caveats": caveats | {"seeds": [run.test_errors for run in caveats["seeds"]]},
        "accounting": list(history.accounting(info).values()),
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
    document: dict[str, Any] = json.loads(json.dumps(plain(facts)))
    return document


def mistakes_of(info: StudyFacts) -> Any:
    return _mistakes(info.proof.record, info.proof.inspections) if info.proof else None


def test_facts_of_six_studies_equal_golden_documents(home: Workspace):
    with tarfile.open(GOLDEN / "studies.tar.xz") as archive:
        archive.extractall(home.root, filter="data")
    # The archived studies have an old layout with the records beside the runs.
    (home.root / "records").rename(home.records)
    folders = sorted(path.parent for path in home.runs.glob("*/log.jsonl"))

    documents = {folder.name: facts_document(read_study(folder, home)) for folder in folders}

    assert documents == json.loads((GOLDEN / "reports.json").read_text(encoding="utf-8"))


# Answer and verdict ---------------------------------------------------------------------------------------------------


@pytest.fixture
def study(new_study: Any) -> Any:
    return new_study()


@pytest.fixture
def proposal(study: Any) -> Any:
    return study.propose(network(8, 8, 8))


def verify_networks(study: Any, *choices: tuple[int, list[int]], **changes: Any) -> list[Any]:
    """Choose networks as winners in turn and verify each network; a choice is a width and the test errors."""
    proposals = []
    for width, errors in choices:
        proposals.append(study.propose(network(width, 8, 8)))
        study.decide("winner", proposals[-1], [50])
        if errors:
            study.verify(proposals[-1], errors, **changes)
            if not changes:
                mean = 100 - sum(errors) / len(errors) / 100
                passed = (mean >= 99.4) if len(errors) >= 5 else None
                study.log(
                    "verified",
                    hash=proposals[-1]["hash"],
                    seeds=len(errors),
                    passed=passed,
                    tier="measured",
                    mean_test_accuracy_pct=mean,
                )
    return proposals


@pytest.mark.parametrize(
    ("choices", "answer", "reached"),
    [
        ([], None, None),
        ([(8, [])], 0, None),
        ([(9, [50] * 5), (8, [55] * 5), (7, [70] * 5)], 1, True),
        ([(9, [70] * 5), (8, [70] * 5)], 1, False),
    ],
    ids=["none", "not verified", "smallest proven", "last chosen"],
)
def test_answer_is_smallest_verified_network_or_last_winner(
    study: Any, choices: Any, answer: int | None, reached: bool | None
):
    proposals = verify_networks(study, *choices)

    facts = facts_of_study(study)

    assert (facts.answer and facts.answer.hash) == (None if answer is None else proposals[answer]["hash"])
    assert (facts.row and facts.row.reached) == reached


def test_record_of_other_study_or_target_is_no_answer(study: Any, new_study: Any):
    other_study = new_study(name="other")
    other_study.verify(other_study.propose(network(6, 6, 6)), [50] * 5)
    study.finish(study.propose(network(6, 6, 6)), 70)
    assert facts_of_study(study).answer is None

    [winner] = verify_networks(study, (8, [90] * 5), target_pct=99.0)
    facts = facts_of_study(study)
    assert facts.answer is not None
    assert (facts.answer.hash, facts.row) == (winner["hash"], None)


@pytest.mark.parametrize(
    ("errors", "outcome", "words"),
    [
        # Mean of the errors: 54.
        (
            [50, 52, 54, 56, 58],
            "proved",
            "Proved (verified): 3,128 parameters, mean test accuracy 99.460 %",
        ),
        ([57, 58, 59, 60, 61], "probable", "Probable (at the target): 3,128 parameters, mean test accuracy 99.410 %"),
        ([62, 63, 64, 65, 66], "not reached", "64.0 test errors over 5 seeds, 4.0 more than the 60.0 allowed"),
        (
            [50, 52],
            "probable",
            "2 seeds; 60.0 are allowed, and a verdict requires at least 5 seeds",
        ),
    ],
)
def test_verdict_states_figures_of_measured_answer(study: Any, errors: list[int], outcome: str, words: str):
    verify_networks(study, (8, errors))
    study.log("ended", reason="time")

    ending = facts_of_study(study).ending

    assert ending.outcome == outcome
    assert "3,128 parameters" in ending.verdict
    assert words in ending.verdict


def test_declared_seeds_without_runs_prevent_verdict(study: Any, home: Workspace):
    verify_networks(study, (8, [50, 52, 54, 56, 58]))
    [proof] = record.read_all(home.records)
    ledger.declare_seeds(home.ledger, proof.key, [5])

    assert facts_of_study(study).ending.outcome == "probable"


def test_verified_network_below_target_is_named_beside_answer(study: Any):
    [smaller, winner] = verify_networks(study, (7, [62, 63, 64, 65, 66]), (8, [50, 51, 52, 53, 54]))

    ending = facts_of_study(study).ending

    assert f"{winner['parameters']:,} parameters" in ending.answer
    assert smaller["hash"] == network(7, 8, 8).hash
    [(_, sentence)] = ending.missed
    assert network(7, 8, 8).hash in sentence
    assert "99.360 % over 5 seeds" in sentence


@pytest.mark.parametrize(
    ("errors", "status", "end", "outcome"),
    [
        (80, Status.COMPLETE, None, "not reached yet"),
        (40, Status.COMPLETE, None, "not reached yet"),
        (80, Status.COMPLETE, "trials", "not reached"),
        (300, Status.PRUNED, None, "not reached yet"),
        (None, Status.CRASHED, "exhausted", "not reached"),
        (None, Status.CRASHED, "interrupted", "not reached yet"),
    ],
)
def test_outcome_of_search_without_answer_depends_on_runs(
    study: Any, proposal: Any, errors: Any, status: Status, end: Any, outcome: str
):
    study.finish(proposal, errors, status=status)
    if end:
        study.log("ended", reason=end)

    assert facts_of_study(study).ending.outcome == outcome


def test_study_owned_by_a_program_is_running_and_has_no_advice(study: Any, home: Workspace):
    study.write()
    with locked_folder(study.folder):
        info = read_study(study.folder, home)

    assert info.ending.reason.startswith("is running: ")
    assert info.ending.advice is None


# Advice ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "command"),
    [
        (None, SEARCH),
        ([], f"harness verify {{}} {ROW}"),
        ([50] * 6, f"harness verify {{}} {ROW} --certify --declare-only"),
        ([50] * 3, f"harness verify {{}} {ROW} --seeds 10"),
        ([90] * 6, SEARCH),
    ],
    ids=["nothing", "chosen", "verified", "too few seeds", "missed"],
)
def test_advice_after_end_depends_on_answer(study: Any, errors: Any, command: str):
    proposals = [] if errors is None else verify_networks(study, (8, errors))
    study.log("ended", reason="time")

    advice = facts_of_study(study).ending.advice

    assert advice is not None
    assert advice.command == command.format(*(proposal["hash"] for proposal in proposals))


def test_logged_advice_holds_until_new_session_or_verification(study: Any, proposal: Any):
    study.decide("winner", proposal, [50, 52, 54])
    study.log("ended", reason="time")
    study.log("advised", arguments=["search", "--time", "3m"], advice="resumes the study")
    advice = facts_of_study(study).ending.advice
    assert advice is not None
    assert (advice.command, advice.advice) == ("harness search --time 3m", "resumes the study")

    study.events[-1]["utc"] = "2020-01-01T00:00:00+00:00"
    study.verify(proposal, [50] * 6)
    advice = facts_of_study(study).ending.advice
    assert advice is not None
    assert advice.command == f"harness verify {proposal['hash']} {ROW} --certify --declare-only"

    study.log("session", 60.0, command=SEARCH.split())
    advice = facts_of_study(study).ending.advice
    assert advice is not None
    assert (advice.command, advice.advice) == (SEARCH, "continues the interrupted search")


# Course of the search -------------------------------------------------------------------------------------------------


def test_every_proposal_is_counted_exactly_once(realistic_template: Any, realistic_facts: StudyFacts):
    accounting = history.accounting(realistic_facts)

    events = realistic_template.events
    kinds = Counter(event["event"] for event in events)
    ends = [event for event in events if event["event"] == "finished" and event["run"]["purpose"] == "search"]
    complete = [event for event in ends if event["run"]["status"] == "complete"]
    assert accounting["proposed"] == kinds["rejected"] + kinds["repeated"] + kinds["proposed"]
    assert sum(number for _, number in accounting["rejections"]) == kinds["rejected"]
    assert dict(accounting["steps"]) == {
        "proposed": accounting["proposed"],
        "within the limits": kinds["proposed"] + kinds["repeated"],
        "trained": len(ends),
        "not pruned": len(complete),
        "reached the threshold": sum(event["run"]["validation_errors"] <= 55 for event in complete),
        "confirmed": kinds["confirmed"],
        "verified": 1,
    }


def facts_of_events(events: Sequence[Entry[Event]], results: Sequence[Result] = (), config: Any = CONFIG) -> StudyFacts:
    return facts_of(*events, *[Entry(0.0, RunEnded(run=result)) for result in results], config=config)


def test_rare_reasons_of_rejection_are_summed():
    reasons = [f"reason {number:02d}" for number in range(30) for _ in range(30 - number)]
    events = [make_entry("rejected", reason=reason) for reason in reasons]
    events.append(make_entry("draws_rejected", rejected={"parameters": 50}))

    accounting = history.accounting(facts_of_events(events))

    assert accounting["rejections"][0] == ("too many parameters", 50)
    assert (len(accounting["rejections"]), accounting["rejections"][-1][0]) == (12, "20 further reasons")
    assert sum(number for _, number in accounting["rejections"]) == len(reasons) + 50 == accounting["rejected"]


@pytest.mark.parametrize(
    ("events", "budgets"),
    [
        ([("session", 60, "", 0)], []),
        ([("confirmed", 10, "a", 900), ("refuted", 20, "x", 0), ("confirmed", 30, "b", 500)], [900, 900, 500]),
        ([("confirmed", 10, "a", 900), ("refuted", 20, "a", 0)], [900, 20_000]),
        # A different network replaces the refuted network immediately.
        ([("confirmed", 10, "a", 900), ("refuted", 20, "a", 0), ("confirmed", 20.01, "b", 1200)], [900, 900, 1200]),
    ],
)
def test_effective_budget_follows_confirmed_and_refuted_networks(events: Any, budgets: list[int]):
    entries = [
        make_entry(kind, elapsed, hash=name, parameters=budget + 1, **({"budget": budget} if budget else {}))
        for kind, elapsed, name, budget in events
    ]

    assert [item.max_cost for item in facts_of_events(entries).study.decisions] == budgets
    assert history.budget_steps(facts_of_events(entries))[0] == (0.0, 20_000)


def run_with_errors(trial: int, parameters: int, errors: Sequence[int], **fields: Any) -> Result:
    """Return a first run with ``errors`` at the rungs and after the last epoch; the trial number is the hash."""
    epochs = fields.get("recipe", CONFIG.recipe).epochs
    curve = dict(zip((*CONFIG.rungs, epochs), errors, strict=False))
    defaults: dict[str, Any] = {
        "hash": f"{trial:012x}",
        "parameters": parameters,
        "history": tuple(Epoch(epoch, 0.1, 0.1, 1.0, curve.get(epoch)) for epoch in range(1, epochs + 1)),
        "trial": trial,
    }
    return make_result(errors=errors[-1], **defaults | fields)


def rung_entry(trial: int, epoch: int, decision: str, **changes: Any) -> Entry[Event]:
    """Return the log entry of a decision at a rung: ``pruned``, ``exempt`` or ``hopeful``."""
    values = {"trial": trial, "epoch": epoch, "pruned": decision == "pruned", "exempt": decision == "exempt"}
    return make_entry("rung", **(values | changes))


def test_wrong_pruning_is_share_of_exempt_networks_that_reached_threshold():
    events = [
        *(rung_entry(trial, epoch, "pruned") for trial, epoch in ((1, 4), (2, 4), (2, 4), (3, 8), (9, 8))),
        rung_entry(3, 4, "hopeful"),
        *(rung_entry(trial, 4, "exempt") for trial in (10, 20, 30, 40, 60, 70, 80)),
        rung_entry(10, 8, "exempt"),
        rung_entry(50, 4, "exempt", purpose="confirm"),
        make_entry("proposed", trial=9, epochs=30),
        # Excluded: ended at the second rung for a training of fewer epochs.
        rung_entry(90, 4, "exempt"),
        rung_entry(90, 8, "hopeful", shorter_epochs=8),
    ]
    results = [
        run_with_errors(90, 1_500, (900, 55), status=Status.SHORTENED),
        run_with_errors(10, 1_500, (900, 200, 100)),
        run_with_errors(20, 1_500, (900, 200, 56)),
        run_with_errors(30, 1_500, (200, 90, 55)),  # 99.45 %, the threshold
        run_with_errors(40, 1_500, (200, 90, 90)),
        run_with_errors(70, 1_500, (900, 200, 9_000), status=Status.DIVERGED),
        # Excluded, like trial 60, which is still in training.
        run_with_errors(80, 1_500, (900, 200, 10), status=Status.CRASHED),
    ]

    short, long = history.pruning(facts_of_events(events, results))

    # Five exempt networks: 1 reached the threshold, 3 missed the threshold, 1 diverged.
    assert tuple(short[key] for key in ("epochs", "pruned", "spared", "reached")) == (CONFIG.recipe.epochs, 3, 5, 1)
    exact = stats.binomtest(1, 5).proportion_ci(0.95, method="exact")
    assert short["interval"] == pytest.approx((exact.low, exact.high))
    assert tuple(long[key] for key in ("epochs", "pruned", "spared", "interval")) == (30, 1, 0, None)


# Caveats and mistakes -------------------------------------------------------------------------------------------------


def test_errors_on_mislabelled_images_are_counted_separately(study: Any, home: Workspace):
    verify_networks(study, (8, [50, 52, 54, 56, 58]))
    study.verify(study.propose(network(9, 9, 9)), [70] * 3)
    with home.test_log.open("a", encoding="utf-8") as log:
        log.write('not JSON, but a read all the same\n\n{"dataset": "mnist-5k", "purpose": "of other images"}\n')

    caveats = _caveats(facts_of_study(study))

    # Each seed has ten errors on the 15 mislabelled images; the labels of 9,985 images are undisputed.
    labels = caveats["label_errors"]
    assert (labels["images"], labels["among"], labels["outside"]) == (15, 10, 44)
    assert labels["outside_pct"] == pytest.approx(100 * (9985 - 44) / 9985)
    assert (caveats["winner_reads"], caveats["workspace_reads"]) == (5, 9)


def test_decreases_from_first_run_exclude_networks_below_threshold(study: Any):
    for width, first, fresh in ((8, 50, [56, 58]), (9, 40, [44]), (10, 90, [10])):
        proposal = study.propose(network(width, 8, 8))
        study.finish(proposal, first)
        study.confirm(proposal, fresh)

    # The first run of the third network missed the threshold, so the network was not chosen.
    assert sorted(_caveats(facts_of_study(study))["falls"]) == pytest.approx([0.04, 0.07])


def test_mistakes_count_images_of_all_seeds():
    proof = evidence(network(4, 8, 8), [12, 12, 14])
    image, _ = proof.seeds[0].wrong[0]
    changed_seed = replace(proof.seeds[0], wrong=((image, 7), *proof.seeds[0].wrong[1:]))
    proof = replace(proof, seeds=(changed_seed, *proof.seeds[1:]))
    inspections = [inspection_of(proof, run) for run in proof.seeds]

    result = _mistakes(proof, inspections)

    assert [mistake.seeds for mistake in result.mistakes] == [3] * 12 + [1] * 2
    assert sum(mistake.is_mislabelled for mistake in result.mistakes) == 10
    assert all((item.label, item.pixels) == (label_of(item.image), ring_pixels(item.image)) for item in result.mistakes)
    assert [mistake.predictions for mistake in result.mistakes if mistake.image == image] == [((3, 2), (7, 1))]
    assert result.confusion is not None
    assert [sum(row) for row in result.confusion] == [3_000] * 10
    assert sum(row[3] for label, row in enumerate(result.confusion) if label != 3) == 12 + 12 + 14 - 1
    pairs = np.repeat(np.arange(100), np.ravel(result.confusion))
    columns = precision_recall_fscore_support(pairs // 10, pairs % 10, zero_division=0)
    for index, item in enumerate(result.scores):
        assert [item.precision, item.recall, item.f1] == pytest.approx([column[index] for column in columns[:3]])
    assert [item.support for item in result.scores] == [1_000] * 10
    # Only the third seed has two further mistakes.
    partial = _mistakes(proof, inspections[:2])
    assert partial.confusion is None
    assert partial.scores == ()
    assert sum(mistake.pixels is not None for mistake in partial.mistakes) == 12
    assert {name: len(images) for name, images in _CONFIRMED_LABEL_ERRORS.items()} == {"mnist": 15}


# Networks -------------------------------------------------------------------------------------------------------------


def networks_of(study: Any) -> tuple[PageNetwork, ...]:
    return read_study(study.write(), study.home).networks


def test_end_of_network_is_end_of_earliest_first_run(study: Any):
    for epochs in (5, 30):
        study.finish(study.propose(network(8, 8, 8), epochs=epochs), 40)
    ends = [event["elapsed"] for event in study.events if event["event"] == "finished"]
    assert history.first_ends(facts_of_study(study)) == {0: ends[0]}


def test_run_that_ended_for_a_shorter_training_counts_as_shortened(study: Any):
    long, short = (study.propose(network(8, 8, 8), epochs=epochs) for epochs in (30, 5))
    study.log("rung", epoch=8, pruned=False, predicted_pct=98.76, shorter_epochs=5)
    study.finish(long, 40, status=Status.SHORTENED, epochs=8)
    study.finish(short, 90)
    study.finish(study.propose(network(4, 4, 4)), 300, status=Status.PRUNED, epochs=4)

    facts = facts_of_study(study)

    assert [run.status for run in facts.results] == [Status.SHORTENED, Status.COMPLETE, Status.PRUNED]
    assert facts.study.candidates[0].first_run == facts.results[0]
    assert facts.networks[0].remark == "(shortened in trial 0 at epoch 8 of 30)"
    assert "(1 pruned, 1 shortened)" in facts.ending.answer
    assert dict(history.time_spent(facts))["first runs, shortened"] == facts.results[0].train_seconds
    assert history.saved_by_pruning(facts)[0] == 1
    assert history.pruning(facts) == []  # the log has no rung of the pruned run


@pytest.mark.parametrize("case", ["longer", "decided", Status.PRUNED, Status.SHORTENED])
def test_confirmed_length_counts_or_else_longest_complete_length(study: Any, case: str):
    long, short = (study.propose(network(8, 8, 8), epochs=epochs) for epochs in (30, 5))
    study.finish(long, 40, **({"status": case, "epochs": 8} if isinstance(case, Status) else {}))
    study.finish(short, 90)
    if case == "decided":
        study.confirm(short, [52, 54])
        study.decide("confirmed", short, [52, 54], budget=100)

    [facts] = networks_of(study)

    assert (facts.epochs, facts.trial) == ((30, long["trial"]) if case == "longer" else (5, short["trial"]))
    assert len(facts.runs) == (4 if case == "decided" else 2)
    # The remark names the trial that ended at a rung.
    assert (f"({case} in trial 0 at epoch 8 of 30)" == facts.remark) == isinstance(case, Status)
    assert history.saved_by_pruning(facts_of_study(study))[0] == (case is Status.PRUNED)
    assert ("not pruned", 2 - (case is Status.PRUNED)) in history.accounting(facts_of_study(study))["steps"]


@pytest.mark.parametrize(
    ("status", "state", "remark", "accuracies"),
    [
        (Status.PRUNED, NetworkState.PRUNED, "in trial 0 at epoch 4 of 15: 300 errors; 10 % quantile of the", (97.0,)),
        (Status.SHORTENED, NetworkState.SHORTENED, "in trial 0 at epoch 4 of 15", ()),
        (Status.DIVERGED, NetworkState.FAILED, "diverged", ()),
        (Status.OUT_OF_MEMORY, NetworkState.FAILED, "out of memory", ()),
        (None, NetworkState.WAITING, "", ()),
    ],
)
def test_remark_states_reason_of_early_end(study: Any, status: Any, state: NetworkState, remark: str, accuracies: Any):
    proposal = study.propose(network(8, 8, 8))
    if status:
        study.log("rung", trial=0, epoch=4, pruned=status is Status.PRUNED, predicted_pct=98.76)
        study.finish(proposal, 300, status=status, epochs=4)

    [facts] = networks_of(study)

    assert (facts.state, facts.validation_accuracies_pct, facts.is_complete) == (state, accuracies, False)
    assert facts.remark.startswith(remark)


def test_networks_are_ordered_by_target_threshold_accuracy_and_state(study: Any):
    proposals = [study.propose(network(width, 8, 8)) for width in range(3, 11)]
    for number, errors in ((0, 70), (1, 65), (2, 54), (3, 40), (5, 50)):
        study.finish(proposals[number], errors)
    study.finish(proposals[4], 200, status=Status.PRUNED, epochs=4)
    study.verify(proposals[5], [50] * 5)
    study.finish(proposals[6], None, status=Status.CRASHED)

    assert [facts.trial for facts in networks_of(study)] == [5, 2, 3, 1, 0, 4, 6, 7]


def test_front_equals_comparison_of_all_pairs(realistic_facts: StudyFacts):
    trained = [item for item in realistic_facts.networks if item.is_complete and item.accuracy_pct is not None]

    # Compares all pairs, unlike the sweep of ``front_of``.
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


def test_objective_of_study_orders_networks(new_study: Callable[..., Any]):
    few_parameters = parse_network("conv3x3(8) bn relu gap linear(10)")
    few_macs = parse_network("conv3x3(16, stride=2) bn relu gap linear(10)")
    analyses = [analyse(item, MNIST) for item in (few_parameters, few_macs)]
    assert [(item.parameters, item.macs) for item in analyses] == [(178, 56_528), (346, 28_384)]
    study = new_study(config=replace(CONFIG, minimise=Metric.MACS, most=60_000))
    for architecture in (few_parameters, few_macs):
        study.finish(study.propose(architecture), 40)

    networks = networks_of(study)

    assert [(item.hash, item.cost) for item in networks] == [(few_macs.hash, 28_384), (few_parameters.hash, 56_528)]
    assert [item.hash for item in front_of(networks)] == [few_macs.hash]


# Evidence -------------------------------------------------------------------------------------------------------------


def test_measured_networks_have_rows_of_target_and_data_set_of_study(study: Any, home: Workspace):
    proposal = study.propose(network(8, 8, 8))
    for changes in ({}, {"target_pct": 99.0}, {"dataset": "kmnist"}):
        study.verify(proposal, [50] * 5, **changes)

    facts = read_study(study.write(), home)

    [measured] = facts.measured
    assert (measured.row.hash, measured.row.seeds) == (measured.record.hash, 5)
    assert len(facts.evidence.rows) == 3
