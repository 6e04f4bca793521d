"""A person's own sampler, trainer and listeners: they work from the current folder, and their failures are one line."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional

from harness.interface.logs import logger_of
from harness.searching.external_method import TriedNetwork, method_of
from harness.searching.finder import Inquiry
from harness.searching.optuna_sampler import SamplerStudy, sampler_name
from harness.searching.time_budget import Pace, TimeLeft
from harness.studies.events import Confirmed, Proposal, RunEnded, Verified
from harness.system.errors import ContentError, DeviceError, UsageError
from harness.system.machine import sigint_blocked
from harness.system.user_code import Listener, OtherCode, function_of, guarding_user_code, source_sha256
from harness.training.executors import processes
from harness.training.executors.base import Broken, DataLocation
from harness.training.native.engine import choose_engine
from harness.training.recipe import Recipe, named_recipe
from harness.training.result import Purpose, Status
from harness.training.run import Job, TrainingData, execute, train_job
from harness.training.torch_network import Images
from harness.training.training_loop import start
from search_spaces.catalog import space
from search_spaces.notation import parse_network, parse_space
from tests import searches
from tests.factories import make_data, make_job_result, make_proposal
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
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the current folder."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def loaded() -> TrainingData:
    return TrainingData(make_data())


def job(trainer: str, **changes: object) -> Job:
    plain = Job(
        architecture=NETWORK,
        recipe=Recipe(epochs=3, trainer=trainer),
        recipe_name=trainer,
        purpose=Purpose.SEARCH,
        seed_index=0,
        device="cpu",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_sampler_of_ones_own_proposes_as_the_same_sampler_of_the_harness(there: str) -> None:
    own, known = SamplerStudy(sampler_name(f"{there}:uniform"), 5), SamplerStudy("random", 5)
    tiny = space("tiny")
    for _ in range(10):
        assert own.ask(tiny)[1] == known.ask(tiny)[1]


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        ("raising", ContentError, "RuntimeError: no luck today"),
        ("no_sampler", ContentError, "str"),
        ("none", UsageError, "none"),
        ("constant", UsageError, "int is not callable"),
    ],
)
def test_a_sampler_that_is_none_is_one_line(there: str, function: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        sampler_name(f"{there}:{function}")
    assert "\n" not in str(raised.value)


def test_a_method_of_the_bench_says_alone_which_network_is_next(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 98.0
    configured = searches.config(
        sampler=sampler_name(f"{there}:narrower"), space_text="net = conv3x3(1..9) gap linear(10);"
    )
    for trials in (1, 3):  # it goes on from what was tried
        search = searches.run(tmp_path / "study", configured, searches.effort(trials=trials))
    proposed = [str(each.proposal.architecture) for each in search.state.candidates.values()]
    assert proposed == [f"conv3x3({width}) gap linear(10)" for width in (8, 7, 6)]
    with pytest.raises(ContentError, match=r"narrower failed: TypeError: .* got int") as raised:
        searches.run(tmp_path / "study", configured, searches.effort(trials=4))
    assert "\n" not in str(raised.value)


def test_a_method_of_the_bench_may_judge_the_rungs_of_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = next(tmp_path.glob("*.py")).stem
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 50.0
    configured = searches.config(sampler=f"{module}:judging", space_text="net = conv3x3(1..9) gap linear(10);")
    search = searches.run(tmp_path / "study", configured, searches.effort(trials=3))
    # The rule of a search would stop all of them, which are far below the target.
    firsts = [candidate.first for candidate in search.state.candidates.values()]
    assert [first.status for first in firsts if first] == [Status.PRUNED, Status.COMPLETE, Status.COMPLETE]
    configured = replace(configured, sampler=f"{module}:undecided")
    with pytest.raises(ContentError, match=r"undecided failed: TypeError: .* got NoneType"):
        searches.run(tmp_path / "another", configured, searches.effort(trials=3))


def test_a_method_is_held_to_lengths_the_falling_limit_and_the_time(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 99.5 if parameters < 200 else 98.0
    configured = searches.config(
        sampler=f"{there}:listing", space_text="net = conv3x3(1..9) gap linear(10);", lengths=(2, 4)
    )
    search = searches.run(tmp_path / "study", configured, searches.effort(trials=4))
    proposed = [(str(each.proposal.architecture), each.proposal.epochs) for each in search.state.candidates.values()]
    # With 5 channels, 105 parameters, it stands: 150 answers of more are passed over.
    assert proposed == [(f"conv3x3({channels}) gap linear(10)", 4) for channels in (9, 5, 4, 3)]
    # What takes too long is not trained: as long a training as there is time for, or none.
    asker = method_of(configured, parse_space(configured.space_text), 1)
    assert asker is not None
    seconds = TimeLeft(5_000, Pace(1e-3, 0.0), seconds=12.0)  # of which an epoch takes 5
    assert asker.propose(Inquiry(1000, {}, seconds)).proposal.epochs == 2  # type: ignore[union-attr]
    without_time = asker.propose(Inquiry(1000, {}, replace(seconds, seconds=1.0)))
    assert (without_time.lacks_time, set(without_time.rejected_draws)) == (True, {"time"})
    # A network that missed the target on the test images cannot be the answer.
    confirmed = {trial for trial, each in search.state.candidates.items() if each.is_confirmed}
    shown: list[Sequence[TriedNetwork]] = []
    asker.ask = lambda tried: shown.append(tried) or "conv3x3(1) gap linear(10)"  # type: ignore[func-returns-value]
    for missed in (set[int](), confirmed):
        asker.propose(Inquiry(1000, search.state.candidates, seconds, missed=missed))
    assert [sum(each.stands for each in tried) for tried in shown] == [len(confirmed), 0]


def test_a_sampler_of_optunas_is_held_to_lengths_and_the_limit(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_processes(monkeypatch).accuracy_pct = lambda parameters, seed: 99.5
    configured = searches.config(
        sampler=f"{there}:uniform", space_text="net = conv3x3(1..9) gap linear(10);", lengths=(2,)
    )
    search = searches.run(tmp_path / "study", configured, searches.effort(trials=6))
    assert {each.proposal.epochs for each in search.state.candidates.values()} == {2}
    limit, stood = search.config.budget, 0
    for entry in search.state.entries:
        if isinstance(entry.event, Proposal):
            assert entry.event.parameters <= limit
        elif isinstance(entry.event, Confirmed) and entry.event.budget is not None:
            limit, stood = entry.event.budget, stood + 1
    assert stood


def test_a_trainer_trains_as_the_same_steps_by_hand_and_in_stretches_as_in_one(
    there: str, loaded: TrainingData, tmp_path: Path
) -> None:
    whole, run = train_job(job(f"{there}:steps"), loaded)
    assert (whole.status, len(whole.history), whole.validation_size) == (Status.COMPLETE, 3, 20)
    # By hand: from the first weights of any training with this seed.
    parts = loaded.parts(torch.device("cpu"), 0)[0]
    by_hand = start(NETWORK, job("").recipe, whole.seed, torch.device("cpu"), task=parts.task).network.train()
    torch.manual_seed(whole.seed)
    for _ in range(3):
        chosen = torch.randperm(80)[:16]
        pictures = (parts.pixels[chosen].float() / 255 - parts.mean[0]) / parts.deviation[0]
        loss = functional.cross_entropy(by_hand(pictures), parts.labels[chosen])
        by_hand.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in by_hand.parameters():
                assert parameter.grad is not None
                parameter.sub_(0.1 * parameter.grad)
    for ours, theirs in zip(by_hand.state_dict().values(), run.network.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    kept = tmp_path / "kept.pt"
    for until, status in ((1, Status.RUNNING), (2, Status.RUNNING), (3, Status.COMPLETE)):
        part = execute(job(f"{there}:steps", until_epoch=until, checkpoint=kept), loaded)
        assert (part.status, len(part.history)) == (status, until)
    assert part.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize(("function", "said"), [("early", "1 of 3 epochs"), ("words", "a lot")])
def test_a_trainer_that_fails_is_one_line(there: str, loaded: TrainingData, function: str, said: str) -> None:
    with pytest.raises(ContentError, match=said):
        execute(job(f"{there}:{function}"), loaded)


@pytest.mark.parametrize(("function", "told"), [("leaves", "SystemExit: 3"), ("stopped", "KeyboardInterrupt")])
def test_a_trainer_that_leaves_its_worker_is_a_crashed_run(
    there: str, loaded: TrainingData, function: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_data", lambda source: loaded)
    with sigint_blocked():  # as in every worker
        event = processes.train(job(f"{there}:{function}"), DataLocation("toy", None), 1e6)
    assert isinstance(event, Broken)
    assert event.status is Status.CRASHED
    # The message names file and line of the trainer.
    assert re.fullmatch(rf"trainer {there}:{function} failed: {there}\.py:\d+: {told}", event.message)


def test_ctrl_c_in_ones_own_code_is_no_failure_of_it(there: str, loaded: TrainingData) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(job(f"{there}:stopped"), loaded)


def sha256sum(*names: str) -> str:
    """What ``sha256sum NAMES``, and of several ``sha256sum NAMES | sha256sum``, prints in the current folder."""
    lines = subprocess.run(["sha256sum", *names], capture_output=True, check=True).stdout
    if len(names) > 1:
        lines = subprocess.run(["sha256sum"], input=lines, capture_output=True, check=True).stdout
    return lines.decode().split()[0]


def test_the_source_is_a_module_and_what_it_imports_beside_it(tmp_path: Path) -> None:
    mine, package = f"held_{id(tmp_path)}", f"pack_{id(tmp_path)}"
    (tmp_path / package).mkdir()
    for name, text in {
        f"{mine}.py": f"import optuna, harness.cli, spread.part\nfrom {package} import deep\ndef train(*given): ...",
        f"{package}/__init__.py": "",
        f"{package}/deep.py": "from . import deeper",
        f"{package}/deeper.py": "def train(*given): ...",
        f"{package}/unused.py": "",
    }.items():
        (tmp_path / name).write_text(text)
    # Without an __init__.py, and with a name that an installed package has.
    for name in ("spread/part.py", "optuna/notes.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    inner = [f"{package}/__init__.py", f"{package}/deep.py", f"{package}/deeper.py"]
    assert source_sha256(f"{package}.deeper:train", "it") == sha256sum(inner[0], inner[2])
    before = source_sha256(f"{mine}:train", "it")
    assert before == sha256sum(f"{mine}.py", *inner, "spread/part.py")
    (tmp_path / inner[2]).write_text("def train(*given): 'edited'")
    # What is in memory is the code of before.
    with pytest.raises(UsageError, match="changed since the import"):
        source_sha256(f"{mine}:train", "it")
    assert callable(function_of(f"{mine}:train", "it", before))
    with pytest.raises(OtherCode, match=f"{before[:12]}.*{'0' * 12}"):
        function_of(f"{mine}:train", "it", "0" * 64)
    with pytest.raises(UsageError, match="no file"):
        source_sha256("time:sleep", "it")


def test_a_trainer_is_known_by_its_source(
    there: str, loaded: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = sha256sum(f"{there}.py")
    (tmp_path / "mine.toml").write_text(f"trainer = '{there}:steps'\nepochs = 1")
    recipe = named_recipe(f"@{tmp_path}/mine.toml").recipe
    assert recipe.trainer_sha256 == code
    made = execute(job("", recipe=recipe), loaded).environment
    assert made is not None
    assert made.engine == f"torch {there}:steps {code[:12]}"
    # It ends a search, as no fault of the network.
    monkeypatch.setattr(processes, "_data", lambda source: loaded)
    with pytest.raises(OtherCode, match=f"trainer {there}:steps.*{code[:12]}"):
        processes.train(job("", recipe=replace(recipe, trainer_sha256="0" * 64)), DataLocation("toy", None), 1e6)
    # Records of before are read, and get no seed of code that may be other.
    assert execute(job("", recipe=replace(recipe, trainer_sha256="")), loaded).status is Status.COMPLETE
    with pytest.raises(DeviceError, match=f"{there}:steps"):
        choose_engine("native", recipe, torch.device("cpu"))


@pytest.mark.parametrize("seconds", [0.2, 1.0])
def test_an_alarm_of_the_caller_is_not_lost(seconds: float) -> None:
    rung: list[float] = []

    def ring(number: int, frame: object) -> None:
        rung.append(time.monotonic())

    handler, began = signal.signal(signal.SIGALRM, ring), time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(ContentError, match=f"within {seconds:g} seconds"), guarding_user_code("it", seconds):
            time.sleep(3)
        assert signal.getsignal(signal.SIGALRM) is ring
        while time.monotonic() < began + 2 and not rung:
            time.sleep(0.01)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert rung[0] - began == pytest.approx(max(0.5, seconds), abs=0.3)


def test_a_trainer_whose_loss_is_not_finite_has_diverged(there: str, loaded: TrainingData) -> None:
    assert execute(job(f"{there}:infinite"), loaded).status is Status.DIVERGED


def test_pictures_by_index_are_as_a_network_takes_them(loaded: TrainingData) -> None:
    images: Images = loaded.parts(torch.device("cpu"), 0)[0]
    one, label = images[3]
    some, labels = images[torch.tensor([3, 4])]
    assert (one.shape, label) == ((1, 28, 28), images.labels[3])
    expected = (images.pixels[3:5].double() / 255 - images.mean[0]) / images.deviation[0]
    torch.testing.assert_close(some.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(some[0], one)
    assert torch.equal(labels, images.labels[3:5])


def test_a_listener_hears_all_in_order_and_stops_nobody() -> None:
    heard: list[object] = []
    said: list[str] = []
    hears = Listener(heard.append, said.append)
    forever = threading.Event()
    hangs = Listener(lambda event: forever.wait(), said.append)

    def fails(event: object) -> None:
        raise SystemExit("no\nmore")

    raises = Listener(fails, said.append)
    for event in range(100):
        for each in (hears, hangs, raises):
            each.tell(event)
    hears.close()
    raises.close()
    hangs.close(seconds=0.1)
    forever.set()
    assert heard == list(range(100))
    assert ["fails" in line and "no more" in line for line in said] == [True, False]


def ended(trial: int, purpose: Purpose = Purpose.SEARCH, seed_index: int = 0) -> RunEnded:
    first = searches.first_job(make_proposal(trial, _NETWORKS[trial]))
    job = replace(first, purpose=purpose, seed_index=seed_index)
    return RunEnded(run=make_job_result(job, lambda parameters, seed: 99.25, 8))


_NETWORKS = [f"conv3x3({channels}) relu gap linear(10)" for channels in (4, 3, 2)]
_PROPOSED = [make_proposal(trial, network) for trial, network in enumerate(_NETWORKS)]
_LOGGED = [
    *map(ended, range(3)),
    *(ended(2, Purpose.CONFIRM, seed_index) for seed_index in (0, 1)),
    Verified(hash=_PROPOSED[2].hash, mean_test_accuracy_pct=99.5),
    Verified(hash="of no trial", mean_test_accuracy_pct=99.5),
]
# Each curve by the steps that have a value, in order: a trial has one value of a curve.
_CURVES = {
    "parameters": [0, 1, 2],
    "validation_pct": [0, 1, 2],
    "fresh_validation_pct/seed_0": [2],
    "fresh_validation_pct/seed_1": [2],
    "test_pct": [2],
}


def test_tensorboard_reads_what_a_search_logs(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = logger_of("tensorboard", tmp_path, past=_PROPOSED)
    for event in _LOGGED:
        log(event)
    log.close()
    read = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert {name: [at.step for at in read.Scalars(name)] for name in read.Tags()["scalars"]} == _CURVES
    assert read.Scalars("test_pct")[0].value == pytest.approx(99.5)


def test_mlflow_has_a_run_a_trial_and_what_the_caller_has_open_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(str(tmp_path / "runs"))
    mlflow.set_experiment("of the caller")
    with mlflow.start_run() as theirs:
        for _session in range(2):
            log = logger_of("mlflow", tmp_path / "study", past=_PROPOSED)
            for event in _LOGGED:
                log(event)
            log.close()
        assert mlflow.active_run().info.run_id == theirs.info.run_id
    with mlflow.start_run() as later:
        assert later.info.experiment_id == theirs.info.experiment_id
    experiment = mlflow.get_experiment_by_name("study").experiment_id
    client = mlflow.MlflowClient()
    runs = [run for run in client.search_runs([experiment]) if run.info.run_name == "trial 2"]
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        steps = {name: [point.step for point in client.get_metric_history(run.info.run_id, name)] for name in _CURVES}
        assert steps == {name: [2] for name in _CURVES}
