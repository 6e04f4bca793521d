from __future__ import annotations

from typing import Any

from harness.system.files import Workspace
from reports.study.answer import winner
from reports.study.study_files import read_study


def answer(study: Any, place: Workspace) -> Any:
    return winner(read_study(study.write(), place))


def test_a_study_that_named_no_winner_has_no_answer(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(8, 8, 8)), 50)

    assert answer(study, place) is None


def test_a_winner_that_was_not_verified_has_its_validation_figures_only(
    new_study: Any, place: Workspace, synthetic: Any
):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50, 54])

    found = answer(study, place)

    assert (found.hash, found.parameters, found.row) == (proposal["hash"], proposal["parameters"], None)
    assert found.validation_accuracy_pct == 99.48


def test_the_smallest_network_that_is_proven_wins_over_a_later_one_that_missed(
    new_study: Any, place: Workspace, synthetic: Any
):
    study = new_study()
    large, middle, small = (study.propose(synthetic.network(width, 8, 8)) for width in (9, 8, 7))
    for proposal, errors in ((large, 50), (middle, 55), (small, 70)):
        study.standing("winner", proposal, [50])
        study.verify(proposal, [errors] * 5)

    found = answer(study, place)

    assert (found.hash, found.row.reached) == (middle["hash"], True)


def test_a_winner_that_missed_is_the_answer_where_nothing_is_proven(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    first, last = (study.propose(synthetic.network(width, 8, 8)) for width in (9, 8))
    for proposal in (first, last):
        study.standing("winner", proposal, [50])
        study.verify(proposal, [70] * 5)

    assert answer(study, place).hash == last["hash"]


def test_a_network_that_another_study_proved_is_not_this_study_s_answer(
    new_study: Any, place: Workspace, synthetic: Any
):
    other = new_study(name="other")
    other.verify(other.propose(synthetic.network(6, 6, 6)), [50] * 5)
    study = new_study()
    study.finish(study.propose(synthetic.network(6, 6, 6)), 70)

    assert answer(study, place) is None


def test_a_proof_for_another_target_does_not_count(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])
    study.verify(proposal, [90] * 5, target_pct=99.0)

    found = answer(study, place)

    assert (found.hash, found.row) == (proposal["hash"], None)
