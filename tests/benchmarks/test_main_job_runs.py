"""The gate of the main job with a real search, as short as can be, on the 5,000 embedded images."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import main_job, main_job_results
from benchmarks.main_job_results import Case
from benchmarks.search_defaults import defaults
from tests.benchmarks.made_up import ask

SPACE = "net = conv3x3({2, 3, 4}, stride=2) bn relu | maxpool(4) | conv1x1({4, 8}) bn relu | gap | linear(10);"
RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\naverage_start = 0.5\n"


@pytest.mark.slow
def test_a_real_search_is_run_kept_and_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "few.space").write_text(SPACE)
    (tmp_path / "short.toml").write_text(RECIPE)
    (tmp_path / "measurements.md").write_text("".join(main_job.MARKS))
    options = {"dataset": "mnist-5k", "target": "15", "trials": "3", "time": "50s", "workers": "1"}
    options |= {"space": f"@{tmp_path / 'few.space'}", "recipe": f"@{tmp_path / 'short.toml'}"}
    given = tuple(word for name, value in options.items() for word in (f"--{name}", value))
    monkeypatch.setattr(main_job, "CASES", {"small": Case(options=given, seeds=(1,), most_parameters=300)})
    monkeypatch.setattr(main_job, "PAGE", tmp_path / "measurements.md")
    monkeypatch.setattr(main_job, "RESULTS", tmp_path / "main-job.json")
    # The search would write there, if it heard of it.
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "elsewhere"))

    ask(monkeypatch, main_job.main, "--root", str(tmp_path / "kept"))
    ask(monkeypatch, main_job.main, "--root", str(tmp_path / "kept"))

    assert len(list((tmp_path / "kept").glob("*"))) == 1
    assert not (tmp_path / "elsewhere").exists()
    results = main_job_results.read(tmp_path / "main-job.json")
    (found,) = results.searches
    assert list(results.configurations.values()) == [defaults()]
    assert found.verdict.met, found
    assert found.peak_gflops > 0
    assert found.outcome.winner is not None
    assert found.outcome.winner.parameters in [size for _, size in found.outcome.sizes]
    assert found.outcome.winner.seeds >= 5
    assert found.outcome.first_standing_seconds is not None
    assert 0 < found.outcome.first_standing_seconds < found.outcome.seconds
    assert 1 <= found.outcome.trained <= 3
    assert "1 of 1 searches met" in (tmp_path / "measurements.md").read_text()
