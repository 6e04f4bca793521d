"""``harness bench run``: what is refused before anything is replayed, in one line and with an exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench import table_files
from harness.bench.table import Sample, Table
from harness.cli import run
from tests.harness.bench import made_up_table


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table on disk, as somebody would name it."""
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    table_files.write_table(tmp_path / "made-up", made_up_table.table())
    return f"{tmp_path}/made-up"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "a TABLE is replayed and --live trains; give one of them, or both"),
        (["--live", "--space", "tiny"], 2, "--live without a TABLE needs --space, --target and --time"),
        (["{table}", "--space", "tiny"], 2, "--space belongs to --live without a TABLE: a table has its own"),
        (["{table}", "--live", "--recipe", "small"], 2, "--recipe belongs to --live without a TABLE"),
        (["{table}", "--live", "--spread", "recorded"], 2, "--spread belongs to replaying"),
        (["{table}", "--judge-seeds", "9"], 2, "--judge-seeds belongs to --live: a replay trains nothing"),
        (["{table}", "--method", "randm"], 2, "unknown method 'randm'; known are random, tpe,"),
        (["{table}", "--method", "random", "--method", "random"], 2, "method 'random' is given twice"),
        (["{table}", "--program", "mine"], 2, "--program 'mine': NAME=COMMAND is wanted"),
        (["{table}", "--program", "random=true"], 2, "'random' is a method that comes with the bench"),
        (["{table}", "--program", "mine='"], 2, '--program "mine=\'": No closing quotation'),
        (["{table}", "--repeats", "0"], 2, "'--repeats'"),
        (["{table}", "--budget", "10"], 4, "has no network of at most 10 parameters"),
        (["no-such-table"], 2, "no table 'no-such-table'"),
    ],
)
def test_misuse_is_one_line_and_an_exit_code(
    words: list[str], code: int, message: str, folder: str, capsys: pytest.CaptureFixture[str]
):
    assert run(["bench", "run", *(word.format(table=folder) for word in words)]) == code

    line, *_ = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_table_without_a_rung_that_a_method_needs_is_refused(
    folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    whole = made_up_table.table(made_up_table.TINY)
    rows = tuple(row for row in whole.rows if row.rung in (1, 8))
    table_files.write_table(tmp_path / "coarse", Table(replace(whole.facts, rungs=(1, 8)), rows))

    assert run(["bench", "run", f"{tmp_path}/coarse", "--method", "default"]) == 4

    assert "method 'default' stops after epoch 2, but the table was recorded after 1, 8 only" in capsys.readouterr().err


def test_a_sample_of_a_space_is_refused_before_anything_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    whole = made_up_table.table(made_up_table.TINY)
    facts = replace(whole.facts, samples=(Sample(seed=0, networks=8, bands=8),))
    table_files.write_table(tmp_path / "part", Table(facts, whole.rows))

    assert run(["bench", "run", f"{tmp_path}/part", "--method", "random", "--out", f"{tmp_path}/out"]) == 4

    line, *_ = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the table 'made-up' is a sample of the space 'made-up'")
    assert not (tmp_path / "out").exists()
