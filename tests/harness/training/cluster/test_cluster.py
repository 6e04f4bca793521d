"""Jobs on the nodes of a cluster that come, go and fall silent: none is lost, none counts twice."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.system.errors import DeviceError
from harness.training.cluster import cluster as module
from harness.training.cluster.cluster import _MOST_ATTEMPTS, _MOST_LOSSES, Cluster, Kinds, _Patience
from harness.training.cluster.node import Key, Order
from harness.training.result import Epoch, Status
from harness.training.workers import Broken, Event, Finished, Progress
from tests.harness import clustered
from tests.harness.clustered import FakeNode


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is the one that the nodes are compared with, and no images are read."""
    monkeypatch.setattr(module, "load", lambda *arguments, **how: SimpleNamespace(data_hash=clustered.DATA))
    monkeypatch.setattr(module, "facts_here", lambda *arguments: clustered.OURS)


def begun(*nodes: FakeNode, **asked: object) -> Cluster:
    """Return a cluster of these nodes that has started."""
    made, _ = clustered.cluster(*nodes, **asked)
    made.start(1)
    return made


def after(cluster: Cluster, polls: int = 3) -> list[Event]:
    """Return what happens in some polls: an order is sent by one, taken by the next."""
    return [event for _ in range(polls) for event in cluster.poll(0.0)]


def test_a_cluster_has_a_place_for_each_core_that_its_nodes_offer():
    one, two = clustered.node("one", 2), clustered.node("two", 3)
    assert list(begun(one, two).jobs) == [0, 1, 2, 3, 4]
    assert (one.processes, two.processes) == (2, 3)
    assert list(begun(clustered.node("one", 2), clustered.node("two", 3), processes=2).jobs) == [0, 1, 2, 3]
    assert list(begun(clustered.node("one", 2), clustered.node("two", 3), places=4).jobs) == [0, 1, 2, 3]


def test_a_job_is_begun_with_its_state_and_its_result_names_the_node(tmp_path: Path):
    one = clustered.node("one")
    cluster = begun(one)
    state = tmp_path / "state.pt"
    state.write_bytes(b"after two epochs")
    job = clustered.job(checkpoint=state)

    cluster.assign(0, job)
    after(cluster)
    (order,) = one.begun
    assert order == Order(Key(0, 1), 0, job, b"after two epochs")
    one.say(order, Epoch(3, 0.1, 0.5, 1.0))
    one.say(order, clustered.result(Status.RUNNING), checkpoint=b"after three")

    progress, finished = after(cluster)
    assert progress == Progress(job, Epoch(3, 0.1, 0.5, 1.0))
    assert isinstance(finished, Finished)
    assert (finished.job, finished.result.node, finished.result.status) == (job, "one", Status.RUNNING)
    assert state.read_bytes() == b"after three"
    assert cluster.jobs == {0: None}
    assert one.ended == []


def test_what_a_node_has_written_and_read_ends_up_where_the_job_says(tmp_path: Path):
    one = clustered.node("one")
    cluster = begun(one)
    log = tmp_path / "test_reads.jsonl"
    log.write_text("an earlier read\n")
    cluster.assign(0, clustered.job(weights=tmp_path / "w" / "seed.safetensors", test_log=log))
    after(cluster)
    one.say(one.begun[0], clustered.result(), weights=b"learned", test_log=b"a read\n")
    after(cluster)
    assert (tmp_path / "w" / "seed.safetensors").read_bytes() == b"learned"
    assert log.read_text() == "an earlier read\na read\n"


def test_a_job_whose_node_is_lost_goes_on_elsewhere_from_its_last_rung(tmp_path: Path):
    one, two = clustered.node("one"), clustered.node("two")
    cluster = begun(one, two)
    state = tmp_path / "state.pt"
    state.write_bytes(b"a rung")
    cluster.assign(0, clustered.job(0, state))
    cluster.assign(1, clustered.job(1))
    after(cluster)

    one.lost = "its machine is off"
    assert after(cluster) == []
    # The other node is at work, so the job waits at its place, and counts as being at work.
    assert cluster.jobs == {0: clustered.job(0, state), 1: clustered.job(1)}
    assert [cluster.node(place) for place in cluster.jobs] == ["", "two"]
    assert one.is_killed

    two.say(two.begun[0], clustered.result())
    assert [type(event) for event in after(cluster)] == [Finished]
    assert two.begun[1] == Order(Key(0, 2), 0, clustered.job(0, state), b"a rung")
    assert cluster.jobs == {1: clustered.job(0, state)}
    two.say(two.begun[1], clustered.result())
    (finished,) = after(cluster)
    assert isinstance(finished, Finished)
    assert (finished.job, finished.result.node) == (clustered.job(0, state), "two")


