"""The gate of the main job: which searches it runs, what it keeps, and that its results are those of this code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import main_job, main_job_results
from benchmarks.cold_search import Outcome, Setting
from benchmarks.main_job_results import missing, tidied
from benchmarks.marked_block import with_block
from benchmarks.search_defaults import defaults, differences
from harness.system.errors import UsageError
from harness.system.files import Workspace, append_line
from tests.benchmarks.made_up import ask
from tests.benchmarks.measured import CASES, CONFIGURATION, outcome

GOOD = outcome(2_500, ((100.0, 2_500),))


class Runs:
    """Stands in for the searches: notes what is asked for, and answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], Setting]] = []
        self.answers: list[Outcome | BaseException] = []

    def run(self, arguments: list[str], setting: Setting, folder: Path) -> Outcome:
        assert list(folder.iterdir()) == []
        (folder / "stderr.txt").write_text("the trace of a fault\n")
        self.asked.append((list(arguments), setting))
        answer = self.answers.pop(0) if self.answers else GOOD
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    page = tmp_path / "measurements.md"
    page.write_text(f"before\n{''.join(main_job.MARKS)}after\n")
    given: dict[str, Any] = {
        "PAGE": page,
        "RESULTS": tmp_path / "main-job.json",
        "CASES": CASES,
        "COMPARED": {},
        "run": made.run,
        "limits": lambda: (131.42, 30.0),
        "machine": lambda: {
            "processor": "a processor",
            "instructions": "x86",
            "cores": 2,
            "commit": None,
            "dirty": None,
        },
        "defaults": lambda: CONFIGURATION,
        "resolve": lambda name, folder: None,
    }
    for name, value in given.items():
        monkeypatch.setattr(main_job, name, value)
    return made


def measured() -> list[tuple[str, int]]:
    return [search.key for search in main_job_results.read(main_job.RESULTS).searches]


def test_the_committed_results_rest_on_the_defaults_of_this_code():
    if not main_job.RESULTS.exists():
        pytest.skip("benchmarks/results/main-job.json is not there: python -m benchmarks.main_job makes it")
    results, now = main_job_results.read(main_job.RESULTS), defaults()

    for search in results.searches:
        if search.case not in main_job.CASES:
            continue
        parted = list(differences(results.configurations[search.configuration], now))
        assert parted == [], f"{search.case}, seed {search.seed}: run python -m benchmarks.main_job again"
    assert results == tidied(results, main_job.CASES | main_job.COMPARED)


def test_the_page_holds_what_the_committed_results_say():
    page = main_job.PAGE.read_text(encoding="utf-8")
    assert with_block(page, main_job.MARKS, main_job.current()) == page


def test_every_case_gives_its_searches_a_time_of_their_own():
    for case in (main_job.CASES | main_job.COMPARED).values():
        assert case.options.count("--time") == 1
        assert case.seeds


def test_no_seed_is_one_whose_trainings_the_prior_has_learned_from():
    lines = (main_job.ROOT / "benchmarks" / "results" / "trainings.jsonl").read_text(encoding="utf-8").splitlines()
    learned = {line["study_seed"] for line in map(json.loads, lines) if line.get("purpose", "reference") != "reference"}
    asked = [seed for case in main_job.CASES.values() for seed in case.seeds]

    assert learned
    assert not learned & set(asked)
    assert len(set(asked)) == len(asked)


