"""Turns, by threads of the processor; what is captured, and replayed, by stand-ins for the GPU."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from harness.training.gpu.captured_step import AHEAD, TURN, CaptureLost, captured, replay, turn_of_others


@dataclass
class Graph:
    """As much of a CUDA graph, and of its GPU, as is asked of them.

    Attributes:
        lost: it refuses to end its capture.
        refused: it refuses to begin it.
        free: bytes of the GPU's hundred.
    """

    lost: bool = False
    refused: bool = False
    free: int = 50
    calls: list[str] = field(default_factory=list)

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.calls.append("register")

    def capture_begin(self, capture_error_mode: str) -> None:
        self.calls.append(f"begin {capture_error_mode}")
        if self.refused:
            raise RuntimeError("CUDA error: invalid argument")

    def capture_end(self) -> None:
        self.calls.append("end")
        if self.lost:
            raise RuntimeError("operation failed due to a previous error during capture")

    def replay(self) -> None:
        self.calls.append("replay")

    def synchronize(self) -> None:
        self.calls.append("wait")


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = Graph()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: made)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: made)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (made.free, 100))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: made.calls.append("give back"))
    return made


def fails(message: str) -> Callable[[], None]:
    def step() -> None:
        raise ValueError(message)

    return step


def test_a_turn_is_one_threads_until_it_gives_it_to_others():
    seen: list[str] = []

    def go() -> None:
        with TURN:
            seen.append("lane")
            with turn_of_others():
                inside.set()
                assert done.wait(60)
            seen.append("lane again")

    inside, done = threading.Event(), threading.Event()
    lane = threading.Thread(target=go, name="lane")
    lane.start()
    assert inside.wait(60)
    with TURN:
        # The lane wants its turn back, and has to wait for it.
        done.set()
        lane.join(0.1)
        assert lane.is_alive()
        seen.append("another")
    lane.join(60)

    assert seen == ["lane", "another", "lane again"]


def test_who_has_no_turn_gives_none_away():
    with turn_of_others():
        pass

    with TURN:
        pass


def test_a_step_is_captured_with_its_generator_and_regardless_of_other_threads(graph: Graph):
    made: object = captured(lambda: graph.calls.append("step"), torch.Generator())

    assert made is graph
    assert graph.calls == ["register", "begin thread_local", "step", "end"]


def test_a_fault_of_the_step_is_told_and_the_capture_ended(graph: Graph):
    with pytest.raises(ValueError, match=r"^no memory$"):
        captured(fails("no memory"), torch.Generator())

    assert graph.calls[-1] == "end"


@pytest.mark.parametrize(
    ("step", "message"),
    [(lambda: None, "operation failed due to a previous error during capture"), (fails("first fault"), "first fault")],
)
def test_a_capture_that_cannot_be_ended_is_lost(graph: Graph, step: Callable[[], None], message: str):
    graph.lost = True

    with pytest.raises(CaptureLost, match=f"^{message}$"):
        captured(step, torch.Generator())


def test_a_capture_that_does_not_begin_is_lost(graph: Graph):
    graph.refused = True

    with pytest.raises(CaptureLost, match=r"^CUDA error: invalid argument$"):
        captured(lambda: graph.calls.append("step"), torch.Generator())

    assert "step" not in graph.calls


def test_memory_of_graphs_that_are_gone_is_given_back_before_a_capture_that_finds_little(graph: Graph):
    graph.free = 10

    captured(lambda: None, torch.Generator())

    assert graph.calls[0] == "give back"
    assert graph.calls[1:] == ["register", "begin thread_local", "end"]


def test_what_a_step_that_failed_held_is_gone_at_once(graph: Graph):
    class Network:
        def step(self) -> None:
            raise ValueError("no memory")

    def fail() -> weakref.ref[Network]:
        network = Network()
        with pytest.raises(ValueError, match=r"^no memory$") as caught:
            captured(network.step, torch.Generator())
        del caught
        return weakref.ref(network)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


def test_replays_are_waited_for_even_where_they_are_broken_off(graph: Graph):
    replay(graph, 2, lambda: None)  # type: ignore[arg-type]  # a stand-in
    with pytest.raises(ValueError, match="stop"):
        replay(graph, 3, fails("stop"))  # type: ignore[arg-type]  # a stand-in

    assert graph.calls == ["replay", "replay", "wait", "replay", "wait"]


def test_replays_are_not_asked_for_without_end(graph: Graph):
    replay(graph, 2 * AHEAD + 1, lambda: None)  # type: ignore[arg-type]  # a stand-in

    assert graph.calls == [*["replay"] * AHEAD, "wait"] * 2 + ["replay", "wait"]