def test_nodes_that_join_are_used_and_the_last_place_waits_for_one():
    one = clustered.node("one")
    cluster, link = clustered.cluster(one)
    cluster.start(1)
    one.lost = "gone"
    link.there = []
    after(cluster)
    # A search that finds no place believes that it is at its end.
    assert cluster.jobs == {0: None}
    cluster.assign(0, clustered.job())
    assert after(cluster) == []

    two = clustered.node("two", 2)
    link.there = [two]
    after(cluster, 5)

    assert [order.job for order in two.begun] == [clustered.job()]
    assert [job for job in cluster.jobs.values()] == [clustered.job(), None]


def test_a_node_that_does_not_answer_is_given_up_and_its_late_result_is_dropped():
    one, two = clustered.node("one"), clustered.node("two")
    cluster = begun(one, two)
    cluster.assign(0, clustered.job())
    after(cluster)
    one.is_silent = True
    cluster.patience = _Patience(answer=-1.0, look=60.0)
    assert cluster.poll(0.0) == []
    cluster.patience = _Patience(look=60.0)
    # Two was asked in the same moment, so it is lost too; both may come again.
    cluster.looked = float("-inf")
    cluster.losses.clear()
    one.is_silent, first = False, one.begun[0]
    after(cluster)
    (again,) = [*one.begun[1:], *two.begun]
    assert again.key == Key(0, 2)
    worker = one if again in one.begun else two

    worker.say(again, clustered.result(weights="first"))
    (finished,) = after(cluster)
    assert isinstance(finished, Finished)
    one.say(first, clustered.result(weights="other"))
    assert after(cluster) == []


def test_the_first_result_counts_also_that_of_an_earlier_attempt():
    one, two = clustered.node("one"), clustered.node("two")
    cluster, link = clustered.cluster(one, two)
    cluster.start(1)
    cluster.assign(0, clustered.job())
    after(cluster)
    first = one.begun[0]
    one.is_silent = True
    cluster._lost(cluster.members["id-one"], "no answer")
    link.there = [two]
    after(cluster)
    assert [order.key for order in two.begun] == [Key(0, 2)]

    # The call that was waiting for news is answered after all, though the node is not asked any more.
    one.is_silent = False
    one.say(first, clustered.result())
    events = after(cluster)

    assert [type(event) for event in events] == [Finished]
    assert two.ended == [Order(Key(0, 2), 0)]
    assert clustered.job() not in cluster.jobs.values()
    two.say(two.begun[0], clustered.result())
    assert after(cluster) == []


def test_what_a_late_attempt_has_read_of_the_test_set_is_taken_down_too(tmp_path: Path):
    one, two = clustered.node("one"), clustered.node("two")
    cluster, link = clustered.cluster(one, two)
    cluster.start(1)
    cluster.assign(0, clustered.job(test_log=tmp_path / "reads", weights=tmp_path / "weights"))
    after(cluster)
    one.is_silent = True
    cluster._lost(cluster.members["id-one"], "no answer")
    link.there = [two]
    after(cluster)
    two.say(two.begun[0], clustered.result(), test_log=b"the second\n", weights=b"w")
    after(cluster)

    one.is_silent = False
    one.say(one.begun[0], clustered.result(), test_log=b"the first\n", weights=b"other")
    assert after(cluster) == []

    assert (tmp_path / "reads").read_text() == "the second\nthe first\n"
    assert (tmp_path / "weights").read_bytes() == b"w"


def test_a_job_that_is_abandoned_is_left_and_what_comes_of_it_is_dropped():
    one = clustered.node("one")
    cluster = begun(one)
    cluster.assign(0, clustered.job())
    after(cluster)

    cluster.abandon(0)
    cluster.assign(0, clustered.job(1))
    after(cluster)

    assert one.ended == [Order(Key(0, 1), 0)]
    assert [order.key for order in one.begun] == [Key(0, 1), Key(1, 1)]
    one.say(one.begun[0], clustered.result())
    assert after(cluster) == []
    assert cluster.jobs == {0: clustered.job(1)}


