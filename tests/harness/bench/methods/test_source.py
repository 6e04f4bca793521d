"""A hash of a method changes with its files and with no others, that of the bench with what a repeat runs through."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from harness.bench.methods import source
from harness.bench.methods.method import BUILT_IN, MAIN, EntryPoint, Method, Program
from harness.bench.methods.source import code_files, code_sha256, source_sha256
from harness.bench.simulation.readings import TableReadings
from harness.bench.simulation.replay import replay
from harness.bench.simulation.setting import table_task
from tests.harness.bench import made_up_table


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Method]:
    """Return a function that makes an entry point of what it is given, as pip would leave it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(begin: str) -> Method:
        info = tmp_path / "theirs-1.0.dist-info"
        written(info / "METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        written(info / "entry_points.txt", f"[harness.bench]\ntheirs = {begin}\n")
        return EntryPoint(name="theirs")

    return made


@pytest.mark.parametrize(
    ("begin", "edited", "other"),
    [
        ("theirs_one:begin", "theirs_one.py", "theirs_two.py"),
        ("theirs_three:begin", "theirs_three/core.py", "theirs_two.py"),
        ("theirs_three.main:begin", "theirs_three/core.py", "theirs_three/__pycache__/main.pyc"),
    ],
)
def test_an_entry_point_is_its_module_or_the_whole_package(
    begin: str, edited: str, other: str, install: Callable[[str], Method], tmp_path: Path
):
    # Nobody's code is run to find it.
    for name in ("theirs_one.py", "theirs_two.py", "theirs_three/__init__.py", "theirs_three/main.py", edited, other):
        written(tmp_path / name, "raise AssertionError('imported')\n")
    method = install(begin)
    before = source_sha256(method)

    written(tmp_path / other, "changed")
    assert source_sha256(method) == before
    written(tmp_path / edited, "changed")
    assert source_sha256(method) != before


def test_a_program_is_the_files_that_its_command_names(tmp_path: Path):
    script, settings, other = tmp_path / "mine.py", tmp_path / "mine.toml", tmp_path / "other.py"
    for path in (script, settings, other):
        written(path, "1")
    method = Program(name="mine", command=(sys.executable, str(script), "--fast", str(settings)))
    seen = [source_sha256(method)]

    written(other, "2")
    assert source_sha256(method) == seen[0]
    for path in (script, settings):
        written(path, "2")
        seen.append(source_sha256(method))
    assert len(set(seen)) == 3


def test_a_program_that_is_found_on_the_path_is_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    method = Program(name="mine", command=("mine",))
    seen = [source_sha256(method)]
    for text in ("1", "2"):
        written(tmp_path / "mine", text)
        (tmp_path / "mine").chmod(0o755)
        seen.append(source_sha256(method))

    assert len(set(seen)) == 3


def test_what_comes_with_the_bench_has_none():
    assert source_sha256(MAIN["random"]) is None


# The bench itself -------------------------------------------------------------------------------------------

# A method of somebody's that names the networks of the table one after the other.
IN_TURN = """import json, sys
networks = json.loads(sys.stdin.readline())["begin"]["networks"]
for line in sys.stdin:
    print(json.dumps({"network": networks[len(json.loads(line)["tried"])]}), flush=True)
"""


def test_all_code_that_a_repeat_runs_through_is_covered(tmp_path: Path):
    written(tmp_path / "mine.py", IN_TURN)
    mine = Program(name="mine", command=(sys.executable, str(tmp_path / "mine.py")))
    table = made_up_table.table()
    task = table_task(table, {"budget": None, "seconds": 30.0, "target": 98.3, "workers": 2})
    methods: tuple[Method, ...] = (*BUILT_IN.values(), mine)
    seen: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        seen.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        readings = TableReadings(table)
        for method in methods:
            replay(method, task, readings, 0, 0, 10.0)
    finally:
        sys.setprofile(None)

    ran = {Path(name) for name in seen if "site-packages" not in Path(name).parts}
    ours = {path for path in ran if source.ROOT in path.parents and path != Path(__file__)}
    assert len(ours) > 30
    assert ours <= set(code_files(live=False))


@pytest.mark.parametrize(
    ("path", "on_a_table", "live"),
    [
        ("search_spaces/notation.lark", True, True),
        ("harness/search/race.py", True, True),
        ("harness/training/train.py", False, True),
        ("harness/training/native/pooling.cpp", False, True),
        ("harness/bench/results/findings.py", False, False),
        ("reports/bench/bench_page.py", False, False),
    ],
)
def test_the_bench_is_another_where_code_of_a_repeat_has_changed(
    path: str, on_a_table: bool, live: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for place in source.REPLAYED + source.TRAINED:
        written(tmp_path / place / "x.py" if not place.endswith(".py") else tmp_path / place, "1")
    written(tmp_path / path, "1")
    monkeypatch.setattr(source, "ROOT", tmp_path)
    before = [code_sha256(live=False), code_sha256(live=True)]

    written(tmp_path / path, "2")

    assert [code_sha256(live=False) != before[0], code_sha256(live=True) != before[1]] == [on_a_table, live]


def test_the_bench_is_another_with_another_library(monkeypatch: pytest.MonkeyPatch):
    before = code_sha256(live=False)
    monkeypatch.setattr(source, "version", lambda name: "5.1" if name == "optuna" else "1")

    assert code_sha256(live=False) != before


def test_every_place_that_is_covered_is_there():
    assert [place for place in source.REPLAYED + source.TRAINED if not (source.ROOT / place).exists()] == []
