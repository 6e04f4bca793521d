from __future__ import annotations

from typing import Any

import pytest

from harness.evidence.events import SessionBegan, SessionEnded
from harness.system.errors import ContentError
from harness.system.files import Workspace
from reports.study.study_files import read_study


def test_a_study_that_was_just_begun_is_read_without_a_journal(new_study: Any, place: Workspace):
    study = new_study()

    files = read_study(study.folder, place)

    assert (files.study.entries, files.results, files.measured, files.rows, files.test_reads) == ([], [], (), (), ())
    assert (files.name, files.elapsed, files.config.budget) == (study.name, 0.0, 20_000)


def test_a_line_in_the_making_is_passed_over(new_study: Any, place: Workspace):
    study = new_study()
    study.note("ended", 5.0, reason="time")
    study.write()
    with (study.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"event":')

    files = read_study(study.folder, place)

    assert [type(entry.event) for entry in files.study.entries] == [SessionBegan, SessionEnded]
    assert files.elapsed == 6.0


def test_evidence_comes_with_the_row_that_it_makes(realistic_study: Any, place: Workspace):
    files = read_study(realistic_study.folder, place)

    [measured] = files.measured
    assert (measured.row.hash, measured.row.seeds) == (measured.record.hash, 6)
    assert measured.row in files.rows


def test_evidence_on_another_target_or_data_set_is_left_out(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.verify(proposal, [50] * 5, target_pct=99.0)
    study.verify(proposal, [50] * 5, dataset="kmnist")

    files = read_study(study.write(), place)

    assert files.measured == ()
    assert len(files.rows) == 2


def test_a_folder_without_a_study_is_refused(place: Workspace):
    with pytest.raises(ContentError, match="cannot read the study"):
        read_study(place.runs / "nothing", place)
