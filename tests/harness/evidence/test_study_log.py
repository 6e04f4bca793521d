"""Logs that are torn or damaged: what is read of them, and what a search refuses to go on with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence import study
from harness.evidence.events import SessionBegan
from harness.system.errors import ContentError
from harness.training import result
from harness.training.result import Result
from tests.harness import logged
from tests.harness.some_study import CONFIG


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a-study"


@pytest.mark.parametrize("kept", range(0, 60, 7))
def test_a_line_torn_anywhere_loses_neither_what_stands_before_nor_what_follows(folder: Path, kept: int):
    for number in range(3):
        logged.note(folder, "proposed", float(number), trial=number)
    path = folder / "log.jsonl"
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: len(whole) - len(last)] + last[:kept])

    assert [proposal.trial for proposal in study.proposals(study.read_events(folder))] == [0, 1]
    study.mend(folder)
    logged.note(folder, "proposed", 3.0, trial=3)

    assert [proposal.trial for proposal in study.proposals(study.read_events(folder))] == [0, 1, 3]


def test_a_line_that_no_event_fits_is_named_but_for_one_in_the_making(folder: Path):
    logged.note(folder, "session", 0.0)
    path = folder / "log.jsonl"
    whole = path.read_text(encoding="utf-8")
    path.write_text('{"event": "propo\n' + whole + '{"event": "proposed"}\n\n' + whole + '{"event":', encoding="utf-8")

    found, damage = study.read_log(folder)

    assert [type(entry.event) for entry in found] == [SessionBegan, SessionBegan]
    assert [message.partition(" of ")[0] for message in damage] == ["line 1", "line 3"]
    assert all(f"{path} is no event of this program" in message for message in damage)


@pytest.mark.parametrize("content", [None, b"", b"\x00\xff\n" * 9, b'{"event": "session"}\n'])
def test_results_whose_networks_the_log_lacks_are_refused(
    content: bytes | None, folder: Path, new_result: Callable[..., Result]
):
    study.open_study(folder, CONFIG, {})
    logged.note(folder, "proposed", 1.0, trial=0)
    made = replace(new_result(), trial=0)
    path = study.result_path(folder, 0, made.purpose, 0)
    result.write(path, made)
    assert not study.open_study(folder, CONFIG, {})

    log = folder / "log.jsonl"
    log.unlink() if content is None else log.write_bytes(content)

    with pytest.raises(ContentError, match=rf"log\.jsonl lacks the network of the result {path.name}"):
        study.open_study(folder, CONFIG, {})
    # Nor does it begin a new one over the results.
    (folder / "config.json").unlink()
    with pytest.raises(ContentError, match="lacks the network of the result"):
        study.open_study(folder, CONFIG, {})
    assert not (folder / "config.json").exists()


@pytest.mark.parametrize("line", ['{"event": "proposed"}', '{"event": "newer"}', "[]", '{"trial": 1}'])
def test_a_search_does_not_go_on_with_a_whole_line_that_is_no_event(line: str, folder: Path):
    study.open_study(folder, CONFIG, {})
    logged.note(folder, "session", 0.0)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(f'{{"event": "propo\n{line}\n')

    with pytest.raises(ContentError, match=r"line 3 of .*log\.jsonl is no event of this program"):
        study.open_study(folder, CONFIG, {})
