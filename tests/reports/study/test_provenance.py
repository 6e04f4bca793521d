from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.search import prior
from harness.search.prior import shipped
from harness.system.files import Workspace
from reports.study.answer import winner
from reports.study.provenance import Provenance, Setting, provenance
from reports.study.study_files import read_study


def found(study: Any, place: Workspace) -> Provenance:
    files = read_study(study.write(), place)
    return provenance(files, winner(files))


def test_each_setting_has_its_value_and_its_origin(new_study: Any, place: Workspace):
    settings = found(new_study(), place).settings

    assert Setting("budget", "20000", "command line") in settings
    assert Setting("target_pct", "99.4", "default") in settings
    assert Setting("rungs", "4 8 of 15 epochs, and the same shares of other lengths", "derived") in settings
    assert not {"recipe", "space_text"} & {setting.name for setting in settings}


def test_lengths_that_a_search_chooses_from_stand_in_the_recipe(new_study: Any, place: Workspace):
    fixed = new_study()
    chosen = new_study(name="chosen", config=replace(fixed.config, lengths=(5, 12)))

    assert ("epochs", str(fixed.config.recipe.epochs)) in found(fixed, place).recipe
    assert ("epochs", "5, 12: chosen for each network") in found(chosen, place).recipe


def test_the_earlier_trainings_that_a_search_began_with_are_counted(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study(config=replace(synthetic.CONFIG, prior="shipped", lengths=(5, 30)))
    assert dict(found(study, place).facts)["prior"] == "\N{EN DASH}"

    prior.keep(study.folder, shipped("mnist")[:3])

    made = found(study, place)
    assert dict(made.facts)["prior"] == "shipped: 3 earlier trainings"
    assert Setting("lengths", "5 30", "derived") in made.settings


def test_the_facts_of_code_and_machine_are_those_of_the_results(realistic_study: Any, place: Workspace):
    facts = dict(found(realistic_study, place).facts)

    assert facts["code"] == "0123456789ab"
    assert facts["torch"] == "2.13.0+cpu"
    assert facts["threads a worker"] == "1"
    assert facts["data, SHA-256"] == "ab" * 32


def test_the_winner_is_run_again_with_as_many_seeds_as_it_has(realistic_study: Any, place: Workspace):
    files = read_study(realistic_study.folder, place)
    answer = winner(files)
    assert answer is not None

    assert provenance(files, answer).rerun == f"harness verify {answer.hash} --seeds 6"


def test_a_winner_without_a_verification_is_given_its_first(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.standing("winner", proposal, [50])

    assert found(study, place).rerun == f"harness verify {proposal['hash']}"


def test_times_are_of_all_sessions_and_all_runs(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(8, 8, 8)), 50)
    study.finish(study.propose(synthetic.network(9, 8, 8)), 50)
    study.note("ended", 100.0, reason="time")

    made = found(study, place)

    assert made.train_seconds == 90.0
    assert made.wall_seconds == 146.2
    assert made.last_utc == "2026-11-20T08:02:26+00:00"
