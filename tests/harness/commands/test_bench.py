"""``harness bench``: the same bytes for the same seeds, what goes on after a stop, and tables from end to end."""

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
from typing import Any

import pytest

from harness.bench.table import Sample, Table, read_table, write_table
from harness.cli import run
from harness.studies import config as study
from harness.system.files import Workspace
from search_spaces.notation import parse_network
from tests.conftest import REPOSITORY
from tests.fakes import replay_in_this_process
from tests.harness.bench import made_up
from tests.harness.bench.made_up import HASHES, few, run_rows
from tests.outline import checked

PATIENCE = 300.0
SHORT = ("--repeats", "6", "--time", "200s", "--target", "98.3", "--processes", "1")

# bench run --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(workspace: Path) -> str:
    """A table on disk, as somebody would name it."""
    write_table(workspace / "made-up", made_up.table())
    return f"{workspace}/made-up"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The repeats that were done."""
    return replay_in_this_process(monkeypatch)


def files_of(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_json_is_one_document_with_the_figures_of_the_csv(
    folder: str, here: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
def test_processes_change_no_byte(folder: str, tmp_path: Path, request: pytest.FixtureRequest):
    words = ["bench", "run", folder, "--repeats", "7", "--time", "60s", "--target", "98.3", "--method", "random"]
    assert run([*words, "--processes", "2", "--out", str(tmp_path / "two")]) == 0
    request.getfixturevalue("here")

    assert run([*words, "--out", str(tmp_path / "here")]) == 0
    assert files_of(tmp_path / "here") == files_of(tmp_path / "two")


def test_a_comparison_that_was_stopped_goes_on_and_ends_in_the_same_bytes(
    folder: str, here: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    words = ["bench", "run", folder, *SHORT, "--method", "random", "--method", "halving", "--out", str(out)]
    assert run(words) == 0
    whole = files_of(out)
    lines = (out / "traces.jsonl").read_text().splitlines(keepends=True)
    # Not in their order, and a kill has torn the last one, at the brace of an answer.
    torn = lines[4][: lines[4].index("}") + 1]
    (out / "traces.jsonl").write_text(lines[9] + lines[2] + torn)
    here.clear()

    assert run(words) == 0
    assert len(here) == 10
    assert files_of(out) == whole
    assert run([*words, "--seed", "1"]) == 4
    with study.owned(out):
        assert run(words) == 2


def test_repeats_are_kept_for_a_method_as_it_was(folder: str, here: list[int], tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import json, sys\nnetworks = json.loads(sys.stdin.readline())['begin']['networks']\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'network': networks[len(json.loads(line)['tried'])]}), flush=True)\n"
    )
    words = ["bench", "run", folder, "--repeats", "2", "--time", "20s", "--method", "random"]
    words += ["--program", f"mine={sys.executable} {script}", "--out", str(tmp_path / "out")]
    assert [run(words), run(words)] == [0, 0]
    assert len(here) == 4

    script.write_text(script.read_text() + "# another method\n")
    assert run(words) == 4


def test_what_nobody_says_is_chosen_from_the_table(folder: str, here: list[int], tmp_path: Path):
    out = tmp_path / "out"
    assert run(["bench", "run", folder, "--repeats", "2", "--method", "random", "--out", str(out)]) == 0

    task = json.loads((out / "comparison.json").read_text())["task"]
    study = task["study"]
    table = made_up.table()
    true = [sum(run[8].validation_accuracy_pct for run in runs.values()) / len(runs) for runs in table.runs.values()]
    assert sum(value >= study["target_pct"] for value in true) / len(true) == pytest.approx(0.25, abs=0.03)
    whole = sum(row.seconds for row in table.rows if row.rung == 8) / 2
    assert task["seconds"] == pytest.approx(whole / 8 / 2, rel=1e-3)
    assert study["budget"] == max(row.parameters for row in table.rows)
    smaller = sorted(table.sizes.values())[10]
    words = ["--repeats", "1", "--method", "random", "--budget", str(smaller), "--out", str(tmp_path / "less")]
    assert run(["bench", "run", folder, *words]) == 0
    listed = json.loads((tmp_path / "less" / "comparison.json").read_text())["task"]["networks"]
    assert set(listed) == {row.architecture for row in table.rows if row.parameters <= smaller}


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
def test_the_page_keeps_the_rules_and_a_variant_alone_is_a_method_like_the_others(
    methods: tuple[str, ...],
    target: str,
    folder: str,
    here: list[int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "out"
    words = ["--repeats", "3", "--time", "60s", "--target", target, "--json", "--out", str(out)]
    assert run(["bench", "run", folder, *words, *(f"--method={name}" for name in methods)]) == 0

    text = checked((out / "report.html").read_text(encoding="utf-8")).text()
    assert all(name in text for name in methods)
    document = json.loads(capsys.readouterr().out)
    alone = [method for method in document["methods"] if not method["is_variant"]]
    assert len(methods) - len(alone) == len(document["variants"]) / 2 == ("default" in methods)
    assert sum(method["mean_rank"] for method in alone) == pytest.approx(sum(range(1, len(alone) + 1)))
    assert len(document["pairs"]) == len(alone) * (len(alone) - 1)
    assert (document["smallest"] is None) == (target == "99.99")


def timed(table: Table, factor: float) -> Table:
    return Table(table.facts, tuple(row._replace(seconds=factor * row.seconds) for row in table.rows))


def sampled(table: Table, *taken: tuple[int, int | None]) -> Table:
    samples = tuple(Sample(seed=0, networks=8, bands=bands, budget=budget) for bands, budget in taken)
    return Table(replace(table.facts, samples=samples), table.rows)


@pytest.mark.parametrize(
    ("changed", "words", "code"),
    [
        (lambda table: sampled(table, (8, None)), "random", 4),
        (lambda table: sampled(table, (8, None), (0, 500)), "random", 4),
        (lambda table: sampled(table, (0, 500)), "random --budget 501", 4),
        (lambda table: sampled(table, (0, 500), (0, 400)), "random --budget 500", 0),
        (lambda table: sampled(table, (0, 500), (0, None)), "random", 0),
        (lambda table: timed(table, 0.0), "random", 4),
        (lambda table: timed(table, 0.0), "random --time 9s", 0),
        (lambda table: timed(table, 1e-3), "random", 0),
        (
            lambda table: Table(
                replace(table.facts, rungs=(1, 8)), tuple(row for row in table.rows if row.rung in (1, 8))
            ),
            "default",
            4,
        ),
    ],
)
def test_what_a_table_must_have_to_be_replayed(
    changed: Callable[[Table], Table], words: str, code: int, here: list[int], workspace: Path
):
    write_table(workspace / "it", changed(made_up.table(made_up.TINY)))

    out = str(workspace / "out")
    assert run(["bench", "run", "./it", "--repeats", "1", "--out", out, "--method", *words.split()]) == code
    assert bool(here) == (code == 0)


def test_a_table_of_ones_own_data_is_replayed_where_nobody_has_the_data(
    here: list[int], workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    write_table(workspace / "own", made_up.table(made_up.OWN_SPACE, made_up.OWN))
    example = REPOSITORY / "benchmarks" / "methods" / "optuna_user.py"
    words = ["--repeats", "1", "--time", "200s", "--target", "90", "--method", "default"]
    words += ["--program", f"optuna={sys.executable} {example}"]

    assert run(["bench", "run", "./own", *words, "--out", str(workspace / "out")]) == 0
    assert len(here) == 2
    assert not (workspace / "runs" / ".data").exists()
    traces = [json.loads(line) for line in (workspace / "out" / "traces.jsonl").read_text().splitlines()]
    assert [trace["networks"] for trace in traces] == [4, 4]
    # The same command again reads the design that it wrote.
    assert run(["bench", "run", "./own", *words, "--out", str(workspace / "out")]) == 0
    assert len(here) == 2
    assert run(["bench", "table", "./own", "--json"]) == 0


def test_several_tables_are_compared_one_by_one_and_ranked_together(
    here: list[int], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    tables = {"tiny": made_up.table(made_up.TINY), "own": made_up.table(made_up.OWN_SPACE, made_up.OWN)}
    for name, table in tables.items():
        write_table(workspace / name, replace(table, facts=replace(table.facts, name=name)))
    methods = ["--method", "default", "--method", "random", "--method", "no-rungs"]
    words = ["--repeats", "2", "--target", "90", "--time", "60s", *methods]
    out = workspace / "out"

    assert run(["bench", "run", "./tiny", "./own", *words, "--json", "--out", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    ranks = json.loads((out / "ranks.json").read_text())
    assert ranks == {key: document[key] for key in ranks}
    assert [each["table"] for each in document["comparisons"]] == ranks["tables"] == ["tiny", "own"]
    assert {method["name"] for method in ranks["methods"]} == {"default", "random", "no-rungs"}
    assert sum(method["over_time"] for method in ranks["methods"]) == 6
    links = ("tiny/report.html", "own/report.html")
    assert "no-rungs" in checked((out / "ranks.html").read_text(encoding="utf-8"), links=links).text()
    assert all((out / link).exists() for link in links)

    assert run(["bench", "run", "./own", *words, "--out", str(workspace / "alone")]) == 0
    assert files_of(workspace / "alone") == files_of(out / "own")


@pytest.mark.parametrize(
    ("words", "code"),
    [("./tiny ./tiny", 2), ("./tiny ./sample", 4), ("./tiny ./none", 5), ("./tiny ./sample --live", 2)],
)
def test_tables_that_cannot_be_ranked_together_are_refused_before_any_repeat(
    words: str, code: int, here: list[int], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    write_table(workspace / "tiny", made_up.table(made_up.TINY))
    sample = sampled(made_up.table(made_up.TINY), (8, None))
    write_table(workspace / "sample", replace(sample, facts=replace(sample.facts, name="sample")))

    assert run(["bench", "run", *words.split()]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not here
    assert not (workspace / "runs").exists()


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux who has started whom")


def children(pid: int) -> list[str]:
    """Return the command lines of the processes that one has started."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_text() for child in pids]


