"""Tests of a comparison on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.comparison import TRACES, append_trace, read_traces
from harness.bench.scores import Answer, Trace
from harness.bench.setting import methods_of
from harness.system.errors import UsageError
from search_spaces.notation import parse_network


def trace(repeat: int) -> Trace:
    answers = (
        Answer(seconds=1.0, hash="a", architecture=parse_network("gap linear(10)"), parameters=9),
        Answer(seconds=2.0, hash="b", architecture=parse_network("gap linear(10)"), parameters=8),
    )
    return Trace(method="random", repeat=repeat, seed=1, answers=answers, networks=2, runs=3, rejected=0, ended=5.0)


def test_a_line_torn_at_the_brace_of_an_answer_is_passed_over(tmp_path: Path):
    append_trace(tmp_path, trace(0))
    append_trace(tmp_path, trace(1))
    path = tmp_path / TRACES
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("}]") + 1])

    assert read_traces(tmp_path) == [trace(0)]


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", ".x", "-x", " x", "a\nb"])
def test_the_name_of_a_program_cannot_lead_out_of_a_folder(name: str):
    with pytest.raises(UsageError, match="a name has letters"):
        methods_of(["random"], [f"{name}=python3 mine.py"], ablations=False)
