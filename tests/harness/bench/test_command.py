"""``harness bench``: reproducible comparisons, resumption after interruptions, and recording of tables."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.table import Sample, Table, read_table, write_table
from harness.cli import run
from harness.spaces.notation import parse_network
from harness.studies import config as study
from harness.system.files import Workspace
from tests.conftest import REPOSITORY
from tests.fakes import PATIENCE, replay_in_this_process, train_in_this_process, wait_for
from tests.harness.bench import made_up
from tests.harness.bench.made_up import HASHES, run_rows, table_of
from tests.outline import checked_outline

SHORT = ("--repeats", "6", "--time", "200s", "--target", "98.3", "--processes", "1")

# bench run --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(workspace: Path) -> str:
    write_table(workspace / "made-up", made_up.table())
    return f"{workspace}/made-up"


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return replay_in_this_process(monkeypatch)


def files_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_json_document_has_figures_of_csv_files(
    folder: str, repeats: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    assert run(["bench", "run", folder, *SHORT, "--method", "random", "--json", "--out", str(out)]) == 0

    document = json.loads(capsys.readouterr().out)
    (method,) = document["methods"]
    tables = {}
    for name in ("methods", "runtimes", "times"):
        with (out / f"{name}.csv").open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    (row,) = tables["methods"]
    assert float(row["ratio"]) == method["ratio"] >= 1.0
    assert row["method"] == method["name"] == "random"
    assert [int(item["size"]) for item in tables["runtimes"]] == [item["size"] for item in method["runtimes"]]
    assert int(tables["runtimes"][0]["size"]) == document["smallest"]
    for item in method["runtimes"]:
        assert (item["expected_seconds"] is None) == (item["hits"] == 0)
    assert len(tables["times"]) == 61


@pytest.mark.nightly
def test_output_is_independent_of_number_of_processes(folder: str, tmp_path: Path, request: pytest.FixtureRequest):
    command = ["bench", "run", folder, "--repeats", "7", "--time", "60s", "--target", "98.3", "--method", "random"]
    assert run([*command, "--processes", "2", "--out", str(tmp_path / "two")]) == 0
    request.getfixturevalue("repeats")

    assert run([*command, "--out", str(tmp_path / "here")]) == 0
    assert files_of(tmp_path / "here") == files_of(tmp_path / "two")


def test_interrupted_comparison_resumes_to_same_bytes(
    folder: str, repeats: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    command = ["bench", "run", folder, *SHORT, "--method", "random", "--method", "halving", "--out", str(out)]
    assert run(command) == 0
    expected = files_of(out)
    lines = (out / "traces.jsonl").read_text().splitlines(keepends=True)
    # Out of order, and truncated in the last line, at a brace of an answer, as after a kill.
    (out / "traces.jsonl").write_text(lines[9] + lines[2] + lines[4][: lines[4].index("}") + 1])
    repeats.clear()

    assert run(command) == 0
    assert len(repeats) == 10
    assert files_of(out) == expected
    assert run([*command, "--seed", "1"]) == 4
    with study.locked_folder(out):
        assert run(command) == 2


def test_repeats_are_reused_only_for_unchanged_method(folder: str, repeats: list[int], tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import json, sys\nnetworks = json.loads(sys.stdin.readline())['begin']['networks']\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'network': networks[len(json.loads(line)['tried'])]}), flush=True)\n"
    )
    command = ["bench", "run", folder, "--repeats", "2", "--time", "20s", "--method", "random"]
    command += ["--program", f"mine={sys.executable} {script}", "--out", str(tmp_path / "out")]
    assert [run(command), run(command)] == [0, 0]
    assert len(repeats) == 4

    script.write_text(script.read_text() + "# another method\n")
    assert run(command) == 4


def test_missing_options_are_derived_from_table(folder: str, repeats: list[int], tmp_path: Path):
    out = tmp_path / "out"
    assert run(["bench", "run", folder, "--repeats", "2", "--method", "random", "--out", str(out)]) == 0

    task = json.loads((out / "comparison.json").read_text())["task"]
    study = task["study"]
    table = made_up.table()
    means = [sum(run[8].validation_accuracy_pct for run in runs.values()) / len(runs) for runs in table.runs.values()]
    assert sum(value >= study["target_pct"] for value in means) / len(means) == pytest.approx(0.25, abs=0.03)
    table_seconds = sum(row.seconds for row in table.rows if row.rung == 8) / 2
    assert task["seconds"] == pytest.approx(table_seconds / 8 / 2, rel=1e-3)
    assert study["budget"] == max(row.parameters for row in table.rows)
    budget = sorted(table.sizes.values())[10]
    options = ["--repeats", "1", "--method", "random", "--budget", str(budget), "--out", str(tmp_path / "less")]
    assert run(["bench", "run", folder, *options]) == 0
    networks = json.loads((tmp_path / "less" / "comparison.json").read_text())["task"]["networks"]
    assert set(networks) == {row.architecture for row in table.rows if row.parameters <= budget}


@pytest.mark.parametrize(
    ("methods", "target"),
    [
        (("no-rungs",), "98.3"),
        (("no-rungs", "random"), "98.3"),
        (("random", "evolution", "default", "no-rungs"), "98.3"),
        (("random", "halving"), "99.99"),
    ],
    ids=["one", "two", "a variant", "no network reaches"],
)
def test_page_is_valid_and_variant_without_default_is_ordinary_method(
    methods: tuple[str, ...],
    target: str,
    folder: str,
    repeats: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "out"
    options = ["--repeats", "3", "--time", "60s", "--target", target, "--json", "--out", str(out)]
    assert run(["bench", "run", folder, *options, *(f"--method={name}" for name in methods)]) == 0

    text = checked_outline((out / "report.html").read_text(encoding="utf-8")).text()
    assert all(name in text for name in methods)
    document = json.loads(capsys.readouterr().out)
    ordinary = [method for method in document["methods"] if not method["is_variant"]]
    assert len(methods) - len(ordinary) == len(document["variants"]) / 2 == ("default" in methods)
    assert sum(method["mean_rank"] for method in ordinary) == pytest.approx(sum(range(1, len(ordinary) + 1)))
    assert len(document["pairs"]) == len(ordinary) * (len(ordinary) - 1)
    assert (document["smallest"] is None) == (target == "99.99")


def scale_times(table: Table, factor: float) -> Table:
    return Table(table.facts, tuple(row._replace(seconds=factor * row.seconds) for row in table.rows))


def with_samples(table: Table, *bands_and_budgets: tuple[int, int | None]) -> Table:
    samples = tuple(Sample(seed=0, networks=8, bands=bands, budget=budget) for bands, budget in bands_and_budgets)
    return Table(replace(table.facts, samples=samples), table.rows)


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (lambda table: with_samples(table, (8, None)), "random", 4),
        (lambda table: with_samples(table, (8, None), (0, 500)), "random", 4),
        (lambda table: with_samples(table, (0, 500)), "random --budget 501", 4),
        (lambda table: with_samples(table, (0, 500), (0, 400)), "random --budget 500", 0),
        (lambda table: with_samples(table, (0, 500), (0, None)), "random", 0),
        (lambda table: scale_times(table, 0.0), "random", 4),
        (lambda table: scale_times(table, 0.0), "random --time 9s", 0),
        (lambda table: scale_times(table, 1e-3), "random", 0),
        (
            lambda table: Table(
                replace(table.facts, rungs=(1, 8)), tuple(row for row in table.rows if row.rung in (1, 8))
            ),
            "default",
            4,
        ),
    ],
)
def test_replay_requires_networks_times_and_rungs_in_table(
    change: Callable[[Table], Table], options: str, code: int, repeats: list[int], workspace: Path
):
    write_table(workspace / "it", change(made_up.table(made_up.TINY)))

    out = str(workspace / "out")
    assert run(["bench", "run", "./it", "--repeats", "1", "--out", out, "--method", *options.split()]) == code
    assert bool(repeats) == (code == 0)


def test_table_of_user_data_is_replayed_without_the_data(
    repeats: list[int], workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    write_table(workspace / "own", made_up.table(made_up.USER_SPACE, made_up.USER_DATA))
    example = REPOSITORY / "measurements" / "methods" / "optuna_user.py"
    options = ["--repeats", "1", "--time", "200s", "--target", "90", "--method", "default"]
    options += ["--program", f"optuna={sys.executable} {example}"]

    assert run(["bench", "run", "./own", *options, "--out", str(workspace / "out")]) == 0
    assert len(repeats) == 2
    assert not (workspace / "runs" / ".data").exists()
    traces = [json.loads(line) for line in (workspace / "out" / "traces.jsonl").read_text().splitlines()]
    assert [trace["networks"] for trace in traces] == [4, 4]
    # A second run of the command reads the stored design.
    assert run(["bench", "run", "./own", *options, "--out", str(workspace / "out")]) == 0
    assert len(repeats) == 2
    assert run(["bench", "table", "./own", "--json"]) == 0


def test_several_tables_are_compared_separately_and_ranked_together(
    repeats: list[int], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    tables = {"tiny": made_up.table(made_up.TINY), "own": made_up.table(made_up.USER_SPACE, made_up.USER_DATA)}
    for name, table in tables.items():
        write_table(workspace / name, replace(table, facts=replace(table.facts, name=name)))
    methods = ["--method", "default", "--method", "random", "--method", "no-rungs"]
    command = ["--repeats", "2", "--target", "90", "--time", "60s", *methods]
    out = workspace / "out"

    assert run(["bench", "run", "./tiny", "./own", *command, "--json", "--out", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    ranks = json.loads((out / "ranks.json").read_text())
    assert ranks == {key: document[key] for key in ranks}
    assert [comparison["table"] for comparison in document["comparisons"]] == ranks["tables"] == ["tiny", "own"]
    assert {method["name"] for method in ranks["methods"]} == {"default", "random", "no-rungs"}
    assert sum(method["over_time"] for method in ranks["methods"]) == 6
    links = ("tiny/report.html", "own/report.html")
    assert "no-rungs" in checked_outline((out / "ranks.html").read_text(encoding="utf-8"), links=links).text()
    assert all((out / link).exists() for link in links)

    assert run(["bench", "run", "./own", *command, "--out", str(workspace / "alone")]) == 0
    assert files_of(workspace / "alone") == files_of(out / "own")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("./tiny ./tiny", 2), ("./tiny ./sample", 4), ("./tiny ./none", 5), ("./tiny ./sample --live", 2)],
)
def test_tables_that_cannot_be_ranked_together_are_rejected_before_any_repeat(
    arguments: str, code: int, repeats: list[int], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    write_table(workspace / "tiny", made_up.table(made_up.TINY))
    sample = with_samples(made_up.table(made_up.TINY), (8, None))
    write_table(workspace / "sample", replace(sample, facts=replace(sample.facts, name="sample")))

    assert run(["bench", "run", *arguments.split()]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not repeats
    assert not (workspace / "runs").exists()


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads child processes from /proc")


def children(pid: int) -> list[str]:
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_text() for child in pids]


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return the process of a long comparison after the start of its two worker processes."""
    write_table(tmp_path / "made-up", made_up.table())
    arguments = ["bench", "run", f"{tmp_path}/made-up", "--method", "random", "--repeats", "100000", "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=tmp_path,
        env=os.environ | {"HARNESS_WORKSPACE": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # The default in a terminal; tests that run in the background may ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        until = time.monotonic() + 60.0
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
@pytest.mark.parametrize(
    ("seconds", "number"),
    [((0.3,), signal.SIGINT), ((1.0,), signal.SIGINT), ((4.0, 0.5, 0.5), signal.SIGINT), ((4.0,), signal.SIGKILL)],
)
def test_signal_at_any_time_causes_no_traceback_and_leaves_no_process(
    seconds: tuple[float, ...], number: signal.Signals, comparison: subprocess.Popen[str]
):
    # In the first seconds the processes import libraries.
    for wait in seconds:
        time.sleep(wait)
        with suppress(ProcessLookupError):
            os.killpg(comparison.pid, number) if number == signal.SIGINT else comparison.kill()
    # Waits until all processes have closed the pipe, including the worker processes.
    text = comparison.communicate(timeout=60.0)[1]

    assert comparison.returncode == (130 if number == signal.SIGINT else -number)
    assert number == signal.SIGKILL or "Traceback" not in text


# bench table ------------------------------------------------------------------------------------------------

SPACE = "net = conv3x3({2, 3}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 100\nlearning_rate = 0.2\naverage_start = 0.5\n"


@pytest.fixture
def root(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a workspace with a space of two networks, a short recipe and two tables with a run each."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (workspace / "few.space").write_text(SPACE)
    (workspace / "short.toml").write_text(RECIPE)
    for number, name in enumerate(("here", "there")):
        write_table(Workspace(workspace).table(name), table_of(run_rows(number), name=name))
    return workspace


def recording_command(name: str, *arguments: str) -> list[str]:
    options = ["--space", "@few.space", "--recipe", "@short.toml", "--rungs", "1,2,4", "--seeds", "2"]
    return ["bench", "table", name, *options, "--dataset", "mnist-5k", "--workers", "1", *arguments]


def test_plan_states_runs_without_training(root: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recording_command("mine", "--plan", "--json", "--networks", "1", "--seed", "3")) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["networks"], document["considered"], document["runs"]) == (1, 2, 2)
    assert document["rungs"] == [1, 2, 4]
    assert document["estimated_seconds_left"] > 0
    assert not (root / "runs").exists()
    assert not (root / "measurements" / "tables" / "mine").exists()


@pytest.mark.parametrize(
    ("existing_file", "into", "code"),
    [
        ("./both/table.csv", "./both", 2),
        ("./both/table.json", "./both", 2),
        ("runs/.tables/both/config.json", "both", 2),
        ("runs/.tables/both/config.json", "measurements/tables/both", 2),
        ("runs/.tables/both/config.json", "./both", 0),
    ],
)
def test_merge_overwrites_no_table_and_no_recording(existing_file: str, into: str, code: int, root: Path):
    (root / existing_file).parent.mkdir(parents=True)
    (root / existing_file).write_text("mine")

    assert run(["bench", "table", "--merge", "here", "there", "--into", into]) == code
    assert (root / existing_file).read_text() == "mine"
    if code == 0:
        assert set(read_table(root / into).runs) == set(HASHES[:2])


def without_times(table: Table) -> dict[tuple[str, int, int], tuple[float, str]]:
    return {(row.hash, row.seed, row.rung): (row.validation_accuracy_pct, row.status) for row in table.rows}


def test_recorded_accuracies_equal_uninterrupted_training(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from harness.data.training_images import load
    from harness.training.result import Purpose
    from harness.training.run import Job, TrainingData, execute

    train_in_this_process(monkeypatch)
    assert run(recording_command("mine", "--seeds", "1")) == 0

    table = read_table(root / "measurements" / "tables" / "mine")
    bench = TrainingData(load("mnist-5k", None))
    for runs in table.runs.values():
        first_row = runs[0][1]
        engine = table.facts.machines[0].environment.engine.partition(" ")[0]
        result = execute(
            Job(
                architecture=parse_network(first_row.architecture),
                recipe=table.facts.recipe,
                recipe_name="short",
                purpose=Purpose.BENCH,
                seed_index=0,
                engine=engine,
                evaluate_each_epoch=True,
            ),
            bench,
        )
        errors = {epoch.epoch: epoch.validation_errors for epoch in result.history}
        assert {rung: row.validation_accuracy_pct for rung, row in runs[0].items()} == {
            rung: 100 * (500 - (errors[rung] or 0)) / 500 for rung in (1, 2, 4)
        }
    assert not (root / "runs" / ".tables" / "mine" / "checkpoints").exists()
    # A second run of the command has no runs left, and a different recipe is rejected.
    assert run(recording_command("mine", "--seeds", "1", "--plan")) == 0
    assert "2 finished" in capsys.readouterr().out
    assert run(recording_command("mine", "--seeds", "1", "--recipe", "smoke", "--epochs", "4")) == 4


@pytest.fixture
def start(root: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts a recording in a subprocess; all subprocesses end with the test."""
    processes: list[subprocess.Popen[str]] = []
    environment = {key: value for key, value in os.environ.items() if key != "HARNESS_DATA"}

    def begin(name: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *recording_command(name)],
            cwd=root,
            env=environment | {"HARNESS_WORKSPACE": str(root), "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        # Also closes the pipes.
        process.communicate()


def log_of(folder: Path) -> list[str]:
    path = folder / "log.jsonl"
    return path.read_text().split("\n")[:-1] if path.exists() else []


@pytest.mark.slow
def test_killed_and_interrupted_recording_resumes_without_repeated_runs(
    root: Path, start: Callable[[str], subprocess.Popen[str]]
):
    assert start("whole").communicate(timeout=PATIENCE)[0].startswith("table whole: 2 networks")
    folder = root / "runs" / ".tables" / "mine"

    first_process = start("mine")
    # Entries of two networks and one run.
    wait_for(first_process, lambda: len(log_of(folder)) >= 3)
    first_process.kill()
    first_process.wait()
    first_log = log_of(folder)
    second_process = start("mine")
    wait_for(second_process, lambda: len(log_of(folder)) > len(first_log))
    second_process.send_signal(signal.SIGINT)
    text = second_process.communicate(timeout=PATIENCE)[1]
    last_process = start("mine")
    assert last_process.communicate(timeout=PATIENCE)[0].startswith("table mine: 2 networks")

    assert (second_process.returncode, last_process.returncode) == (130, 0)
    assert "error: interrupted\n" in text
    log = log_of(folder)
    assert (log[: len(first_log)], len(log)) == (first_log, 2 + 4)
    tables = [read_table(root / "measurements" / "tables" / name) for name in ("whole", "mine")]
    assert without_times(tables[0]) == without_times(tables[1])