@pytest.fixture
def comparison(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A long comparison whose two processes have just been started."""
    write_table(tmp_path / "made-up", made_up.table())
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
def test_a_signal_at_any_time_is_at_most_one_line_and_leaves_no_process(
    seconds: tuple[float, ...], number: signal.Signals, comparison: subprocess.Popen[str]
):
    # At first they are loading what they need.
    for wait in seconds:
        time.sleep(wait)
        with suppress(ProcessLookupError):
            os.killpg(comparison.pid, number) if number == signal.SIGINT else comparison.kill()
    # This waits for all that hold the other end, those that were started too.
    text = comparison.communicate(timeout=60.0)[1]

    assert comparison.returncode == (130 if number == signal.SIGINT else -number)
    assert number == signal.SIGKILL or "Traceback" not in text


# bench table ------------------------------------------------------------------------------------------------

SPACE = "net = conv3x3({2, 3}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 100\nlearning_rate = 0.2\naverage_start = 0.5\n"


@pytest.fixture
def place(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a space of two networks, a short recipe and two tables of one run each."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    (workspace / "few.space").write_text(SPACE)
    (workspace / "short.toml").write_text(RECIPE)
    for number, name in enumerate(("here", "there")):
        write_table(Workspace(workspace).table(name), few(run_rows(number), name=name))
    return workspace


def recording(name: str, *more: str) -> list[str]:
    options = ["--space", "@few.space", "--recipe", "@short.toml", "--rungs", "1,2,4", "--seeds", "2"]
    return ["bench", "table", name, *options, "--dataset", "mnist-5k", "--workers", "1", *more]


def test_a_plan_says_what_would_be_trained_and_trains_nothing(place: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recording("mine", "--plan", "--json", "--networks", "1", "--seed", "3")) == 0

    document = json.loads(capsys.readouterr().out)
    assert (document["networks"], document["considered"], document["runs"]) == (1, 2, 2)
    assert document["rungs"] == [1, 2, 4]
    assert document["estimated_seconds_left"] > 0
    assert not (place / "runs").exists()
    assert not (place / "benchmarks" / "tables" / "mine").exists()


@pytest.mark.parametrize(
    ("there", "into", "code"),
    [
        ("./both/table.csv", "./both", 2),
        ("./both/table.json", "./both", 2),
        ("runs/.tables/both/config.json", "both", 2),
        ("runs/.tables/both/config.json", "benchmarks/tables/both", 2),
        ("runs/.tables/both/config.json", "./both", 0),
    ],
)
def test_a_merge_writes_over_nothing_and_nothing_over_it(there: str, into: str, code: int, place: Path):
    (place / there).parent.mkdir(parents=True)
    (place / there).write_text("mine")

    assert run(["bench", "table", "--merge", "here", "there", "--into", into]) == code
    assert (place / there).read_text() == "mine"
    if code == 0:
        assert set(read_table(place / into).runs) == set(HASHES[:2])


def without_times(table: Table) -> dict[tuple[str, int, int], tuple[float, str]]:
    return {(row.hash, row.seed, row.rung): (row.validation_accuracy_pct, row.status) for row in table.rows}


def test_what_is_recorded_is_what_one_training_without_stops_gives(place: Path, capsys: pytest.CaptureFixture[str]):
    from harness.data.training_images import load
    from harness.training.result import Purpose
    from harness.training.run import Job, TrainingData, execute

    assert run(recording("mine", "--seeds", "1")) == 0

    table = read_table(place / "benchmarks" / "tables" / "mine")
    bench = TrainingData(load("mnist-5k", None))
    for runs in table.runs.values():
        first = runs[0][1]
        kind = table.facts.machines[0].environment.engine.partition(" ")[0]
        whole = execute(
            Job(
                architecture=parse_network(first.architecture),
                recipe=table.facts.recipe,
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
    assert not (place / "runs" / ".tables" / "mine" / "checkpoints").exists()
    # The same command has nothing left to do, and another recipe is not mixed in.
    assert run(recording("mine", "--seeds", "1", "--plan")) == 0
    assert "2 finished" in capsys.readouterr().out
    assert run(recording("mine", "--seeds", "1", "--recipe", "smoke", "--epochs", "4")) == 4


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


def log_of(folder: Path) -> list[str]:
    path = folder / "log.jsonl"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def wait_for(process: subprocess.Popen[Any], folder: Path, count: int) -> None:
    until = time.monotonic() + PATIENCE
    while len(log_of(folder)) < count:
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
    # Two networks, and a run.
    wait_for(killed, folder, 3)
    killed.kill()
    killed.wait()
    first = log_of(folder)
    interrupted = start("mine")
    wait_for(interrupted, folder, len(first) + 1)
    interrupted.send_signal(signal.SIGINT)
    text = interrupted.communicate(timeout=PATIENCE)[1]
    ended = start("mine")
    assert ended.communicate(timeout=PATIENCE)[0].startswith("table mine: 2 networks")

    assert (interrupted.returncode, ended.returncode) == (130, 0)
    assert "error: interrupted\n" in text
    log = log_of(folder)
    assert (log[: len(first)], len(log)) == (first, 2 + 4)
    tables = [read_table(place / "benchmarks" / "tables" / name) for name in ("whole", "mine")]
    assert without_times(tables[0]) == without_times(tables[1])
