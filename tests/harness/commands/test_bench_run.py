"""``harness bench run``: the same bytes for the same seeds, what is refused, and Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench import replay as repeats
from harness.bench import table_files
from harness.bench.replay import _TableReadings, replay
from harness.bench.table import Sample, Table
from harness.cli import run
from harness.evidence import study
from tests.harness.bench import made_up_table
from tests.outline import checked

SHORT = ("--repeats", "6", "--time", "200s", "--target", "98.3", "--processes", "1")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A table on disk, as somebody would name it."""
    table_files.write_table(tmp_path / "made-up", made_up_table.table())
    return f"{tmp_path}/made-up"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replay here: starting processes takes seconds, and one test below does start them."""

    def run_repeats(methods, task, table, spread, count, seed, limits, processes, there, on_traces):
        readings = _TableReadings(table, spread)
        done = {(trace.method, trace.repeat): trace for trace in there}
        for method in methods:
            for number in range(count):
                if (method.name, number) not in done:
                    done[method.name, number] = replay(method, task, readings, seed, number, limits)
                    on_traces([done[method.name, number]])
        return [done[method.name, number] for method in methods for number in range(count)]

    monkeypatch.setattr(repeats, "run_repeats", run_repeats)
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))


def files_of(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_json_is_one_document_with_the_figures_of_the_csv(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert run(["bench", "run", folder, *SHORT, "--method", "random", "--json", "--out", str(out)]) == 0

    document = json.loads(capsys.readouterr().out)
    (method,) = document["methods"]
    with (out / "methods.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["ratio"]) == method["ratio"] >= 1.0
    assert row["method"] == method["name"] == "random"
    with (out / "runtimes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(item["size"]) for item in rows] == [item["size"] for item in method["runtimes"]]
    assert int(rows[0]["size"]) == document["smallest"]
    for item in method["runtimes"]:
        assert (item["expected_seconds"] is None) == (item["hits"] == 0)
    with (out / "times.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 61


def test_the_same_command_gives_the_same_bytes_elsewhere(folder: str, tmp_path: Path):
    for name in ("one", "two"):
        words = [folder, *SHORT, "--method=tpe", "--method=halving", f"--out={tmp_path / name}"]
        assert run(["bench", "run", *words]) == 0

    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_processes_change_no_byte(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["bench", "run", folder, "--repeats", "7", "--time", "60s", "--target", "98.3", "--method", "random"]
    assert run([*words, "--out", str(tmp_path / "here")]) == 0
    monkeypatch.undo()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))

    assert run([*words, "--processes", "2", "--out", str(tmp_path / "two")]) == 0

    assert files_of(tmp_path / "here") == files_of(tmp_path / "two")


def test_a_comparison_that_is_there_is_not_run_again_and_another_is_refused(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    words = ["bench", "run", folder, *SHORT, "--method", "random", "--out", str(out)]
    assert run(words) == 0
    first = files_of(out)
    monkeypatch.setattr(sys.modules[__name__], "replay", None)

    assert run(words) == 0
    assert files_of(out) == first

    capsys.readouterr()
    assert run([*words, "--seed", "1"]) == 4
    assert str(out) in capsys.readouterr().err


def test_two_calls_do_not_work_in_one_folder(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    words = ["bench", "run", folder, "--repeats", "2", "--time", "20s", "--method", "random", "--out", str(out)]

    with study.owned(out):
        assert run(words) == 2
        assert set(files_of(out)) == {".lock"}
    assert run(words) == 0


def test_repeats_are_kept_for_a_method_as_it_was(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """And it is said that they are kept: not every change can be seen."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import json, sys\nnetworks = json.loads(sys.stdin.readline())['begin']['networks']\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'network': networks[len(json.loads(line)['tried'])]}), flush=True)\n"
    )
    words = ["bench", "run", folder, "--repeats", "2", "--time", "20s", "--method", "random"]
    words += ["--program", f"mine={sys.executable} {script}", "--out", str(tmp_path / "out")]
    assert run(words) == 0
    assert "kept" not in capsys.readouterr().err

    assert run(words) == 0
    assert "4 repeats of an earlier call are kept; remove " in capsys.readouterr().err
    script.write_text(script.read_text() + "# another method\n")
    assert run(words) == 4


def test_what_nobody_says_is_chosen_from_the_table(folder: str, tmp_path: Path):
    assert run(["bench", "run", folder, "--repeats", "2", "--method", "random", "--out", str(tmp_path / "out")]) == 0

    task = json.loads((tmp_path / "out" / "comparison.json").read_text())["task"]
    table = made_up_table.table()
    true = [sum(run[8].validation_accuracy_pct for run in runs.values()) / len(runs) for runs in table.runs.values()]
    assert sum(value >= task["target_pct"] for value in true) / len(true) == pytest.approx(0.25, abs=0.03)
    whole = sum(row.seconds for row in table.rows if row.rung == 8) / 2
    assert task["seconds"] == pytest.approx(whole / 8 / 2, rel=1e-3)
    assert task["budget"] == max(row.parameters for row in table.rows)


