from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.bench.table import Table
from harness.bench.table_files import read_table, write_table
from harness.cli import run
from harness.system.files import Workspace
from search_spaces.notation import parse_network
from tests.harness.bench.some_table import HASHES, run_rows, some_table

REPOSITORY = Path(__file__).parents[3]
SPACE = "net = conv3x3({2, 3}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 100\nlearning_rate = 0.2\naverage_start = 0.5\n"
PATIENCE = 300.0


@pytest.fixture
def place(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a space of two networks, a short recipe and two tables of one run each."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (workspace / "few.space").write_text(SPACE)
    (workspace / "short.toml").write_text(RECIPE)
    for number, name in enumerate(("here", "there")):
        write_table(Workspace(workspace).table(name), some_table(run_rows(number), name=name))
    return workspace


def recording(name: str, *more: str) -> list[str]:
    options = ["--space", "@few.space", "--recipe", "@short.toml", "--rungs", "1,2,4", "--seeds", "2"]
    return ["bench", "table", name, *options, "--dataset", "mnist-5k", "--workers", "1", *more]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(["bench", "table", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err.strip().removeprefix("error: ").partition("\nhint: ")[0]


def test_a_plan_says_what_would_be_trained_and_trains_nothing(place: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recording("mine", "--plan")) == 0

    assert "all 2 networks" in capsys.readouterr().out
    assert not (place / "runs").exists()
    assert not (place / "benchmarks" / "tables" / "mine").exists()


def test_a_plan_as_json_is_one_document(place: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recording("mine", "--plan", "--json", "--networks", "1", "--seed", "3")) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["networks"], document["considered"], document["runs"]) == (1, 2, 2)
    assert document["rungs"] == [1, 2, 4]
    assert document["estimated_seconds_left"] > 0


def test_a_table_is_shown_by_its_name(place: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["bench", "table", "here"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "table here: 1 network, all of the space 'few'; seeds a network: 1"
    assert lines[-1].split() == ["4", "98.00", "98.00", "98.00", "-", "-", "4.0"]


def test_tables_of_two_machines_are_merged_and_shown(place: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["bench", "table", "--merge", "here", "there", "--into", "both", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["networks"] == 2
    assert set(read_table(place / "benchmarks" / "tables" / "both").runs) == set(HASHES[:2])


@pytest.mark.parametrize("name", ["table.csv", "table.json"])
def test_a_merge_writes_over_nothing(name: str, place: Path, capsys: pytest.CaptureFixture[str]):
    (place / "both").mkdir()
    (place / "both" / name).write_text("mine")

    assert refused(capsys, "--merge", "here", "there", "--into", "./both")[0] == 2
    assert {path.name: path.read_text() for path in (place / "both").iterdir()} == {name: "mine"}


@pytest.mark.parametrize("into", ["both", "benchmarks/tables/both"])
def test_a_merge_takes_no_name_that_a_recording_will_write_to(
    into: str, place: Path, capsys: pytest.CaptureFixture[str]
):
    begun = place / "runs" / ".tables" / "both"
    begun.mkdir(parents=True)
    (begun / "recording.json").write_text("{}")

    assert refused(capsys, "--merge", "here", "there", "--into", into)[0] == 2
    assert not (place / "benchmarks" / "tables" / "both").exists()


def test_a_merge_into_another_folder_of_that_name_is_made(place: Path):
    (place / "runs" / ".tables" / "both").mkdir(parents=True)

    assert run(["bench", "table", "--merge", "here", "there", "--into", "./both"]) == 0
    assert len(read_table(place / "both").runs) == 2


def test_a_table_is_exported_for_other_programs(place: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("pyarrow")

    assert run(["bench", "table", "here", "--export", "out"]) == 0

    names = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert names == {"table.csv", "table.json", "table.parquet", "SHA256SUMS"}
    assert {path.name for path in (place / "out").iterdir()} == names


def without_times(table: Table) -> dict[tuple[str, int, int], tuple[float, str]]:
    return {(row.hash, row.seed, row.rung): (row.validation_accuracy_pct, row.status) for row in table.rows}


def test_what_is_recorded_is_what_one_training_without_stops_gives(place: Path, capsys: pytest.CaptureFixture[str]):
    from harness.data.training_images import load
    from harness.training.result import Purpose
    from harness.training.run import Job, TrainingData, execute

    assert run(recording("mine", "--seeds", "1")) == 0

    table = read_table(place / "benchmarks" / "tables" / "mine")
    bench = TrainingData.of(load("mnist-5k", None))
    for runs in table.runs.values():
        first = runs[0][1]
        kind = table.facts.machines[0].environment.engine.partition(" ")[0]
        whole = execute(
            Job(
                architecture=parse_network(first.architecture),
                recipe=table.recipe,
                recipe_name="short",
                purpose=Purpose.BENCH,
                seed_index=0,
                engine=kind,
                evaluate_each_epoch=True,
            ),
            bench,
        )
        errors = {epoch.epoch: epoch.validation_errors for epoch in whole.history}
        assert {rung: row.validation_accuracy_pct for rung, row in runs[0].items()} == {
            rung: 100 * (500 - (errors[rung] or 0)) / 500 for rung in (1, 2, 4)
        }
    assert sorted(path.name for path in (place / "runs" / ".tables" / "mine" / "checkpoints").iterdir()) == []
    # The same command has nothing left to do, and another recipe is not mixed in.
    assert run(recording("mine", "--seeds", "1", "--plan")) == 0
    assert "2 runs, 2 of them ended" in capsys.readouterr().out
    assert run(recording("mine", "--seeds", "1", "--recipe", "smoke", "--epochs", "4")) == 4
    assert "was begun with another recipe" in capsys.readouterr().err


@pytest.fixture
def start(place: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start the recording of a name in a process of its own; none of them outlives the test."""
    started: list[subprocess.Popen[str]] = []
    environment = {key: value for key, value in os.environ.items() if key != "HARNESS_DATA"}

    def begin(name: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *recording(name)],
            cwd=place,
            env=environment | {"HARNESS_WORKSPACE": str(place), "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        # Closes the pipes too.
        process.communicate()


def wait_for(process: subprocess.Popen[Any], folder: Path, pattern: str, count: int) -> None:
    until = time.monotonic() + PATIENCE
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_recording_killed_and_interrupted_goes_on_and_trains_nothing_twice(
    place: Path, start: Callable[[str], subprocess.Popen[str]]
):
    whole = start("whole")
    assert whole.communicate(timeout=PATIENCE)[0].startswith("table whole: 2 networks")
    folder = place / "runs" / ".tables" / "mine"

    killed = start("mine")
    wait_for(killed, folder, "results/*.json", 1)
    killed.kill()
    killed.wait()
    first = {path.name: path.stat().st_mtime_ns for path in folder.glob("results/*.json")}
    interrupted = start("mine")
    wait_for(interrupted, folder, "results/*.json", len(first) + 1)
    interrupted.send_signal(signal.SIGINT)
    said = interrupted.communicate(timeout=PATIENCE)[1]
    ended = start("mine")
    assert ended.communicate(timeout=PATIENCE)[0].startswith("table mine: 2 networks")

    assert (interrupted.returncode, ended.returncode) == (130, 0)
    assert "error: interrupted\n" in said
    assert {name: (folder / "results" / name).stat().st_mtime_ns for name in first} == first
    tables = [read_table(place / "benchmarks" / "tables" / name) for name in ("whole", "mine")]
    assert without_times(tables[0]) == without_times(tables[1])
