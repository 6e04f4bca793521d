"""Files of a study: configuration, order of log entries and results, recovery after a kill, and the lock."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run
from harness.studies import config as study
from harness.studies.events import EndReason, Entry, SessionBegan, SessionEnded
from harness.studies.log import StudyLog, read_state
from harness.studies.names import studies
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.system.terminal import say_once
from harness.training.recipe import Recipe
from harness.training.result import Purpose
from tests.factories import CONFIG, make_result
from tests.study_logs import make_entry, write_event, write_runs

CONFIG = replace(CONFIG, space_text="net = gap | linear(10);", rungs=(4, 8))
ORIGINS = {"budget": "commandline"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "a-study"


def test_configuration_is_read_as_written_and_reopens_study(folder: Path):
    assert study.open_study(folder, CONFIG, ORIGINS)
    content = (folder / "config.json").read_bytes()

    assert not study.open_study(folder, CONFIG, {})
    assert (read_state(folder).config, study.read_config(folder).origins) == (CONFIG, ORIGINS)
    assert (folder / "config.json").read_bytes() == content
    # A configuration of a version without lengths and priors is read too.
    document = json.loads(content)
    for name in ("lengths", "prior", "prior_sha256"):
        del document["config"][name]
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_state(folder).config == CONFIG


def test_run_seed_differs_by_prior_and_configuration():
    without_prior = replace(CONFIG, prior="none", seed=7)
    with_prior = replace(without_prior, prior="shipped", prior_sha256="ab")
    changes: list[dict[str, Any]] = [{"prior_sha256": "cd"}, {"seed": 8}, {"budget": 20_001}, {"prior": "own"}]
    other_configs = [replace(with_prior, **change) for change in changes]

    assert without_prior.run_seed == 7
    assert with_prior.run_seed == replace(with_prior).run_seed
    assert len({each.run_seed for each in (without_prior, with_prior, *other_configs)}) == 6


def test_recipe_of_other_epochs_has_epochs_in_name():
    assert CONFIG.recipe_of(30) == (replace(CONFIG.recipe, epochs=30), "fast-30ep")


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 900},
        {"recipe": Recipe(epochs=3)},
        {"space_text": "x"},
        {"seed": 1},
        {"lengths": (5, 8)},
        {"prior_sha256": "ab"},
        {"threshold_pct": 90.0},
    ],
)
def test_open_study_refuses_changed_configuration(folder: Path, change: dict[str, Any]):
    study.open_study(folder, CONFIG, ORIGINS)

    with pytest.raises(ContentError):
        study.open_study(folder, replace(CONFIG, **change), ORIGINS)
    assert read_state(folder).config == CONFIG


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema_version": 9}', '{"schema_version": 1, "config": {}, "origins": {}}']
)
def test_read_state_refuses_damaged_configuration(folder: Path, content: str):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(content, encoding="utf-8")

    with pytest.raises(ContentError):
        read_state(folder)


def test_study_has_at_most_one_owner(folder: Path):
    refusal = pytest.raises(UsageError)

    with study.locked_folder(folder), refusal, study.locked_folder(folder):
        pass
    with study.locked_folder(folder):
        pass


def test_results_are_ordered_by_trial_purpose_and_seed(folder: Path):
    seeds = [("confirm", 2), ("confirm", 10), ("search", 0)]
    keys = [(trial, Purpose(purpose), index) for trial in (3, 12, 100_001) for purpose, index in seeds]
    results = [make_result(trial=trial, purpose=purpose, seed_index=index) for trial, purpose, index in keys]
    study.open_study(folder, CONFIG, ORIGINS)
    write_runs(folder, *reversed(results))

    assert read_state(folder).results == results


def test_log_keeps_order_and_times_of_entries(folder: Path):
    study.open_study(folder, CONFIG, ORIGINS)
    begin, end = SessionBegan(command=("harness", "\u05d0\u2028")), SessionEnded(reason=EndReason.TIME)
    entries = [Entry(0.0, begin, "2026-11-20T08:00:00+00:00"), Entry(61.25, end, "2026-11-20T08:01:01+00:00")]
    for entry in entries:
        StudyLog(folder).write_entry(entry)

    assert read_state(folder).entries == entries


def test_recovery_deletes_partial_checkpoints_and_checkpoints_of_finished_runs(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    for name in (".harness-a-0.pt.x2345_78", ".notes.txt.swp", "trial-00000-search-0.pt", "trial-00001-search-0.pt"):
        (tmp_path / "checkpoints" / name).touch()
    write_runs(tmp_path, make_result(trial=0))

    StudyLog(tmp_path).recover_into(StudyState(tmp_path, CONFIG))

    assert {*os.listdir(tmp_path / "checkpoints")} == {".notes.txt.swp", "trial-00001-search-0.pt"}


def test_rejected_counts_events_of_rejected_proposals_and_draws(folder: Path):
    state = StudyState(folder, CONFIG)
    for word, values in (
        ("rejected", {"reason": "parameters"}),
        ("draws_rejected", {"rejected": {"parameters": 3, "macs": 2}}),
        ("proposed", {}),
        ("rejected", {}),
        ("draws_rejected", {"rejected": {"macs": 1}}),
    ):
        state.apply(make_entry(word, **values))

    assert state.rejected == {"parameters": 4, "macs": 3, "no reason given": 1}


# Changes that make a study unreadable.
DAMAGE: dict[str, Callable[[Path], Any]] = {
    "first form": lambda folder: (folder / "results").mkdir(),
    "elapsed": lambda folder: files.append_line(folder / "log.jsonl", '{"event": "session", "elapsed": "1"}'),
    "trial": lambda folder: write_event(folder, "confirmed", 2.0, trial=7),
    "config": lambda folder: files.write_text(folder / "config.json", "{}"),
}


@pytest.mark.parametrize(
    "command", [["studies"], ["leaderboard", "--all"], ["explain", make_result().hash], ["report"]]
)
@pytest.mark.parametrize("damage", DAMAGE)
def test_unreadable_study_is_left_out_and_named(
    damage: str,
    command: list[str],
    folder: Path,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(folder.parents[1]))
    for name in ("damaged", "whole"):
        study.open_study(folder.with_name(name), CONFIG, {})
        write_runs(folder.with_name(name), make_result())
    DAMAGE[damage](folder.with_name("damaged"))
    os.utime(folder.with_name("damaged") / "log.jsonl", (0, 0))  # ``report`` reads the latest study
    say_once.cache_clear()

    assert run(command) == 0

    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: left out: ")]
    assert [f"{folder.with_name('damaged')}" in line or "'damaged'" in line for line in lines] == [True] * len(lines)
    assert len(lines) == (command != ["report"])
    with pytest.raises(ContentError):
        read_state(folder.with_name("damaged"))


@pytest.mark.parametrize("has_log", [True, False])
def test_study_of_first_form_is_refused_in_one_line(has_log: bool, folder: Path):
    study.open_study(folder, CONFIG, ORIGINS)
    write_runs(folder, make_result())
    (folder / "results").mkdir()
    if not has_log:
        (folder / "log.jsonl").unlink()

    for read in (read_state, lambda path: study.open_study(path, CONFIG, ORIGINS)):
        with pytest.raises(ContentError, match="before 25 November 2026") as refusal:
            read(folder)
        assert len(refusal.value.one_line.splitlines()) == 1
        assert "choose a new name" in str(refusal.value.hint)


def test_lock_of_a_process_is_reported_without_taking_lock(folder: Path):
    assert not study.is_locked_by_a_process(folder)
    with study.locked_folder(folder):
        assert study.is_locked_by_a_process(folder)
        assert study.is_locked_by_a_process(folder)
    assert not study.is_locked_by_a_process(folder)


def test_locked_folder_keeps_folder_with_files_of_user(folder: Path):
    (folder / "tensorboard").mkdir(parents=True)
    with study.locked_folder(folder, ["tensorboard"]):
        pass
    assert (folder / "tensorboard").exists()


@pytest.mark.parametrize(
    ("read", "access"),
    [
        (study.is_locked_by_a_process, "open"),
        (lambda folder: files.log_text(folder / "log.jsonl"), "read_bytes"),
        (lambda folder: studies(Workspace(folder.parents[1])), "stat"),
    ],
)
def test_study_may_be_removed_during_read(
    read: Callable[[Path], Any], access: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    study.open_study(folder, CONFIG, ORIGINS)
    write_runs(folder, make_result())
    (folder / ".lock").touch()
    real_access = getattr(Path, access)

    def access_after_removal(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name in (".lock", "log.jsonl"):
            shutil.rmtree(folder, ignore_errors=True)
        return real_access(path, *arguments, **options)

    monkeypatch.setattr(Path, access, access_after_removal)
    read(folder)
    assert not os.path.isdir(folder)


def test_locked_folder_waits_for_shared_lock_of_query(folder: Path):
    folder.mkdir(parents=True)
    handle = os.open(folder / ".lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_SH)
    timer = threading.Timer(0.1, os.close, [handle])
    timer.start()

    with study.locked_folder(folder):
        pass
    timer.join()
