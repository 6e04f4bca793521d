from __future__ import annotations

from typing import Any

import pytest

from harness.evidence import ledger, record
from harness.evidence.study import owned
from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.answer import Headline, Outcome, headline, next_step, winner
from reports.study.networks import networks
from reports.study.study_files import read_study
from tests.wording import lacking


def said(study: Any, place: Workspace) -> Headline:
    files = read_study(study.write(), place)
    return headline(files, networks(files), winner(files))


@pytest.fixture
def study(new_study: Any) -> Any:
    return new_study()


def test_a_reached_target_names_network_size_mean_spread_seeds_and_tier(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [50, 52, 54, 56, 58])
    study.note("ended", 5.0, reason="time")

    found = said(study, place)

    assert found.outcome is Outcome.REACHED
    # The mean of 50, 52, 54, 56, 58 errors is 54, their deviation the square root of 10.
    assert found.verdict.startswith("Reached: ")
    network = (f"plain-3128 {proposal['hash'][:6]}", "3,128 parameters")
    measured = ("99.460 %", "54 wrong images", "5 training seeds", "MNIST")
    assert lacking(found.verdict, *network, *measured, "0.060 points above", "99.4 %", "verified") == []
    assert found.progress == "The search ended after 6 s: its time was up."


def test_a_search_that_stopped_early_says_what_for(study: Any, place: Workspace, synthetic: Any):
    study.standing("winner", study.propose(synthetic.network(8, 8, 8)), [50])
    study.note("ended", 300.0, reason="time", message="of 9 networks none has a chance")
    study.events[-1]["seconds"] = 600.0

    found = said(study, place)

    assert lacking(found.progress, "stopped after 5 min", "of 10 min", "verification") == []


def test_a_missed_target_says_by_how_much(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [62, 63, 64, 65, 66])

    found = said(study, place)

    assert found.outcome is Outcome.MISSED
    assert found.verdict.startswith("Missed: network")
    assert lacking(found.verdict, "0.040 points below", "99.4 %", "measured") == []


def test_a_network_that_was_verified_and_missed_is_named_beside_the_answer(
    study: Any, place: Workspace, synthetic: Any
):
    small, large = (study.propose(synthetic.network(8, 8, width)) for width in (8, 16))
    for proposal, errors, passed in ((small, [62, 63, 64, 65, 66], False), (large, [50, 51, 52, 53, 54], True)):
        study.standing("winner", proposal, [50])
        study.verify(proposal, errors)
        mean = 100 - sum(errors) / 500
        study.note("verified", hash=proposal["hash"], seeds=5, passed=passed, mean_test_accuracy_pct=mean)

    found = said(study, place)

    assert found.outcome is Outcome.REACHED
    reached, _, also = found.verdict.partition(" Also verified")
    assert large["hash"][:6] in reached
    assert lacking(also, "missed", small["hash"][:6], f"{small['parameters']:,}", "99.360 %", "5 seeds") == []


def test_too_few_seeds_are_no_verdict(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [50, 52])

    found = said(study, place)

    assert found.outcome is Outcome.UNVERIFIED
    assert lacking(found.verdict, "above", "99.4 %", "2 seeds are too few", "measured") == []


def test_a_mean_at_the_target_is_reached_and_named_so(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [57, 58, 59, 60, 61])

    found = said(study, place)

    assert found.outcome is Outcome.REACHED
    assert lacking(found.verdict, "0.010 points above", "99.4 %", "Tier at the target") == []


def test_seeds_that_were_declared_and_not_run_leave_no_verdict(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [50, 52, 54, 56, 58])
    [evidence] = record.read_all(place.records)
    ledger.declare_verification(place.ledger, evidence.key, [5])

    found = said(study, place)

    assert found.outcome is Outcome.UNVERIFIED
    assert lacking(found.verdict, "seeds", "declared", "not been run", "measured") == []


def test_a_winner_whose_verification_is_missing_is_not_verified_yet(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50, 52, 54])

    found = said(study, place)

    assert found.outcome is Outcome.UNVERIFIED
    assert "reached 99.48 % on validation" in found.verdict


