from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import toy_update


@pytest.mark.parametrize("option", ["--updates", "--blocks"])
@pytest.mark.parametrize("given", ["0", "-3", "many"])
def test_a_number_that_measures_nothing_is_a_usage_error(option: str, given: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        toy_update.main([option, given])

    assert left.value.code == 2
    assert f"argument {option}: {given!r} is not a whole number above 0" in capsys.readouterr().err


def test_the_figures_are_written_with_the_machine_they_are_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(toy_update, "RESULTS", tmp_path / "toy-update.json")
    monkeypatch.setattr(toy_update, "machine", lambda: {"cores": 1})

    toy_update.main(["--blocks", "2", "--updates", "3"])

    found = json.loads((tmp_path / "toy-update.json").read_text(encoding="utf-8"))
    assert (found["machine"], found["blocks"], found["updates"]) == ({"cores": 1}, 2, 3)
    assert list(found["microseconds"]) == ["plain Python", "NumPy", "torch"]
    assert all(len(each) == 2 and min(each) > 0 for each in found["microseconds"].values())
    assert capsys.readouterr().out.count("microseconds an update") == 3
