"""Which nodes may join, and what they need for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.system.errors import DeviceError
from harness.training.cluster import cluster as module
from harness.training.cluster import roster
from harness.training.cluster.roster import Kinds, _kind_text, _refusal
from tests.harness import clustered


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load", lambda *arguments, **how: SimpleNamespace(data_hash=clustered.DATA))
    monkeypatch.setattr(module, "facts_here", lambda *arguments: clustered.OURS)
    monkeypatch.setattr(roster, "stored_files", lambda spec, folder: {"images.gz": b"pixels"})


@pytest.mark.parametrize(
    ("theirs", "why"),
    [
        (clustered.facts(commit="b" * 40), "its code is commit bbbbbbbbbb, not aaaaaaaaaa"),
        (clustered.facts(commit=None), "its code is commit unknown (no git checkout), not aaaaaaaaaa"),
        (clustered.facts(code="e" * 64), "its code is of commit aaaaaaaaaa too, but has other changes"),
        (clustered.facts(torch="2.11.0"), "its torch is 2.11.0, not 2.13.0"),
        (clustered.facts(fault="no C++ compiler found"), "it has no native engine: no C++ compiler found"),
    ],
)
def test_another_version_is_refused_in_one_line(theirs, why: str):
    assert _refusal(clustered.OURS, theirs) == why
    cluster, _ = clustered.cluster(clustered.node("one", facts=theirs))
    with pytest.raises(DeviceError) as caught:
        cluster.start(1)
    assert caught.value.message == f"no node of the cluster can train: node one is refused: {why}"


def test_another_processor_may_join_and_is_named(capsys: pytest.CaptureFixture[str]):
    other = clustered.facts(instructions="aarch64 DEFAULT", engine="native plain 87654321")
    assert _refusal(clustered.OURS, other) is None
    cluster, _ = clustered.cluster(clustered.node("one"), clustered.node("arm", 2, facts=other))
    cluster.start(1)
    assert len(cluster.jobs) == 3
    assert f"node arm has joined: 2 places; {_kind_text(other)}" in capsys.readouterr().err
    assert "aarch64 DEFAULT, native plain 87654321" in _kind_text(other)


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
    assert cluster.roster is not None
    assert [member.node.name for member in cluster.roster.joined] == ["small", "also"]
    assert large.is_killed

    link.there.append(clustered.node("later", facts=other))
    cluster.poll(0.0)
    cluster.poll(0.0)
    assert len(cluster.jobs) == 2
    assert "it is another kind of machine" in cluster.roster.refused["id-later"]


def test_a_cluster_that_has_nothing_to_offer_says_so():
    cluster, _ = clustered.cluster(clustered.node("head", 0))
    with pytest.raises(DeviceError, match="no node of the cluster can train: none has joined in time"):
        cluster.start(1)


def test_a_node_that_fails_to_join_is_refused_and_one_that_is_lost_meanwhile_is_not():
    broken = clustered.node("broken", lost="No module named 'harness'", is_at_fault=True)
    gone = clustered.node("gone", lost="it cannot be reached")
    cluster, _ = clustered.cluster(broken, gone, clustered.node("one"))
    cluster.start(1)
    assert cluster.roster is not None
    assert cluster.roster.refused == {"id-broken": "node broken is refused: No module named 'harness'"}
    assert "id-gone" in cluster.roster.losses


def test_a_node_that_never_joins_does_not_hold_up_the_others():
    slow = clustered.node("slow", is_silent=True)
    cluster, _ = clustered.cluster(slow, clustered.node("one"))
    cluster.start(1)
    assert len(cluster.jobs) == 1
