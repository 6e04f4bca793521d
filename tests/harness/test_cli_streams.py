"""Streams that are closed or full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "line",
    ["spaces sample card --count 2000 | head -1", "search --bad --json | true", "serach 2>&1 | true"],
    ids=["output", "document", "error"],
)
def test_a_reader_that_goes_away_is_no_fault(line: str):
    shown = in_a_shell(f'"$PYTHON" -m harness {line}; exit "${{PIPESTATUS[0]}}"')

    assert (shown.returncode, shown.stderr) == (cli.OUTPUT_CLOSED, "")
    assert shown.stdout.count("\n") == ("head" in line)


def test_a_reader_that_goes_away_amid_an_unbuffered_document_is_noticed():
    line = '"$PYTHON" -m harness toy --json --iterations 50000 | head -c 10; exit "${PIPESTATUS[0]}"'

    shown = in_a_shell(line, PYTHONUNBUFFERED="1")

    assert (shown.returncode, shown.stderr) == (cli.OUTPUT_CLOSED, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "line",
    ["spaces list", "spaces list --json", "toy --help", "serach --json", "explain seed4"],
    ids=["text", "json", "help", "error", "table"],
)
def test_an_output_that_takes_nothing_is_one_line(line: str, unbuffered: str):
    shown = in_a_shell(f'"$PYTHON" -m harness {line} > /dev/full', PYTHONUNBUFFERED=unbuffered)

    assert (shown.returncode, shown.stderr) == (2, "harness: cannot write the output: No space left on device\n")


def test_errors_that_cannot_be_shown_keep_an_exit_code():
    assert in_a_shell('"$PYTHON" -m harness serach 2> /dev/full').returncode == 2


def test_a_closed_output_is_not_missed():
    shown = in_a_shell('"$PYTHON" -m harness spaces list >&-')

    assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_an_error_output_that_is_closed_from_the_start_is_no_fault(closed: str, tmp_path: Path):
    line = f'"$PYTHON" -m harness leaderboard --check {closed}'

    assert in_a_shell(line, HARNESS_WORKSPACE=str(tmp_path)).returncode == 0


def test_an_input_that_is_closed_from_the_start_is_an_empty_one():
    closed, empty = (in_a_shell(f'"$PYTHON" -m harness explain - {given}') for given in ("<&-", "</dev/null"))

    assert (closed.returncode, closed.stderr) == (empty.returncode, empty.stderr)
    assert closed.returncode == 4


def in_a_shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line in which $PYTHON is this interpreter."""
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONUNBUFFERED": ""} | variables
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment
    )
