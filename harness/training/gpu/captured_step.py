"""A training step captured as a CUDA graph, in a process where other threads train on the same GPU.

CUDA breaks a capture off when something waits for the whole GPU meanwhile, whoever does (cudaDeviceSynchronize gives
error 900 and the capture is lost), and the loading of a kernel at its first use may wait so; torch allows one capture
at a time. So these threads take turns: one at a time does anything but replay. Replays, and waits for one's own stream,
disturb nobody, and they are what takes the time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import torch

# Whose turn it is: a thread holds it for all but replays.
TURN = threading.RLock()
# Steps that may be asked for and not be taken yet: whoever is to stop at its next step has to wait for them, and the
# rest of an epoch may take longer than a lane is given. Chosen by estimate, not measured: no GPU has run it.
AHEAD = 100
# Free memory that a capture should find, as a share of the GPU's. A step of a network is some tens of MiB.
_LEAST_FREE = 1 / 8


class CaptureLost(RuntimeError):
    """Raise when a capture could not be ended: torch's allocator still waits for its end, so the process is spoilt."""


@contextlib.contextmanager
def turn_of_others() -> Iterator[None]:
    """Let others have their turn for the block, and wait for one's own after it; nothing to do for who has none."""
    try:
        TURN.release()
    except RuntimeError:  # whoever has no turn trains alone in its process
        yield
        return
    try:
        yield
    finally:
        TURN.acquire()


@contextlib.contextmanager
def stream_of_ones_own(device: torch.device) -> Iterator[torch.cuda.Stream]:
    """Make a GPU the current one, on a stream that can be captured: the current one, where it is not the default."""
    with torch.cuda.device(device):
        current = torch.cuda.current_stream()
        if current != torch.cuda.default_stream():
            yield current
            return
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        side.wait_stream(current)
        with torch.cuda.stream(side):
            yield side
        current.wait_stream(side)


def captured(step: Callable[[], None], generator: torch.Generator) -> torch.cuda.CUDAGraph:
    """Return a step as a graph with memory of its own, captured on the current stream; the step is not taken.

    Not by ``torch.cuda.graph``, which first waits for the whole GPU and gives its free memory back: others train there.
    ``thread_local``: what other threads do on their streams does not break this capture off.

    Args:
        generator: what the step draws from.

    Raises:
        CaptureLost: the capture did not begin, or broke off.
    """
    _make_room()
    fault: Exception | None = None
    graph = torch.cuda.CUDAGraph()
    # Up to 2.13 torch has to be told; from 2.14 it finds out by itself, and this only warns (pytorch/pytorch#176753).
    graph.register_generator_state(generator)
    try:
        graph.capture_begin(capture_error_mode="thread_local")
    except RuntimeError as error:
        # The allocator is told of a capture before CUDA is.
        raise CaptureLost(str(error)) from error
    try:
        step()
    except Exception as error:
        fault = error
    try:
        graph.capture_end()
        if fault is not None:
            raise fault
    except RuntimeError as error:
        if error is fault:
            raise
        # The step's own fault says more than that of the capture which it broke off.
        raise CaptureLost(str(fault or error)) from (fault or error)
    finally:
        # A fault knows this frame: they would keep each other, the graph and the network until some later collection.
        del fault
    return graph


def _make_room() -> None:
    """Give back the memory of graphs that are gone, where little else is left.

    Torch keeps what a graph had when it is gone, and neither uses it for another graph nor gives it back during a
    capture: after some thousand jobs a capture would find no memory on an idle GPU. To give it back waits for the GPU.
    """
    free, total = torch.cuda.mem_get_info()
    if free < _LEAST_FREE * total:
        torch.cuda.empty_cache()


def replay(graph: torch.cuda.CUDAGraph, times: int, on_step: Callable[[], None]) -> None:
    """Take a captured step so many times on the current stream and wait for the last; others have their turn meanwhile.

    At most ``AHEAD`` steps are asked for before they are waited for.

    Args:
        on_step: called after each step has been asked for; it may raise, which ends the replays.
    """
    with turn_of_others():
        stream = torch.cuda.current_stream()
        try:
            for step in range(times):
                if step and step % AHEAD == 0:
                    stream.synchronize()
                graph.replay()
                on_step()
        finally:
            # No graph may die with steps under way.
            stream.synchronize()
