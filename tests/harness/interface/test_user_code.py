"""User-defined samplers, trainers and listeners: import from the current folder, and failures in one line."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as functional

from harness.searching.external_method import TriedNetwork, method_of
from harness.searching.finder import Inquiry
from harness.searching.optuna_sampler import SamplerStudy
from harness.searching.samplers import check_sampler, seeds_of
from harness.searching.time_budget import Pace, TimeLeft
from harness.spaces.catalog import space
from harness.spaces.notation import parse_network, parse_space
from harness.studies.events import Confirmed, Proposal
from harness.system.errors import ContentError, DeviceError, UsageError
from harness.system.machine import sigint_blocked
from harness.system.user_code import Listener, OtherCode, function_of, guarding_user_code, source_sha256
from harness.training.executors import processes
from harness.training.executors.base import DataLocation, JobFailed
from harness.training.native.engine import choose_engine
from harness.training.recipe import Recipe, named_recipe
from harness.training.result import Purpose, Status
from harness.training.run import Job, TrainingData, execute, train_job
from harness.training.torch_network import Images
from harness.training.training_loop import start
from tests import searches
from tests.factories import make_data
from tests.fakes import without_processes

CODE = """
import time, optuna, torch

def uniform(seed):
    return optuna.samplers.RandomSampler(seed=seed)

def raising(seed):
    raise RuntimeError("no luck\\ntoday")

def no_sampler(seed):
    return "tpe"

def narrower(problem):
    return lambda tried: f"conv3x3({8 - len(tried)}) gap linear(10)" if len(tried) < 3 else 7

def judging(problem):
    networks = iter(range(1, 10))
    ask = lambda tried: f"conv3x3({next(networks)}) gap linear(10)"
    return ask, lambda rung: rung.epoch == problem.rungs[0] and rung.network.startswith("conv3x3(1)")

def undecided(problem):
    return judging(problem)[0], lambda rung: None

def listing(problem):
    channels = iter([9, 5, 9, *[6, 7, 8] * 50, 4])
    return lambda tried: f"conv3x3({next(channels, 3)}) gap linear(10)"

