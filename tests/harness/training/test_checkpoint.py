"""A run that goes on from a checkpoint: whole, damaged, or of something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.training.result import Status
from harness.training.run import TrainingData, execute
from search_spaces.notation import parse_network
from tests.harness.training.test_run import bench, job

__all__ = ["bench"]


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "another network", "another document"])
def test_a_damaged_checkpoint_is_dropped_and_the_run_begins_from_its_start(
    damage: str, bench: TrainingData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    kept = tmp_path / "kept"
    whole = execute(job(), bench)
    execute(job(until_epoch=1, checkpoint=kept), bench)
    match damage:
        case "empty":
            kept.write_bytes(b"")
        case "garbage":
            kept.write_bytes(b"garbage" * 300)
        case "cut":
            kept.write_bytes(kept.read_bytes()[:-200])
        case "another network":
            kept.unlink()
            other = parse_network("conv3x3(3) relu | gap | linear(10)")
            execute(job(architecture=other, until_epoch=1, checkpoint=kept), bench)
        case _:
            torch.save([1, 2], kept)
    capsys.readouterr()

    result = execute(job(checkpoint=kept), bench)

    assert (result.status, result.weights_sha256) == (Status.COMPLETE, whole.weights_sha256)
    assert len(result.history) == len(whole.history)
    assert capsys.readouterr().err == f"harness: {kept} is damaged; the run begins from its start\n"


def test_a_rung_that_is_asked_for_again_is_read_from_its_checkpoint(bench: TrainingData, tmp_path: Path):
    first = execute(job(until_epoch=2, checkpoint=tmp_path / "kept"), bench)
    steps: list[None] = []
    again = execute(job(until_epoch=2, checkpoint=tmp_path / "kept"), bench, on_step=lambda: steps.append(None))
    assert steps == []
    assert again.history == first.history
    assert again.weights_sha256 == first.weights_sha256
    assert again.validation_errors == first.validation_errors