def test_a_job_that_loses_one_node_after_the_other_has_crashed():
    cluster, link = clustered.cluster(clustered.node("n0"))
    cluster.start(1)
    cluster.assign(0, clustered.job())
    events: list[Event] = []
    for number in itertools.count(1):
        events += after(cluster)
        if events:
            break
        link.there[0].lost = "no memory left"
        link.there = [clustered.node(f"n{number}")]

    assert events == [Broken(clustered.job(), Status.CRASHED, f"its node was lost {_MOST_ATTEMPTS} times")]


def test_a_node_that_is_lost_again_and_again_is_not_asked_any_more():
    one, two = clustered.node("one"), clustered.node("two")
    cluster = begun(one, two)
    one.lost = "its disk is full"
    after(cluster, 20)
    assert len(cluster.losses["id-one"]) == _MOST_LOSSES
    assert [member.node.name for member in cluster.joined] == ["two"]


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (clustered.facts(commit="b" * 40), "commit bbbbbbbbbb, not aaaaaaaaaa"),
        (clustered.facts(commit=None), "commit unknown"),
        (clustered.facts(code="e" * 64), "has other changes"),
        (clustered.facts(torch="2.11.0"), "torch is 2.11.0"),
        (clustered.facts(fault="no C++ compiler found"), "no C++ compiler found"),
    ],
)
def test_another_version_is_refused_in_one_line(theirs, why: str):
    cluster, _ = clustered.cluster(clustered.node("one", facts=theirs))
    with pytest.raises(DeviceError) as caught:
        cluster.start(1)
    assert why in caught.value.message


def test_another_processor_may_join_and_is_named(capsys: pytest.CaptureFixture[str]):
    other = clustered.facts(instructions="aarch64 DEFAULT", engine="native plain 87654321")
    cluster, _ = clustered.cluster(clustered.node("one"), clustered.node("arm", 2, facts=other))
    cluster.start(1)
    assert len(cluster.jobs) == 3
    assert "aarch64 DEFAULT, native plain 87654321" in capsys.readouterr().err


def test_a_node_without_the_data_gets_them_once_and_they_are_put_up_once():
    lacking = clustered.facts(data_hash="")
    nodes = [clustered.node(name, facts=lacking) for name in ("one", "two")]
    cluster, link = clustered.cluster(*nodes, clustered.node("three"))
    cluster.start(1)
    assert len(cluster.jobs) == 3
    assert link.shared == 1
    assert all(node.facts.environment.data_hash == clustered.DATA for node in nodes)


def test_a_node_on_which_the_data_are_not_whole_is_refused(monkeypatch: pytest.MonkeyPatch):
    lacking = clustered.facts(data_hash="")
    monkeypatch.setattr(clustered, "DATA", "")
    cluster, _ = clustered.cluster(clustered.node("one", facts=lacking))
    with pytest.raises(DeviceError, match="node one is refused: the data that it was sent are not whole there"):
        cluster.start(1)


def test_where_one_kind_is_asked_for_the_kind_with_most_places_trains():
    other = clustered.facts(instructions="x86_64 AVX2")
    small, large, also = clustered.node("small"), clustered.node("large", 2, facts=other), clustered.node("also")
    cluster, link = clustered.cluster(small, large, also, kinds=Kinds.ONE)

    cluster.start(1)
    # Two places of either kind: the first that was asked decides.
    assert [member.node.name for member in cluster.joined] == ["small", "also"]
    assert large.is_killed

    link.there.append(clustered.node("later", facts=other))
    cluster.poll(0.0)
    cluster.poll(0.0)
    assert len(cluster.jobs) == 2
    assert "it is another kind of machine" in cluster.refused["id-later"]


def test_a_node_that_fails_to_join_is_refused_and_one_that_is_lost_meanwhile_is_not():
    broken = clustered.node("broken", lost="No module named 'harness'", is_at_fault=True)
    gone = clustered.node("gone", lost="it cannot be reached")
    cluster, _ = clustered.cluster(broken, gone, clustered.node("one"))
    cluster.start(1)
    assert cluster.refused == {"id-broken": "node broken is refused: No module named 'harness'"}
    assert "id-gone" in cluster.losses