def test_a_comparison_that_was_stopped_goes_on_and_ends_in_the_same_bytes(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    words = ["bench", "run", folder, *SHORT, "--method", "random", "--method", "halving", "--out", str(out)]
    assert run(words) == 0
    whole = files_of(out)
    lines = (out / "traces.jsonl").read_text().splitlines(keepends=True)
    # Not in their order, and a kill has torn the last one.
    (out / "traces.jsonl").write_text(lines[9] + lines[2] + lines[4][:50])
    counted: list[int] = []
    original = replay

    def counting(*given, **more):
        counted.append(given[4])
        return original(*given, **more)

    monkeypatch.setattr(sys.modules[__name__], "replay", counting)

    assert run(words) == 0
    assert len(counted) == 10
    assert files_of(out) == whole


@pytest.mark.parametrize("names", [("no-rungs",), ("no-rungs", "random")])
def test_without_the_default_a_variant_is_a_method_like_the_others(
    names: tuple[str, ...], folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--repeats", "3", "--time", "60s", "--target", "98.3", "--json", "--out", str(tmp_path / "out")]

    assert run(["bench", "run", folder, *words, *(f"--method={name}" for name in names)]) == 0

    document = json.loads(capsys.readouterr().out)
    assert [method["is_variant"] for method in document["methods"]] == [False] * len(names)
    assert sum(method["mean_rank"] for method in document["methods"]) == sum(range(1, len(names) + 1))
    assert len(document["pairs"]) == 2 * (len(names) - 1)
    checked((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))


def test_the_page_keeps_the_rules_and_says_how_it_was_judged(folder: str, tmp_path: Path):
    out = tmp_path / "out"
    methods = ("random", "evolution", "default", "no-rungs")
    assert run(["bench", "run", folder, *SHORT, *(f"--method={name}" for name in methods), "--out", str(out)]) == 0

    outline = checked((out / "report.html").read_text(encoding="utf-8"))
    words = outline.text()
    for name in methods:
        assert name in words
    for part in (
        "mean validation accuracy at the last epoch over the seeds of the table",
        "asking, starting and",
        "Holm",
    ):
        assert part in words
    assert "Worth of each part of the default" in words


def test_a_target_that_no_network_reaches_is_no_fault(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["--repeats", "2", "--time", "60s", "--target", "99.99", "--processes", "1"]
    out = tmp_path / "out"

    assert run(["bench", "run", folder, *words, "--method", "random", "--method", "halving", "--out", str(out)]) == 0

    checked((out / "report.html").read_text(encoding="utf-8"))


def test_a_method_that_misbehaves_ends_the_comparison_with_its_name(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    words = [folder, *SHORT, "--method=random", "--program=mine=true", f"--out={tmp_path / 'o'}"]

    assert run(["bench", "run", *words]) == 4

    line, *_ = capsys.readouterr().err.splitlines()
    assert line.startswith("error: method 'mine', repeat 0, question 1: ")


def test_a_table_without_a_rung_that_a_method_needs_is_refused(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    whole = made_up_table.table(made_up_table.TINY)
    rows = tuple(row for row in whole.rows if row.rung in (1, 8))
    table_files.write_table(tmp_path / "coarse", Table(replace(whole.facts, rungs=(1, 8)), rows))

    assert run(["bench", "run", f"{tmp_path}/coarse", "--method", "default"]) == 4


def test_a_sample_of_a_space_is_refused_before_anything_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole = made_up_table.table(made_up_table.TINY)
    facts = replace(whole.facts, samples=(Sample(seed=0, networks=8, bands=8),))
    table_files.write_table(tmp_path / "part", Table(facts, whole.rows))

    assert run(["bench", "run", f"{tmp_path}/part", "--method", "random", "--out", f"{tmp_path}/out"]) == 4

    assert not (tmp_path / "out").exists()


REPOSITORY = Path(__file__).parents[3]
PATIENCE = 60.0
linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux who has started whom")


def children(pid: int) -> list[str]:
    """Return the command lines of the processes that one has started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_text() for child in pids]


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long comparison whose two processes have just been started."""
    table_files.write_table(tmp_path / "made-up", made_up_table.table())
    words = ["bench", "run", f"{tmp_path}/made-up", "--method", "random", "--repeats", "100000", "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words],
        cwd=tmp_path,
        env=os.environ | {"HARNESS_WORKSPACE": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As in a terminal, where the tests themselves may run in the background, deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until = time.monotonic() + PATIENCE
        while sum("spawn_main" in command for command in children(process.pid)) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "no process was started"
            time.sleep(0.01)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
@linux
@pytest.mark.parametrize("seconds", [(0.3,), (1.0,), (4.0, 0.5, 0.5)])
def test_interrupts_at_any_time_are_one_line_and_leave_no_process(
    seconds: tuple[float, ...], comparison: subprocess.Popen[str]
):
    # At first they are loading what they need.
    for wait in seconds:
        time.sleep(wait)
        with suppress(ProcessLookupError):
            os.killpg(comparison.pid, signal.SIGINT)
    # This waits for all that hold the other end, those that were started too.
    said = comparison.communicate(timeout=PATIENCE)[1]

    assert comparison.returncode == 130
    assert said.splitlines()[-2] == "error: interrupted"
    assert "Traceback" not in said


@pytest.mark.slow
@linux
def test_a_kill_leaves_no_process(comparison: subprocess.Popen[str]):
    time.sleep(4.0)
    comparison.kill()

    comparison.communicate(timeout=PATIENCE)