def test_what_is_missing_is_run_and_kept(runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    runs.answers = [GOOD, outcome(None, exit_code=1)]
    ask(monkeypatch, main_job.main, "--cases", "short", "--data", "images")

    assert [arguments for arguments, _ in runs.asked] == [
        ["search", "--time", "10m", "--json", "--seed", str(seed)] for seed in (0, 1)
    ]
    assert {setting.data for _, setting in runs.asked} == {Path("images").resolve()}
    assert measured() == [("short", 0), ("short", 1)]
    assert [each.verdict.met for each in main_job_results.read(main_job.RESULTS).searches] == [True, False]
    page = main_job.PAGE.read_text(encoding="utf-8")
    assert page.startswith("before\n")
    assert "| `--time 10m` | 2 of 2 | 1 | 1 | none |" in page
    assert "the trace of a fault" in capsys.readouterr().err

    ask(monkeypatch, main_job.main)

    assert [setting.busy for _, setting in runs.asked[2:]] == [0, 1]
    assert measured() == [("short", 0), ("short", 1), ("long", 0), ("crowded", 4)]


def test_other_defaults_are_measured_anew(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    ask(monkeypatch, main_job.main)
    monkeypatch.setattr(main_job, "defaults", lambda: CONFIGURATION | {"threshold_pct": 99.4})

    ask(monkeypatch, main_job.main, "--cases", "short,long", "--seeds", "0")

    assert len(runs.asked) == 4 + 2
    results = main_job_results.read(main_job.RESULTS)
    assert missing(results, CASES, CONFIGURATION | {"threshold_pct": 99.4}) == [("short", 1), ("crowded", 4)]
    assert len(results.searches) == 4


def test_an_interrupted_search_is_not_kept_and_the_others_are(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    runs.answers = [GOOD, KeyboardInterrupt()]

    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, main_job.main)

    assert ended.value.code == 130
    assert measured() == [("short", 0)]
    assert "Traceback" not in capsys.readouterr().err


def test_reads_of_the_test_set_are_kept_also_of_a_search_that_is_interrupted(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
):
    def run(arguments: list[str], setting: Setting, folder: Path) -> Outcome:
        for purpose in ("verify a1 small seed 0", "verify a1 small seed 1"):
            append_line(Workspace(folder).test_log, json.dumps({"purpose": purpose}))
        if "1" in arguments:
            raise KeyboardInterrupt
        return GOOD

    monkeypatch.setattr(main_job, "run", run)

    with pytest.raises(SystemExit):
        ask(monkeypatch, main_job.main, "--cases", "short")

    lines = main_job.RESULTS.with_name(main_job.READS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"search": f"short, seed {search}", "line": json.dumps({"purpose": f"verify a1 small seed {seed}"})}
        for search in (0, 1)
        for seed in (0, 1)
    ]


def test_a_fast_machine_is_halved_and_the_record_says_so(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(main_job, "limits", lambda: (266.0, 39.0))

    ask(monkeypatch, main_job.main, "--cases", "short,crowded")

    assert [(setting.half_speed, setting.busy) for _, setting in runs.asked] == [(True, 0), (True, 0), (True, 2)]
    assert [arguments[-2:] for arguments, _ in runs.asked] == [["--workers", "2"]] * 2 + [["--seed", "4"]]
    found = main_job_results.read(main_job.RESULTS).searches[0]
    assert (found.half_speed, found.peak_gflops) == (True, 266.0)


def test_a_case_may_ask_for_the_whole_of_a_fast_machine():
    case = main_job.CASES["one-worker"]

    whole = main_job.setting_of(replace(case, full_speed=True), None, half_speed=True)

    assert (whole.half_speed, whole.busy) == (False, 0)
    assert main_job.setting_of(case, None, half_speed=True).half_speed


def test_code_that_changes_meanwhile_ends_the_measurement(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    answers = iter([CONFIGURATION, CONFIGURATION, CONFIGURATION | {"threshold_pct": 99.4}])
    monkeypatch.setattr(main_job, "defaults", lambda: next(answers))

    with pytest.raises(SystemExit) as ended:
        ask(monkeypatch, main_job.main)

    assert ended.value.code == 2
    assert "the code has changed" in capsys.readouterr().err
    assert measured() == [("short", 0)]


def test_a_plan_runs_nothing(runs: Runs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    ask(monkeypatch, main_job.main, "--plan")

    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "search --time 1h --seed 0" in lines[2]
    # Twice ten minutes, an hour and twenty minutes.
    assert last == "4 searches, 1 h 40 min at most"
    assert runs.asked == []
    assert not main_job.RESULTS.exists()


def test_folders_are_kept_where_a_root_is_given(runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    ask(monkeypatch, main_job.main, "--cases", "short", "--root", str(tmp_path / "kept"))

    assert sorted(path.name[:8] for path in (tmp_path / "kept").iterdir()) == ["short-0-", "short-1-"]


@pytest.mark.parametrize(
    ("names", "seeds", "said"), [(["shrt"], None, "short, long, crowded"), (["long"], [7], "long has a seed of 7")]
)
@pytest.mark.usefixtures("runs")
def test_a_case_that_is_not_there_is_refused(names: list[str], seeds: list[int] | None, said: str):
    with pytest.raises(UsageError, match=said):
        main_job.chosen(names, seeds)
