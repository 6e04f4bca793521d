"""``harness search`` from the command line: rejected options, plans, and searches with simulated trainings."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.commands.search import _plan_facts
from harness.evidence.leaderboard_table import LeaderboardRow, Verification
from harness.interface import api, session
from harness.pages import study_page
from harness.pages.study_facts import read_study
from harness.searching import conclude
from harness.studies import config as study
from harness.studies.events import Event
from harness.studies.log import read_state
from harness.system import user_code
from harness.system.errors import DataError
from harness.system.files import Workspace
from harness.training.executors.base import JobFailed
from harness.training.result import Status
from tests import searches
from tests.factories import make_record
from tests.fakes import Trainer, without_processes

SEARCH = ("search", "--dataset", "mnist-5k", "--device", "cpu", "--workers", "1", "--space", "@few.space")
BASELINES = 4  # linear layers on three maps, and a few kernels
# With stride 2: 346 parameters, but the fewest multiply-adds.
SPACES = {
    "few": "net = conv3x3({4, 8, 12}) gap linear(10);",
    "macs": "net = <conv3x3({8, 12}) / conv3x3(16, stride=2)> bn relu gap linear(10)",
    "unused": "old = bn; net = conv3x3({4, 8}) gap linear(10)",
}


@pytest.fixture(autouse=True)
def trainer(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Return a trainer with 310 validation errors per network, 10 above the limit; reports are not written."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setattr(study_page, "write_report", lambda folder, home, state=None: folder / "report.html")
    for name, text in SPACES.items():
        (workspace / f"{name}.space").write_text(text, encoding="utf-8")
    fake = without_processes(monkeypatch)
    fake.accuracy_pct = lambda parameters, seed: 96.9
    return fake


def document_of(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 3) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def plan_of(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, Any]:
    program, *arguments = shlex.split(command)
    assert program == "harness"
    return document_of(capsys, *arguments, "--plan", code=0)


def test_study_from_python_logs_command_that_resumes_study(workspace: Path, capsys: pytest.CaptureFixture[str]):
    options: dict[str, Any] = {"space": "@few.space", "workers": 1, "device": "cpu", "trials": 1, "time": 200}
    events: list[Event] = []
    options |= {"minimise": ("macs", "parameters"), "limits": "macs<=1000000", "on_event": events.append}
    result = api.search("mnist-5k", **options)
    folder = workspace / "runs" / result.name
    assert events == [entry.event for entry in read_state(folder).entries]
    facts = plan_of(capsys, shlex.join(searches.events(folder, "session")[0]["command"]))
    assert (facts["exists"], facts["study"], facts["effort"]["seconds"]) == (True, result.name, 200.0)


def test_edited_trainer_begins_new_study_and_adds_no_seeds(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(workspace)
    command = (*SEARCH, "--trainer", "coded:train")
    plans = []
    for text in ("def train(*given): ...", "def train(*given): return"):
        (workspace / "coded.py").write_text(text)
        plans.append(document_of(capsys, *command, "--plan", code=0))
        (workspace / "coded.py").write_text("def train(*given): 'edited'")
        assert run([*command, "--plan"]) == 2  # this process has imported the previous code
        monkeypatch.delitem(sys.modules, "coded")  # as in a new process
        monkeypatch.delitem(user_code._IMPORTED_SHA256, "coded")
    assert len({plan["study"] for plan in plans}) == 2
    (workspace / "coded.toml").write_text(f"trainer = 'coded:train'\ntrainer_sha256 = '{'0' * 64}'")
    verify = ("verify", "conv3x3(4) gap linear(10)", "--recipe", "@coded.toml", "--dataset", "mnist-5k")
    assert run([*verify, "--target", "90"]) == 4
    assert not Workspace(workspace).ledger.exists()


# Rejected options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_unknown_space_is_reported_before_missing_data(dataset: str, capsys: pytest.CaptureFixture[str]):
    command = ("search", "--dataset", dataset, "--device", "cpu", "--data", "nowhere")

    assert document_of(capsys, *command, "--space", "crad", code=2)["error"]["hint"] == "did you mean 'card'?"
    assert run([*command]) == 5


@pytest.mark.parametrize("command", [SEARCH, ("verify", "conv3x3(4) | gap | linear(10)", "--dataset", "mnist-5k")])
@pytest.mark.parametrize("path", ["few.space", "/proc/x"])
def test_unwritable_workspace_is_rejected_before_training(
    command: tuple[str, ...], path: str, workspace: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(workspace / path))

    assert run([*command]) == run([*command, "--plan"]) == 2
    assert trainer.jobs == []


def test_changed_configuration_and_second_coordinator_are_rejected(workspace: Path):
    command = (*SEARCH, "--study", "mine", "--trials", "1")
    assert run([*command, "--target", "97"]) == 3

    assert run([*command, "--target", "96"]) == 4
    with study.locked_folder(workspace / "runs" / "mine"):
        assert run([*command, "--target", "97"]) == 2


def test_failed_start_removes_a_new_study_but_no_study_with_log(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.loggers.tensorboard._TensorBoard", lambda *_: [].pop())
    command = [*SEARCH, "--study", "failing"]
    Path("failing.py").write_text("def begin(problem):\n    raise ValueError\n", encoding="utf-8")

    for option, value, code in (("--sampler", "failing:begin", 4), ("--log", "tensorboard", 2)):
        exit_code = run([*command, option, value, "--storage", "sqlite:///studies.db"])
        assert (exit_code, [*workspace.glob("runs/failing")], Path("studies.db").exists()) == (code, [], False)
    assert (run(command), run([*command, "--log", "tensorboard"])) == (3, 2)
    assert (workspace / "runs" / "failing" / "log.jsonl").exists()


def test_repeated_limits_and_epochs_are_joined(capsys: pytest.CaptureFixture[str]):
    single = document_of(capsys, *SEARCH, "--limit", "macs<=90000,ram_bytes<=9000", "--epochs", "2,4", "--plan", code=0)
    words = ("--limit", "macs<=90000", "--limit", "ram_bytes<=9000", "--epochs", "2", "--epochs", "4")
    assert document_of(capsys, *SEARCH, *words, "--plan", code=0) == single


def test_missing_package_of_log_is_reported_before_study(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delitem(sys.modules, "harness.loggers.mlflow", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)

    assert run([*SEARCH, "--log", "mlflow", "--log", "tensorboard"]) == 6
    message, hint = capsys.readouterr().err.splitlines()
    assert message == "error: the log mlflow requires mlflow, which is not installed"
    assert hint.endswith("[logs]'")


def test_events_are_delivered_to_each_log(monkeypatch: pytest.MonkeyPatch):
    delivered: dict[str, list[Event]] = {"tensorboard": [], "mlflow": []}

    observer = session._observer

    def with_fake_loggers(name: str, purpose: str = "") -> Any:
        if name not in delivered:
            return observer(name, purpose)
        return lambda state, say, address: user_code.Listener(name, delivered[name].append, say)

    monkeypatch.setattr(session, "_observer", with_fake_loggers)

    assert run([*SEARCH, "--trials", "1", *("--log", "mlflow") * 2, "--log", "tensorboard"]) == 3
    assert delivered["mlflow"] == delivered["tensorboard"] != []


@pytest.mark.parametrize(
    "command", ["search --plan --space @few.space --engine torch", "data path", "data check", "leaderboard"]
)
def test_data_set_is_argument_or_option_but_not_both(command: str, capsys: pytest.CaptureFixture[str]):
    words = command.split()
    answers = [document_of(capsys, *words, *option, code=0) for option in (("mnist-5k",), ("--dataset", "mnist-5k"))]

    assert answers[0] == answers[1]
    assert run([*words, "mnist-5k", "--dataset", "mnist-5k"]) == 2


@pytest.mark.parametrize("command", ["search", "quote", "doctor"])
def test_missing_data_set_is_reported_as_file_or_folder(command: str, capsys: pytest.CaptureFixture[str]):
    for name in ("pictures", "pictures/"):
        assert "file or folder" in document_of(capsys, command, name, code=2)["error"]["message"]


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mysql+nodriver"])
def test_database_without_driver_is_refused_before_study_begins(
    scheme: str, workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    before = sorted(workspace.iterdir())

    error = document_of(capsys, *SEARCH, "--storage", f"{scheme}://ann:secret@host/name", code=2)["error"]

    assert "secret" not in error["message"]
    assert ("[postgres]" in str(error["hint"])) == (scheme == "postgresql+psycopg")
    assert sorted(workspace.iterdir()) == before


# Plans ----------------------------------------------------------------------------------------------------------


def test_plan_neither_trains_nor_writes_files(workspace: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(workspace.iterdir())
    command = (*SEARCH, "--plan", "--budget", "2000", "--storage", "postgresql://ann:secret@nowhere/name")
    document = document_of(capsys, *command, code=0)
    assert run([*command]) == 0
    text = capsys.readouterr().out

    assert sorted(workspace.iterdir()) == before
    assert f"{document['config']['threshold_pct']:.2f} % on validation images\nbudget   2,000 parameters" in text
    assert "secret" not in text
    assert document["storage"] == "postgresql://ann:***@nowhere/name"
    assert document["lengths"] == [5, 8, 12, 20, 30, 60, 120, 240]
    assert document["estimated_seconds_a_training"][0] > 0
    assert (document["origins"]["budget"], document["origins"]["seed"]) == ("commandline", "default")
    nodes = [{"name": "first"}, {"name": "second"}]
    assert _plan_facts(document | {"nodes": nodes}, "97 %")["effort"].endswith("; node first; node second")


def test_limit_of_parameters_is_budget_and_limit_of_objective_is_maximum(capsys: pytest.CaptureFixture[str]):
    command = (*SEARCH, "--space", "@macs.space", "--plan", "--minimise", "macs", "--limit")
    config = document_of(capsys, *command, "macs<=60000,parameters<=300", code=0)["config"]

    assert (config["budget"], config["most"]) == (300, 60_000)


def test_chip_sets_two_limits_that_plan_states(capsys: pytest.CaptureFixture[str]):
    arguments = ("search", "--dataset", "mnist-5k", "--minimise", "weight_bytes", "--chip", "ch32v003", "--plan")
    document = document_of(capsys, *arguments, code=0)
    assert run([*arguments]) == 0
    text = capsys.readouterr().out

    limits = ["weight_bytes <= 13228", "ram_bytes <= 440"]
    assert document["chip"] == limits
    assert all(limit in document["config"]["space_text"] for limit in limits)
    # Few networks of the usual space have feature maps that fit into the RAM.
    assert document["config"]["space"] == "minute"
    assert "weight_bytes <= 13228 and ram_bytes <= 440" in text


@pytest.mark.parametrize(("limit", "has_hint"), [("instructions_m0<=1000000", True), ("macs<=1000000", False)])
def test_limit_of_integer_metric_names_integer_recipe(limit: str, has_hint: bool, capsys: pytest.CaptureFixture[str]):
    assert run(["search", "--dataset", "mnist-5k", "--limit", limit, "--plan"]) == 0
    assert ("small-int8" in capsys.readouterr().err) == has_hint


OWN_CHIP = """
core = "rv32ec"
flash_bytes = 16_384
ram_bytes = 2_048
clock_hz = 48_000_000
"""


def test_user_defined_chip_has_limits_of_equal_known_chip(capsys: pytest.CaptureFixture[str]):
    Path("mine.toml").write_text(OWN_CHIP, encoding="utf-8")

    def limits(chip: str) -> Any:
        return document_of(capsys, "search", "--dataset", "mnist-5k", "--chip", chip, "--plan", code=0)["chip"]

    assert limits("@mine.toml") == limits("CH32V003")


@pytest.mark.parametrize(
    ("line", "replacement", "words"),
    [
        ("flash_bytes", "flash", "mine.toml: flash_bytes: Field required"),
        ("clock_hz", "volts = 3\nclock_hz", "mine.toml: volts is 3"),
        ("2_048", "'much'", "mine.toml: ram_bytes is 'much'"),
        ("2_048", "-1", "above 0"),
        ("rv32ec", "rv32", "unknown core 'rv32'"),
        ("=", "", "mine.toml is not TOML"),
        ("2_048", "1_500", "1,500 bytes has no room beside stack and image of 1,608 bytes"),  # 824 + 784
        ("2_048", "1_608", "1,608 bytes has no room beside stack and image of 1,608 bytes"),
        ("16_384", "3_155", "3,155 bytes has no room beside the program of 3,156 bytes"),
    ],
)
def test_user_defined_chip_with_invalid_fields_or_too_little_memory_is_rejected_in_one_line(
    line: str, replacement: str, words: str, capsys: pytest.CaptureFixture[str]
):
    Path("mine.toml").write_text(OWN_CHIP.replace(line, replacement), encoding="utf-8")

    error = document_of(capsys, "search", "--dataset", "mnist-5k", "--chip", "@mine.toml", "--plan", code=4)["error"]

    assert words in error["message"]
    assert "\n" not in error["message"]


def test_unknown_chip_is_rejected(capsys: pytest.CaptureFixture[str]):
    Path("mine.toml").write_text(OWN_CHIP, encoding="utf-8")
    error = document_of(capsys, "search", "--chip", "mine.toml", "--plan", code=2)["error"]
    assert error["hint"] == "to read the file, write @mine.toml"

    error = document_of(capsys, "search", "--dataset", "mnist-5k", "--chip", "ATmega382P", "--plan", code=2)["error"]
    assert (error["kind"], error["hint"]) == ("usage", "did you mean 'ATmega328P'?")


# Advice and exit codes ------------------------------------------------------------------------------------------


def without_seconds(text: str) -> str:
    return re.sub(r"\d+ s\b", "N s", text)


def test_advice_after_too_few_trials_doubles_trials_of_same_study(
    trainer: Trainer, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    command = (*SEARCH, "--trials", "2", "--trial-time", "90s", "--target", "97", "--time", "1h")
    document = document_of(capsys, *command)

    assert (document["reached"], document["winner"], document["trained"]) == (False, None, 2 + BASELINES)
    nearest, words = document["nearest_miss"], document["last_words"]
    assert (nearest["errors"], nearest["allowed"], nearest["runs"]) == (310, 300, 1)
    plan = plan_of(capsys, words["command"])
    assert (words["why"], plan["study"], plan["exists"]) == ("trials", document["study"], True)
    assert (plan["effort"]["trials"], plan["effort"]["seconds"]) == (4, 3600)
    assert plan["effort"]["limits"]["seconds"] == 90
    config = json.loads((workspace / "runs" / document["study"] / "config.json").read_text(encoding="utf-8"))
    assert plan["config"] == config["config"]
    # A repeated command and the report state the same advice.
    job_count = len(trainer.jobs)
    assert run([*command]) == 3
    text = "\n".join([*words["sentences"], f"this command {words['advice']}:", f"  {words['command']}"])
    # The second session adds to the seconds of the study.
    assert without_seconds(capsys.readouterr().out).startswith(without_seconds(text))
    assert len(trainer.jobs) == job_count
    advice = read_study(Path(document["report"]).parent, Workspace(workspace)).ending.advice
    assert advice is not None
    assert (advice.command, advice.advice) == (words["command"], words["advice"])
    assert without_seconds(" ".join(advice.sentences)) == without_seconds(" ".join(words["sentences"]))


@pytest.mark.parametrize(
    ("options", "accuracies", "why", "field", "expected"),
    [
        (("--time", "0.001s"), (96.9, 96.9), "time", ("exists",), True),
        # The nearest network has 86 parameters, the largest 238: a budget of 170 is binding, 300 is not.
        (("--budget", "170", "--epochs", "30"), (96.9, 96.9), "space", ("config", "budget"), 340),
        (("--limit", "parameters<=170", "--epochs", "30"), (96.9, 96.9), "space", ("config", "budget"), 340),
        (("--budget", "300", "--epochs", "30"), (96.0, 96.9), "target", ("config", "budget"), 300),
        ((), (80.0, 80.0), "target", ("config", "budget"), 20_000),
    ],
)
def test_advised_command_extends_exhausted_limit(
    options: tuple[str, ...],
    accuracies: tuple[float, float],
    why: str,
    field: tuple[str, ...],
    expected: object,
    trainer: Trainer,
    capsys: pytest.CaptureFixture[str],
):
    trainer.accuracy_pct = lambda parameters, seed: accuracies[parameters > 200]
    document = document_of(capsys, *SEARCH, *options)

    assert document["last_words"]["why"] == why
    plan: Any = plan_of(capsys, document["last_words"]["command"])
    for name in field:
        plan = plan[name]
    assert plan == expected


def test_out_of_memory_runs_are_not_counted_as_trained(trainer: Trainer, capsys: pytest.CaptureFixture[str]):
    trainer.special = lambda job: JobFailed(job, Status.OUT_OF_MEMORY, "took 300 MiB; 64 MiB allowed")
    document = document_of(capsys, *SEARCH, "--trials", "2", "--trial-memory", "64")

    assert (document["trained"], document["last_words"]["why"]) == (0, "trials")
    assert f"{2 + BASELINES} runs ran out of memory" in document["last_words"]["sentences"][0]


def test_verified_winner_has_exit_code_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    record = make_record([50, 52, 54, 50, 51])
    verdict = Verification(record, LeaderboardRow.of(record), record.seeds, (), False)
    monkeypatch.setattr(conclude, "conclude", lambda *arguments: verdict)

    document = document_of(capsys, *SEARCH, "--trials", "1", code=0)

    assert (document["reached"], document["winner"]["hash"], document["last_words"]) == (True, record.hash, None)


def test_database_is_written_if_verification_fails(monkeypatch: pytest.MonkeyPatch):
    names: list[str] = []
    monkeypatch.setattr("harness.storage.mirror.Mirror.write_file", lambda state, path: names.append(path.name))

    def fail(*_: object) -> None:
        raise DataError("the images have changed")

    monkeypatch.setattr(conclude, "conclude", fail)

    assert run([*SEARCH, "--trials", "1"]) == 5
    assert names == ["study.db"]


def test_interrupted_search_is_not_concluded_and_suggests_resuming(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    signals = iter([signal.SIGINT])

    def interrupt(self: session.SearchProgress) -> None:
        for number in signals:
            signal.raise_signal(number)

    monkeypatch.setattr(session.SearchProgress, "_write_report", interrupt)
    monkeypatch.setattr(conclude, "conclude", lambda *arguments: pytest.fail("it was concluded"))

    assert run([*SEARCH]) == 130
    *_, error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: interrupted; study ")
    assert "not reached yet" in error
    assert hint == "hint: resume with the same command"
