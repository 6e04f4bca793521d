"""Jobs side by side in one process, in real threads on the processor; the pipe is real, the process is this one."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
import torch

from harness.data.datasets import DATASETS
from harness.data.training_images import ImageData
from harness.system.errors import ContentError, DataError, StorageError, refused_memory
from harness.training import run as run_module
from harness.training.gpu.captured_step import CaptureLost
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Result, Status
from harness.training.run import Job, TrainingData, execute
from harness.training.seeds import Purpose
from harness.training.workers import lanes
from harness.training.workers.lanes import Fault, Lane, LaneJob, Report, Source, Stop
from search_spaces.language.notation import parse_network

SOURCE = Source("toy", None)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# Different networks, and all that draws: first weights, dropout of values and of channels, moves, the order of images.
TEXTS = (
    "conv3x3(4) bn relu dropout(0.3) | maxpool(4) | conv3x3(6) bn relu | gap | linear(10)",
    "conv3x3(3, stride=2) relu dropout2d(0.3) | maxpool(2) | conv1x1(10) | gap",
    "dwconv3x3(stride=2) bn prelu | avgpool(2) | dropout(0.1) linear(10)",
)
RECIPE = Recipe(epochs=3, batch_size=16, average_start=0.3, augmented_share=0.5)
JOBS = [
    Job(architecture=parse_network(text), recipe=RECIPE, recipe_name="toy", purpose=Purpose.SEARCH, seed_index=1)
    for text in TEXTS
]
ENDLESS = replace(JOBS[0], recipe=replace(RECIPE, epochs=100_000), seed_index=7)


@pytest.fixture
def data() -> ImageData:
    """Eighty images to train on and twenty to validate on."""
    source = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (100, 1, 28, 28), generator=source, dtype=torch.uint8)
    spec = replace(DATASETS["mnist-5k"], name="toy", train_size=80, validation_size=20)
    return ImageData(spec, pixels, torch.arange(100) % 10, data_hash="abc", source="memory", folder=None)


@pytest.fixture
def pipe(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """The coordinator's end of a pipe to three lanes."""
    monkeypatch.setattr(lanes, "load", lambda *arguments, **named: data)
    ours, theirs = Pipe()
    body = threading.Thread(target=lanes._side_by_side, args=(theirs, SOURCE, [Lane() for _ in JOBS]), daemon=True)
    body.start()
    yield ours
    ours.close()
    body.join(60)
    assert not body.is_alive()


def ends(pipe: Connection, count: int) -> dict[int, Report]:
    """Return the last report of so many lanes."""
    found: dict[int, Report] = {}
    while len(found) < count:
        assert pipe.poll(300)
        report = pipe.recv()
        if not isinstance(report.what, Epoch):
            found[report.lane] = report
    return found


