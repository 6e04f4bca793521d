"""Replays of searches on recorded trainings propose the recorded networks at the recorded times, with the same answers.

``replays.jsonl`` has a line per replay of ``harness bench run mnist-bench --target 98.69``: the result, and a digest of
the rounded line in ``traces.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.bench.methods import _BUILT_IN
from harness.cli import cli
from tests.conftest import REPOSITORY
from tests.fakes import replay_in_this_process
from tests.golden import rounding

GOLDEN = Path(__file__).with_name("replays.jsonl")
SAMPLERS = ("default", "with-evolution", "with-tpe", "with-nsga2", "with-random")
DEFAULT_METHODS = ("random", "halving", "tpe-aided", "default", "no-confirmation", "with-nsga2")


def replay_lines(methods: Sequence[str], repeats: int, folder: Path) -> list[str]:
    """Run the replays, and return a line per replay in the form of ``replays.jsonl``, sorted."""
    words = [word for name in methods for word in ("--method", name)]
    command = ["bench", "run", "mnist-bench", "--target", "98.69", "--repeats", str(repeats), "--out", str(folder)]
    command += words
    assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    lines = []
    for trace in sorted((folder / "traces.jsonl").read_text(encoding="utf-8").splitlines()):
        document = json.loads(trace)
        result = {name: document[name] for name in ("method", "repeat", "networks", "runs")}
        sizes = [answer["parameters"] for answer in document["answers"]]
        lines.append(json.dumps(result | {"answers": sizes, "sha256": rounding.digest([document])}))
    return lines


@pytest.mark.parametrize(
    ("methods", "repeats"),
    [
        (DEFAULT_METHODS, 1),
        pytest.param(tuple(name for name in _BUILT_IN if name not in DEFAULT_METHODS), 1, marks=pytest.mark.nightly),
        pytest.param(SAMPLERS, 20, marks=pytest.mark.slow),
    ],
)
def test_replays_equal_recorded_replays(
    methods: tuple[str, ...], repeats: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HARNESS_WORKSPACE", str(REPOSITORY))
    replay_in_this_process(monkeypatch)
    expected = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]

    rows = [json.loads(line) for line in replay_lines(methods, repeats, tmp_path)]

    assert rows == [each for each in expected if each["repeat"] < repeats and each["method"] in methods]
    assert len(rows) == len(methods) * repeats
