"""``harness search`` from the command line, up to the training, which is a stub: what is refused, planned, said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import run
from harness.evidence import study
from harness.training.native import native
from tests.harness.commands.stubbed_search import SEARCH, searched, stub
from tests.wording import lacking


@pytest.fixture(autouse=True)
def stubs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch)


def listing(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str | None]:
    """Return exit code, message and hint, which is one line on stderr or one document; nothing may be written."""
    before = listing(Path.cwd())
    code = run(list(arguments))
    shown = capsys.readouterr()
    assert run([*arguments, "--json"]) == code
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    hint = f"hint: {error['hint']}\n" if error["hint"] else ""
    assert (shown.out, shown.err, told.err) == ("", f"error: {error['message']}\n{hint}", "")
    assert list(error) == ["code", "kind", "message", "position", "hint"]
    assert error["code"] == code
    assert listing(Path.cwd()) == before
    return code, error["message"], error["hint"]


@pytest.mark.parametrize("dataset", ["mnist", "auto"])
def test_a_wrong_space_is_told_before_data_are_looked_for(dataset: str, capsys: pytest.CaptureFixture[str]):
    given = ("search", "--dataset", dataset, "--device", "cpu", "--data", "nowhere")

    assert failure(capsys, *given, "--space", "crad")[::2] == (2, "did you mean 'card'?")
    assert failure(capsys, *given)[0] == 5


def test_missing_and_damaged_data_are_data_errors(workspace: Path, capsys: pytest.CaptureFixture[str]):
    given = ("search", "--dataset", "mnist", "--device", "cpu", "--data")
    assert failure(capsys, *given, "nowhere")[0] == 5

    folder = workspace / "copy" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{part}-ubyte").write_bytes(b"garbage")
    code, message, hint = failure(capsys, *given, "copy")

    assert code == 5
    assert message.startswith("copy/MNIST/raw/train-images-idx3-ubyte is damaged or another file: ")
    assert hint == "replace it by a good copy; 'harness data fetch' fetches one"


@pytest.mark.parametrize(
    "command",
    [SEARCH, ("verify", "conv3x3(4) | gap | linear(10)", "--dataset", "mnist-5k", "--device", "cpu")],
    ids=["search", "verify"],
)
def test_a_workspace_that_cannot_be_written_is_named_before_training(
    command: tuple[str, ...], workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (workspace / "file").write_text("kept")
    for place, why in (
        (workspace / "file", f"HARNESS_WORKSPACE is {workspace / 'file'}, which is not a folder"),
        (Path("/proc/x"), "cannot write to the folder /proc/x: No such file or directory"),
    ):
        monkeypatch.setenv("HARNESS_WORKSPACE", str(place))
        assert failure(capsys, *command) == (2, why, None)


def test_a_workspace_without_a_study_has_no_report(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert failure(capsys, "report")[:2] == (2, f"there is no study in {workspace}/runs yet")


def test_another_configuration_and_a_second_coordinator_are_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    searched(monkeypatch)
    mine = (*SEARCH, "--study", "mine")
    assert run([*mine, "--budget", "900"]) == 3
    capsys.readouterr()

    code, message, hint = failure(capsys, *mine, "--budget", "800")
    assert (code, hint) == (4, "give --study another name, or repeat the command that began it")
    assert message.startswith("study 'mine' in ")
    assert "was begun with another budget (900 there, 800 here); a study never changes" in message

    with study.owned(workspace / "runs" / "mine"):
        code, message, _ = failure(capsys, *mine, "--budget", "900")
    assert (code, message) == (2, f"another process is working in {workspace}/runs/mine; wait for it or stop it")


def test_a_plan_says_why_torch_would_train(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    native._outcome.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")

    assert run(["search", "--dataset", "mnist-5k", "--plan"]) == 0
    native._outcome.cache_clear()

    told = "torch trains, not the native engine: no C++ compiler found (no-such-compiler)\n"
    assert capsys.readouterr().err == told


def test_a_plan_trains_and_writes_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run([*SEARCH, "--plan", "--budget", "2000"]) == 0
    text = capsys.readouterr().out
    assert run([*SEARCH, "--plan", "--budget", "2000", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert list(workspace.iterdir()) == []
    assert "2,000 parameters" in text
    low, high = document["estimated_seconds_a_training"]
    assert f"{low:.0f} to {high:.0f} s " in text
    assert 0 < low < high
    assert document["lengths"] == [5, 8, 12, 20, 30, 60]
    assert (document["config"]["prior"], document["past_trainings"]) == ("shipped", 0)
    assert (document["config"]["budget"], document["config"]["space"]) == (2000, "tiny")
    assert document["origins"]["budget"] == "commandline"
    assert document["origins"]["seed"] == "default"
    low, high = document["feasible_share"]
    assert 0 < low <= high < 1


def test_a_plan_says_that_it_opens_no_database_and_finds_a_folder_that_cannot_be_written(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    url = "postgresql://ann:secret@nowhere/name"
    assert run([*SEARCH, "--plan", "--json", "--storage", url]) == 0
    assert json.loads(capsys.readouterr().out)["storage"] == "postgresql://ann:***@nowhere/name"
    assert run([*SEARCH, "--plan", "--storage", url]) == 0
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert lacking(shown, "storage", "ann:***@nowhere") == []

    monkeypatch.setenv("HARNESS_WORKSPACE", "/proc/x")
    assert failure(capsys, *SEARCH, "--plan")[0] == 2


# What is said at the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "warned"), [("40s", True), ("3m", False)])
def test_a_time_too_short_for_an_answer_is_warned_of(seconds: str, warned: bool, capsys: pytest.CaptureFixture[str]):
    assert run([*SEARCH, "--plan", "--time", seconds]) == 0
    assert ("too short" in capsys.readouterr().err) == warned


def test_what_net_does_not_use_is_warned_of(workspace: Path, capsys: pytest.CaptureFixture[str]):
    (workspace / "mine.space").write_text("old = bn; net = conv3x3({4, 8}) gap linear(10)", encoding="utf-8")

    assert run([*SEARCH, "--plan", "--space", "@mine.space"]) == 0
    assert lacking(capsys.readouterr().err, "warning: 'net'", "does not use 'old'") == []