def assert_same(what: object, alone: Result) -> None:
    """Bit for bit on a processor; a GPU adds in an order of its own in places."""
    assert isinstance(what, Result)
    assert what.status is Status.COMPLETE
    losses = [[epoch.train_loss for epoch in result.history] for result in (what, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    if what.environment is not None and what.environment.device == "cpu":
        assert what.weights_sha256 == alone.weights_sha256


@pytest.mark.parametrize("captures", [False, True], ids=["the plain loop", "the step that a GPU captures"])
def test_jobs_side_by_side_end_as_they_do_alone(
    pipe: Connection, data: ImageData, monkeypatch: pytest.MonkeyPatch, captures: bool
):
    monkeypatch.setattr(run_module, "_captures", lambda device: captures)
    before = torch.get_rng_state()
    alone = [execute(job, TrainingData.of(data)) for job in JOBS]

    for round_ in (1, 2):
        for lane, job in enumerate(JOBS):
            pipe.send(LaneJob(lane, round_, job))
        found = ends(pipe, len(JOBS))

        assert [found[lane].ticket for lane in range(len(JOBS))] == [round_] * len(JOBS)
        for lane, result in enumerate(alone):
            assert_same(found[lane].what, result)
    # Nobody has drawn from the generator that all threads share.
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_captured_steps_side_by_side_end_as_they_do_alone(pipe: Connection, data: ImageData):
    jobs = [replace(job, device="cuda") for job in JOBS]
    alone = [execute(job, TrainingData.of(data)) for job in jobs]

    # A lane captures anew for every job.
    for round_ in (1, 2, 3):
        for lane, job in enumerate(jobs):
            pipe.send(LaneJob(lane, round_, job))
        found = ends(pipe, len(jobs))

        for lane, result in enumerate(alone):
            assert_same(found[lane].what, result)


@pytest.mark.parametrize("device", DEVICES)
def test_a_job_that_is_stopped_leaves_the_others_alone(pipe: Connection, data: ImageData, device: str):
    job, endless = replace(JOBS[1], device=device), replace(ENDLESS, device=device)
    alone = execute(job, TrainingData.of(data))
    pipe.send(LaneJob(0, 1, endless))
    assert pipe.poll(300)
    assert isinstance(pipe.recv().what, Epoch)

    pipe.send(LaneJob(1, 1, job))
    pipe.send(Stop(0, 1))
    found = ends(pipe, 2)

    assert found[0].what is None
    assert_same(found[1].what, alone)
    # The lane does the next job, and one that is not wanted before it has begun is not begun.
    pipe.send(LaneJob(0, 2, job))
    assert_same(ends(pipe, 1)[0].what, alone)
    pipe.send(Stop(0, 3))
    pipe.send(LaneJob(0, 3, endless))
    assert ends(pipe, 1)[0].what is None


def test_what_is_wrong_with_one_job_is_reported_of_that_one(pipe: Connection, data: ImageData):
    alone = execute(JOBS[1], TrainingData.of(data))
    pipe.send(LaneJob(0, 1, replace(JOBS[0], recipe=replace(RECIPE, batch_size=81))))
    pipe.send(LaneJob(1, 1, JOBS[1]))
    pipe.send(LaneJob(2, 1, replace(JOBS[2], device="cuda:99")))

    found = ends(pipe, 3)

    message = "recipe: batch_size is 81, but there are only 80 images to train on"
    assert found[0].what == Fault(Status.CRASHED, message)
    assert_same(found[1].what, alone)
    assert isinstance(found[2].what, Fault)
    assert found[2].what.message.startswith("cuda:99 was asked for")


def test_a_fault_that_takes_the_gpu_with_it_ends_the_process(
    pipe: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ended = threading.Event()
    codes: list[int] = []

    def fails(*arguments: object, **named: object) -> Result:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(lanes, "execute", fails)
    monkeypatch.setattr(os, "_exit", end)
    pipe.send(LaneJob(0, 1, JOBS[0]))
    assert isinstance(ends(pipe, 1)[0].what, Fault)
    assert not ended.wait(0.2)

    monkeypatch.setattr(lanes, "_is_device_lost", lambda: True)
    pipe.send(LaneJob(1, 1, JOBS[0]))

    # The fault is told before the process ends.
    assert isinstance(ends(pipe, 1)[1].what, Fault)
    assert ended.wait(60)
    assert codes == [lanes.DEVICE_LOST]
    assert "illegal memory access" in capsys.readouterr().err


def test_data_that_are_gone_are_reported_and_looked_for_again(
    pipe: Connection, data: ImageData, monkeypatch: pytest.MonkeyPatch
):
    def gone(*arguments: object, **named: object) -> ImageData:
        raise DataError("the data folder does not exist")

    monkeypatch.setattr(lanes, "load", gone)
    pipe.send(LaneJob(0, 1, JOBS[1]))
    assert isinstance(ends(pipe, 1)[0].what, DataError)

    monkeypatch.setattr(lanes, "load", lambda *arguments, **named: data)
    pipe.send(LaneJob(0, 2, JOBS[1]))
    assert isinstance(ends(pipe, 1)[0].what, Result)


@pytest.mark.parametrize("faults", [0, 1, 2])
def test_a_worker_of_one_lane_loads_the_data_before_it_has_a_job(
    faults: int, data: ImageData, monkeypatch: pytest.MonkeyPatch
):
    happened: list[str] = []
    attempts = iter([DataError("gone")] * faults)

    def load(*arguments: object, **named: object) -> ImageData:
        happened.append("load")
        if (fault := next(attempts, None)) is not None:
            raise fault
        return data

    class Coordinator:
        """Gives one job, hears how it ended, and goes away."""

        jobs = iter([LaneJob(0, 1, replace(JOBS[0], recipe=replace(RECIPE, epochs=1)))])

        def recv(self) -> LaneJob:
            happened.append("asked for a job")
            if (job := next(self.jobs, None)) is None:
                raise EOFError
            return job

        def send(self, report: Report) -> None:
            if not isinstance(report.what, Epoch):
                happened.append(type(report.what).__name__)

    monkeypatch.setattr(lanes, "load", load)
    lanes._one_by_one(Coordinator(), SOURCE)  # type: ignore[arg-type]  # it has what is asked of a pipe

    # What went wrong is said of the first job, before which it is tried again.
    again, end = (["load"] if faults else []), "DataError" if faults == 2 else "Result"
    assert happened == ["load", "asked for a job", *again, end, "asked for a job"]


def test_all_jobs_of_a_process_have_one_copy_of_the_images(data: ImageData):
    bench = TrainingData.of(data)
    device = torch.device("cpu")

    first, again = (run_module.images_of(job, bench, device)[0] for job in JOBS[:2])
    whole, none = run_module.images_of(replace(JOBS[0], purpose=Purpose.VERIFY), bench, device)

    assert first is again
    assert (len(first), len(whole), none) == (80, 100, None)
    assert whole.pixels.data_ptr() == data.train_images.data_ptr()


def lost(fault: BaseException) -> CaptureLost:
    """A capture that a fault of its step has broken off."""
    error = CaptureLost(str(fault))
    error.__cause__ = fault
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), (Status.OUT_OF_MEMORY, "out of memory")),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes\nmore"
            ),
            (
                Status.OUT_OF_MEMORY,
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes",
            ),
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), (Status.OUT_OF_MEMORY, "CUDA out of memory. Tried")),
        (
            lost(torch.OutOfMemoryError("CUDA out of memory. Tried")),
            (Status.OUT_OF_MEMORY, "CUDA out of memory. Tried"),
        ),
        (lost(RuntimeError("no such kernel")), (Status.CRASHED, "CaptureLost: no such kernel")),
        (ContentError("no batch"), (Status.CRASHED, "no batch")),
        (ZeroDivisionError("by zero"), (Status.CRASHED, "ZeroDivisionError: by zero")),
    ],
    ids=[
        "python",
        "torch on a CPU",
        "torch on a GPU",
        "amid a capture",
        "a capture",
        "a job that is wrong",
        "a fault of ours",
    ],
)
def test_a_fault_in_a_run_is_typed(error: Exception, expected: tuple[Status, str], capsys: pytest.CaptureFixture[str]):
    assert lanes._fault(error) == Fault(*expected)
    # Only a fault of ours is told with its type, which the log of the search shows.
    kind, _, said = expected[1].partition(": ")
    assert (f"{kind}: {said}" in capsys.readouterr().err) is (kind == type(error).__name__)


@pytest.mark.parametrize(
    "error",
    [
        StorageError("cannot write x: No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "x"),
        lost(OSError(errno.EDQUOT, "Disk quota exceeded")),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_storage_that_fails_is_no_outcome_of_a_run(error: Exception):
    assert isinstance(lanes._fault(error), StorageError)


def test_real_memory_that_torch_refuses_on_a_cpu_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert refused_memory(caught.value) == str(caught.value).splitlines()[0]
    assert refused_memory(RuntimeError("shapes do not match")) is None


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("unread", [True, False])
def test_a_process_whose_coordinator_was_killed_ends_without_a_word(
    count: int, unread: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lanes, "die_with", lambda parent: None)
    ours, theirs = Pipe()
    if unread:
        theirs.send("what the coordinator has not read yet")
    ours.close()

    lanes.serve(theirs, SOURCE, count, 0)