def steps(architecture, module, data, seed, epochs, report):
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for epoch in range(epochs):
        pictures, labels = data[torch.randperm(len(data))[:16]]
        loss = torch.nn.functional.cross_entropy(module(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(loss)

def early(architecture, module, data, seed, epochs, report):
    report(1.0)

def words(architecture, module, data, seed, epochs, report):
    report("a lot")

def grown(architecture, module, data, seed, epochs, report):
    module.forward = None  # only the weights count, so the first epoch is evaluated
    report(1.0)
    module.extra = torch.nn.Parameter(torch.zeros(9))
    report(1.0)

def leaves(architecture, module, data, seed, epochs, report):
    raise SystemExit(3)

def stopped(architecture, module, data, seed, epochs, report):
    raise KeyboardInterrupt

constant = 7

def infinite(architecture, module, data, seed, epochs, report):
    while True:
        report(float("inf"))
"""
NETWORK = parse_network("conv3x3(4) bn relu | gap | linear(10)")


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with ``CODE`` in the current folder."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def training_data() -> TrainingData:
    return TrainingData(make_data())


def job(trainer: str, **changes: object) -> Job:
    recipe = Recipe(epochs=3, trainer=trainer)
    plain = Job(architecture=NETWORK, recipe=recipe, recipe_name=trainer, purpose=Purpose.SEARCH, seed_index=0)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_user_sampler_proposes_as_equal_built_in_sampler(module: str) -> None:
    user_study, built_in = SamplerStudy(f"{module}:uniform", seeds_of(5)), SamplerStudy("random", seeds_of(5))
    tiny = space("tiny")
    for _ in range(10):
        assert user_study.ask(tiny)[1] == built_in.ask(tiny)[1]


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("raising", ContentError, "RuntimeError: no luck today"),
        ("no_sampler", ContentError, "str"),
        ("none", UsageError, "none"),
        ("constant", UsageError, "int is not callable"),
    ],
)
def test_invalid_sampler_is_refused_in_one_line(module: str, function: str, error: type[Exception], message: str):
    with pytest.raises(error, match=message) as caught:
        check_sampler(f"{module}:{function}")
    assert "\n" not in str(caught.value)


def test_user_method_chooses_each_network(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 98.0
    config = searches.config(sampler=f"{module}:narrower", space_text="net = conv3x3(1..9) gap linear(10);")
    for trials in (1, 3):  # the second session continues the study
        search = searches.run(tmp_path / "study", config, searches.effort(trials=trials))
    networks = [str(each.proposal.architecture) for each in search.state.candidates.values()]
    assert networks == [f"conv3x3({width}) gap linear(10)" for width in (8, 7, 6)]
    with pytest.raises(ContentError, match=r"narrower failed: TypeError: .* got int") as caught:
        searches.run(tmp_path / "study", config, searches.effort(trials=4))
    assert "\n" not in str(caught.value)


def test_user_method_prunes_at_rungs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = next(tmp_path.glob("*.py")).stem
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 50.0
    config = searches.config(sampler=f"{module}:judging", space_text="net = conv3x3(1..9) gap linear(10);")
    search = searches.run(tmp_path / "study", config, searches.effort(trials=3))
    # The rule of the search would stop all three trainings, which are far below the target.
    first_runs = [candidate.first_run for candidate in search.state.candidates.values()]
    assert [first.status for first in first_runs if first] == [Status.PRUNED, Status.COMPLETE, Status.COMPLETE]
    config = replace(config, sampler=f"{module}:undecided")
    with pytest.raises(ContentError, match=r"undecided failed: TypeError: .* got NoneType"):
        searches.run(tmp_path / "another", config, searches.effort(trials=3))


def test_user_method_keeps_lengths_limit_and_time(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 99.5 if parameters < 200 else 98.0
    config = searches.config(
        sampler=f"{module}:listing", space_text="net = conv3x3(1..9) gap linear(10);", lengths=(2, 4)
    )
    search = searches.run(tmp_path / "study", config, searches.effort(trials=4))
    proposals = [(str(each.proposal.architecture), each.proposal.epochs) for each in search.state.candidates.values()]
    # The network with 5 channels (105 parameters) is confirmed, so 150 larger answers are skipped.
    assert proposals == [(f"conv3x3({channels}) gap linear(10)", 4) for channels in (9, 5, 4, 3)]
    # The time left limits the length of a training; if too little is left, nothing is proposed.
    asker = method_of(config, parse_space(config.space_text), 1)
    assert asker is not None
    time_left = TimeLeft(5_000, Pace(1e-3, 0.0), longest_training=12.0)  # an epoch takes 5 of 12 seconds
    assert asker.propose(Inquiry(1000, {}, time_left)).proposal.epochs == 2  # type: ignore[union-attr]
    without_time = asker.propose(Inquiry(1000, {}, replace(time_left, longest_training=1.0)))
    assert (without_time.lacks_time, set(without_time.rejected_draws)) == (True, {"time"})
    # A network that missed the target on the test images cannot be the answer.
    confirmed = {trial for trial, each in search.state.candidates.items() if each.is_confirmed}
    tried_lists: list[Sequence[TriedNetwork]] = []
    asker.ask = lambda tried: tried_lists.append(tried) or "conv3x3(1) gap linear(10)"  # type: ignore[func-returns-value]
    for missed in (set[int](), confirmed):
        asker.propose(Inquiry(1000, search.state.candidates, time_left, missed_trials=missed))
    assert [sum(each.is_confirmed for each in tried) for tried in tried_lists] == [len(confirmed), 0]


def test_optuna_sampler_keeps_lengths_and_limit(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 99.5
    config = searches.config(
        sampler=f"{module}:uniform", space_text="net = conv3x3(1..9) gap linear(10);", lengths=(2,)
    )
    search = searches.run(tmp_path / "study", config, searches.effort(trials=6))
    assert {each.proposal.epochs for each in search.state.candidates.values()} == {2}
    limit, confirmations = search.config.budget, 0
    for entry in search.state.entries:
        if isinstance(entry.event, Proposal):
            assert entry.event.parameters <= limit
        elif isinstance(entry.event, Confirmed) and entry.event.budget is not None:
            limit, confirmations = entry.event.budget, confirmations + 1
    assert confirmations


def test_user_trainer_equals_training_by_hand_and_continues_from_checkpoint(
    module: str, training_data: TrainingData, tmp_path: Path
) -> None:
    result, run = train_job(job(f"{module}:steps"), training_data)
    assert (result.status, len(result.history), result.validation_size) == (Status.COMPLETE, 3, 20)
    # The training by hand starts with the initial weights of this seed.
    parts = training_data.parts(torch.device("cpu"), 0)[0]
    network = start(NETWORK, job("").recipe, result.seed, torch.device("cpu"), task=parts.task).network.train()
    torch.manual_seed(result.seed)
    for _ in range(3):
        indices = torch.randperm(80)[:16]
        images = (parts.pixels[indices].float() / 255 - parts.mean[0]) / parts.deviation[0]
        loss = functional.cross_entropy(network(images), parts.labels[indices])
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
    for expected, outcome in zip(network.state_dict().values(), run.network.state_dict().values(), strict=True):
        torch.testing.assert_close(expected, outcome, rtol=1e-5, atol=1e-6)
    checkpoint = tmp_path / "kept.pt"
    for until, status in ((1, Status.RUNNING), (2, Status.RUNNING), (3, Status.COMPLETE)):
        part = execute(job(f"{module}:steps", until_epoch=until, checkpoint=checkpoint), training_data)
        assert (part.status, len(part.history)) == (status, until)
    assert part.weights_sha256 == result.weights_sha256


@pytest.mark.parametrize(("function", "message"), [("early", "1 of 3 epochs"), ("words", "a lot"), ("grown", "extra")])
def test_failed_trainer_is_reported_in_one_line(module: str, training_data: TrainingData, function: str, message: str):
    with pytest.raises(ContentError, match=message):
        execute(job(f"{module}:{function}"), training_data)


@pytest.mark.parametrize(("function", "message"), [("leaves", "SystemExit: 3"), ("stopped", "KeyboardInterrupt")])
def test_trainer_that_exits_is_a_crashed_run(
    module: str, training_data: TrainingData, function: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_data", lambda source: training_data)
    with sigint_blocked():  # as in every worker
        event = processes.train(job(f"{module}:{function}"), DataLocation("toy", None), 1e6)
    assert isinstance(event, JobFailed)
    assert (event.status, event.error_type) == (Status.CRASHED, ContentError)
    # The message names file and line of the trainer.
    assert re.fullmatch(rf"trainer {module}:{function} failed: {module}\.py:\d+: {message}", event.message)


def test_keyboard_interrupt_in_user_code_is_not_a_failure(module: str, training_data: TrainingData) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(job(f"{module}:stopped"), training_data)


def sha256sum(*names: str) -> str:
    """Return the hash by ``sha256sum NAME``, or by ``sha256sum NAMES | sha256sum`` for several files."""
    lines = subprocess.run(["sha256sum", *names], capture_output=True, check=True).stdout
    if len(names) > 1:
        lines = subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout
    return lines.decode().split()[0]


def test_source_hash_covers_module_and_imports_from_same_folder(tmp_path: Path) -> None:
    module, package = f"held_{id(tmp_path)}", f"pack_{id(tmp_path)}"
    (tmp_path / package).mkdir()
    for name, text in {
        f"{module}.py": f"import optuna, harness.cli, spread.part\nfrom {package} import deep\ndef train(*given): ...",
        f"{package}/__init__.py": "",
        f"{package}/deep.py": "from . import deeper",
        f"{package}/deeper.py": "def train(*given): ...",
        f"{package}/unused.py": "",
    }.items():
        (tmp_path / name).write_text(text)
    # A folder without ``__init__.py``, and a folder with the name of an installed package.
    for name in ("spread/part.py", "optuna/notes.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    package_files = [f"{package}/__init__.py", f"{package}/deep.py", f"{package}/deeper.py"]
    assert source_sha256(f"{package}.deeper:train", "it") == sha256sum(package_files[0], package_files[2])
    original = source_sha256(f"{module}:train", "it")
    assert original == sha256sum(f"{module}.py", *package_files, "spread/part.py")
    (tmp_path / package_files[2]).write_text("def train(*given): 'edited'")
    # The imported code is older than the file.
    with pytest.raises(UsageError, match="changed since the import"):
        source_sha256(f"{module}:train", "it")
    assert callable(function_of(f"{module}:train", "it", original))
    with pytest.raises(OtherCode, match=f"{original[:12]}.*{'0' * 12}"):
        function_of(f"{module}:train", "it", "0" * 64)
    with pytest.raises(UsageError, match="no file"):
        source_sha256("time:sleep", "it")
    with pytest.raises(UsageError, match=r"^it time.py:sleep is not MODULE:FUNCTION"):
        source_sha256("time.py:sleep", "it")


def test_trainer_is_identified_by_source_hash(
    module: str, training_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = sha256sum(f"{module}.py")
    (tmp_path / "mine.toml").write_text(f"trainer = '{module}:steps'\nepochs = 1")
    recipe = named_recipe(f"@{tmp_path}/mine.toml").recipe
    assert recipe.trainer_sha256 == code
    environment = execute(job("", recipe=recipe), training_data).environment
    assert environment is not None
    assert environment.engine == f"torch {module}:steps {code[:12]}"
    # Different code ends the search, because the network is not at fault.
    monkeypatch.setattr(processes, "_data", lambda source: training_data)
    with pytest.raises(OtherCode, match=f"trainer {module}:steps.*{code[:12]}"):
        processes.train(job("", recipe=replace(recipe, trainer_sha256="0" * 64)), DataLocation("toy", None), 1e6)
    # Recipes of earlier versions have no hash and accept any code.
    assert execute(job("", recipe=replace(recipe, trainer_sha256="")), training_data).status is Status.COMPLETE
    with pytest.raises(DeviceError, match=f"{module}:steps"):
        choose_engine("native", recipe, torch.device("cpu"))


@pytest.mark.parametrize("seconds", [0.2, 1.0])
def test_alarm_of_caller_is_kept(seconds: float) -> None:
    ring_times: list[float] = []

    def ring(number: int, frame: object) -> None:
        ring_times.append(time.monotonic())

    handler, begin = signal.signal(signal.SIGALRM, ring), time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(ContentError, match=f"within {seconds:g} s$"), guarding_user_code("it", seconds):
            time.sleep(3)
        assert signal.getsignal(signal.SIGALRM) is ring
        while time.monotonic() < begin + 2 and not ring_times:
            time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert ring_times[0] - begin == pytest.approx(max(0.5, seconds), abs=0.3)


def test_trainer_with_infinite_loss_has_diverged(module: str, training_data: TrainingData) -> None:
    assert execute(job(f"{module}:infinite"), training_data).status is Status.DIVERGED


def test_images_by_index_are_normalised(training_data: TrainingData) -> None:
    images: Images = training_data.parts(torch.device("cpu"), 0)[0]
    image, label = images[3]
    batch, labels = images[torch.tensor([3, 4])]
    assert (image.shape, label) == ((1, 28, 28), images.labels[3])
    expected = (images.pixels[3:5].double() / 255 - images.mean[0]) / images.deviation[0]
    torch.testing.assert_close(batch.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(batch[0], image)
    assert torch.equal(labels, images.labels[3:5])


def test_time_limit_ends_code_that_catches_exceptions() -> None:
    def retry() -> None:
        for _ in range(3):
            with suppress(Exception):  # as a client of a server that tries again
                time.sleep(0.5)

    with pytest.raises(ContentError, match=r"no return within 0\.2 s$"), guarding_user_code("user code", 0.2):
        retry()


def test_listener_gets_all_events_in_order_and_does_not_block_the_search() -> None:
    events: list[object] = []
    messages: list[str] = []
    working = Listener("append", events.append, messages.append, lambda: events.append("end"))
    forever = threading.Event()
    hanging = Listener("waits", lambda event: forever.wait(), messages.append)

    def fails(event: object) -> None:
        raise SystemExit("no\nmore")

    failing = Listener("fails", fails, messages.append, lambda: events.append("not after a failure"))
    for event in range(100):
        for listener in (working, hanging, failing):
            listener.on_entry(None, SimpleNamespace(event=event))
    working.close()
    failing.close()
    hanging.close(seconds=0.1)
    forever.set()
    assert events == [*range(100), "end"]
    assert ["fails" in line and "no more" in line for line in messages] == [True, False]
