from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.course import learning_curves as module
from reports.study.course.learning_curves import LearningCurves, curve_points, description, draw, learning_curves
from reports.study.networks import networks
from reports.study.study_files import read_study


def found(study: Any, place: Workspace) -> LearningCurves:
    files = read_study(study.write(), place)
    return learning_curves(networks(files), files.config)


def test_a_curve_has_every_look_and_ends_where_the_run_did(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(4, 8, 8)), 50)
    study.finish(study.propose(synthetic.network(5, 8, 8)), 90, status=Status.PRUNED, epochs=4)

    whole, pruned = found(study, place).curves

    assert whole.points == ((4, 98.5), (8, 99.0), (15, 99.5))
    assert (pruned.points, pruned.ended) == (((4, 99.1),), Status.PRUNED)


def test_rungs_are_drawn_where_all_trainings_have_one_length(new_study: Any, place: Workspace, synthetic: Any):
    one = new_study(name="one", config=replace(synthetic.CONFIG, lengths=(30,)))
    several = new_study(name="several", config=replace(synthetic.CONFIG, lengths=(15, 30)))
    for study in (one, several):
        study.finish(study.propose(synthetic.network(4, 8, 8), epochs=30), 50)

    assert (found(one, place).rungs, found(several, place).rungs) == ((8, 16), ())
    assert "after epoch 8 and 16" in description(found(one, place))
    assert "Pruning was decided" not in description(found(several, place))


def test_fresh_seeds_and_runs_without_a_look_draw_nothing(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.confirm(study.propose(synthetic.network(4, 8, 8)), [50])
    study.finish(study.propose(synthetic.network(5, 8, 8)), None, status=Status.CRASHED)

    assert found(study, place).curves == ()
    assert draw(found(study, place)) == ""
    assert curve_points(None) == ()


def test_every_run_is_a_line_or_a_mark_with_the_number_of_its_network(realistic_study: Any, place: Workspace):
    facts = found(realistic_study, place)

    made, _, narrow = draw(facts).partition('class="narrow"')

    assert narrow.count("data-n=") == module.MOST_NARROW < len(facts.curves)
    lines = re.findall(r'<polyline points="[^"]*" class="curve \w+" data-n="(\d+)"', made)
    marks = re.findall(r'class="mark pruned" data-n="(\d+)"', made)
    assert sorted(map(int, lines + marks)) == sorted(curve.number for curve in facts.curves)
    assert f"{len(facts.curves)} first runs" in description(facts)


def test_too_many_curves_are_left_out_and_counted(realistic_study: Any, place: Workspace, monkeypatch: Any):
    monkeypatch.setattr(module, "MOST_CURVES", 10)

    facts = found(realistic_study, place)

    assert len(facts.curves) == 10
    assert f"{facts.left_out} further runs not drawn." in draw(facts)
