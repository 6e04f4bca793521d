from __future__ import annotations

from typing import Any

from harness.system.files import Workspace
from harness.training.result import Status
from reports.study.networks import networks
from reports.study.search_course import Share, accounting
from reports.study.study_files import read_study
from tests.harness import logged
from tests.reports.conftest import files_of


def test_every_proposal_is_counted_once(realistic_study: Any, place: Workspace):
    files = read_study(realistic_study.folder, place)

    found = accounting(files, networks(files))

    kinds = [event["event"] for event in realistic_study.events]
    asked = sum(kind in ("rejected", "repeated", "proposed") for kind in kinds)
    assert found.proposed == asked
    assert found.rejected == sum(share.count for share in found.rejections) == kinds.count("rejected")
    assert found.to_train == found.trained + 1
    assert found.runs == sum(share.count for share in found.outcomes) == kinds.count("finished")


def test_the_steps_of_the_funnel_are_counted_from_the_log(realistic_study: Any, place: Workspace):
    files = read_study(realistic_study.folder, place)

    steps = {step.name: step.count for step in accounting(files, networks(files)).steps}

    events = realistic_study.events
    kinds = [event["event"] for event in events]
    ends = [event for event in events if event["event"] == "finished" and event["run"]["purpose"] == "search"]
    whole = [event for event in ends if event["run"]["status"] == "complete"]
    assert steps == {
        "proposed": sum(kind in ("rejected", "repeated", "proposed") for kind in kinds),
        "within the limits": kinds.count("proposed") + kinds.count("repeated"),
        "trained": len(ends),
        "not pruned": len(whole),
        "reached the threshold": sum(event["run"]["validation_errors"] <= 55 for event in whole),
        "confirmed": kinds.count("standing"),
        "verified": 1,
    }
    assert list(steps.values()) == sorted(steps.values(), reverse=True)


def test_each_length_of_a_network_is_a_proposal(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    for epochs in (5, 30):
        proposal = study.propose(synthetic.network(8, 8, 8), epochs=epochs)
    study.finish(proposal, 50)
    files = read_study(study.write(), place)

    found = accounting(files, networks(files))

    assert (found.proposed, found.to_train, found.trained) == (2, 2, 1)


def test_the_steps_of_the_funnel_count_the_same_thing(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    for epochs, errors in ((5, 54), (30, 50)):
        study.finish(study.propose(synthetic.network(8, 8, 8), epochs=epochs), errors)
    files = read_study(study.write(), place)

    steps = {step.name: step.count for step in accounting(files, networks(files)).steps}

    # One network, proposed twice.
    assert [steps[name] for name in ("proposed", "trained", "not pruned", "reached the threshold")] == [2] * 4


def test_a_training_that_was_broken_off_is_not_counted_as_trained(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.finish(study.propose(synthetic.network(4, 8, 8)), None, status=Status.OUT_OF_MEMORY)
    files = read_study(study.write(), place)

    found = accounting(files, networks(files))

    assert (found.to_train, found.trained, found.runs) == (1, 0, 1)


def test_reasons_are_in_words_and_the_most_frequent_is_first():
    reasons = ["shape", "parameters", "parameters", "something new"]
    rejected = (logged.entry("rejected", reason=reason) for reason in reasons)
    files = files_of(*rejected, logged.entry("looked", rejected={"parameters": 5}))

    assert accounting(files, []).rejections == (
        Share("too many parameters", 7),
        Share("ops that do not fit together", 1),
        Share("something new", 1),
    )


def test_rare_reasons_are_summed_up_and_none_is_lost():
    reasons = [f"reason {number:02d}" for number in range(30) for _ in range(30 - number)]
    files = files_of(*(logged.entry("rejected", reason=reason) for reason in reasons))

    found = accounting(files, [])

    assert len(found.rejections) == 12
    assert found.rejections[-1].name == "19 other reasons"
    assert sum(share.count for share in found.rejections) == len(reasons) == found.rejected


def test_outcomes_are_in_the_order_of_their_kinds(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    for width, status in ((4, Status.CRASHED), (5, Status.COMPLETE), (6, Status.TIMED_OUT)):
        study.finish(study.propose(synthetic.network(width, 8, 8)), 50, status=status)
    files = read_study(study.write(), place)

    assert accounting(files, networks(files)).outcomes == (
        Share("complete", 1),
        Share("timed out", 1),
        Share("crashed", 1),
    )