def test_a_search_that_goes_on_says_what_it_has(study: Any, place: Workspace, synthetic: Any):
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.finish(proposal, 80)

    found = said(study, place)

    assert found.outcome is Outcome.SEARCHING
    assert found.verdict.startswith("No verdict yet: ")
    best = (proposal["hash"][:6], "3,128 parameters", "99.20 %", "1 seed", "80 errors", "55 allowed")
    assert lacking(found.verdict, "99.4 %", *best) == []
    assert found.progress.startswith("The search was cut off after 24 s")


def test_a_lucky_draw_above_the_threshold_is_not_called_a_success(study: Any, place: Workspace, synthetic: Any):
    study.finish(study.propose(synthetic.network(8, 8, 8)), 40)

    assert lacking(said(study, place).verdict, "40 errors", "55 allowed", "not confirmed") == []


def test_a_search_that_ended_with_nothing_missed(study: Any, place: Workspace, synthetic: Any):
    study.finish(study.propose(synthetic.network(8, 8, 8)), 80)
    study.note("ended", reason="trials")

    found = said(study, place)

    assert found.outcome is Outcome.MISSED
    assert found.verdict.startswith("Missed: no network was confirmed for the target of 99.4 %.")
    assert found.progress.endswith("its trials were used up.")


def test_trainings_that_were_stopped_early_are_no_result_and_are_counted(study: Any, place: Workspace, synthetic: Any):
    for width in (6, 8):
        study.finish(study.propose(synthetic.network(width, 8, 8)), 300, epochs=4, status=Status.PRUNED)

    assert lacking(said(study, place).verdict, "No result yet", "2 runs were pruned") == []


def test_a_study_without_a_finished_run_says_so(study: Any, place: Workspace):
    found = said(study, place)

    assert found.outcome is Outcome.NOTHING
    assert found.verdict.startswith("No result yet: ")
    assert "pruned" not in found.verdict


def test_an_ended_study_without_a_trained_network_missed(study: Any, place: Workspace):
    study.note("ended", reason="exhausted", message="all 16 networks are known")

    found = said(study, place)

    assert found.outcome is Outcome.MISSED
    assert "no remaining candidate" in found.progress


def test_an_interrupted_study_has_no_verdict_yet(study: Any, place: Workspace):
    study.note("ended", reason="interrupted")

    assert said(study, place).outcome is Outcome.NOTHING


def test_a_study_that_was_taken_up_again_is_running(study: Any, place: Workspace):
    study.note("ended", reason="time")
    study.note("session", 5.0, command=["harness"], workers=2, device="cpu")

    found = said(study, place)

    assert found.outcome is Outcome.NOTHING
    assert found.progress.startswith("The search was cut off after 6 s")


def test_while_a_program_works_on_it_a_search_is_running_and_nothing_else(study: Any, place: Workspace):
    study.write()
    with owned(study.folder):
        files = read_study(study.folder, place)

    assert files.searching
    assert headline(files, [], None).progress.startswith("The search is running: ")
    assert next_step(files, None) is None


def test_a_network_that_stands_comes_before_a_larger_one_that_is_more_accurate(
    study: Any, place: Workspace, synthetic: Any
):
    for width, errors in ((9, 40), (8, 50)):
        proposal = study.propose(synthetic.network(width, 8, 8))
        study.finish(proposal, errors)
        study.standing("standing", proposal, [errors] * 2, budget=proposal["parameters"] - 1)

    verdict = said(study, place).verdict

    assert f"so far is {proposal['hash'][:6]} with 3,128 parameters" in verdict


def test_a_search_that_left_time_for_its_verification_says_how_much_it_used(study: Any, place: Workspace):
    study.note("ended", 170.0, reason="time")
    study.events[-1]["seconds"] = 300.0
    study.note("verified", 83.0)

    assert lacking(said(study, place).progress, "2 min 51 s of 5 min", "verification", "4 min 14 s in all") == []


def test_a_study_with_an_empty_journal_has_been_set_up(study: Any, place: Workspace):
    study.events = []

    assert "no events" in said(study, place).progress


def test_an_unknown_end_is_quoted(study: Any, place: Workspace):
    study.note("ended", reason="moonshine")

    assert said(study, place).progress.endswith("reason 'moonshine'.")
