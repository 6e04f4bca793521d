from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from harness.system.errors import UsageError
from harness.system.files import Workspace
from reports.extracts import _NetworkLine, lines, write_figures, write_tables
from reports.study.study_files import read_study
from reports.study.study_info import StudyInfo, study_info
from search_spaces.notation import parse_network


def info_of(study: Any, place: Workspace) -> StudyInfo:
    return study_info(read_study(study.folder, place))


def read(paths: list[Path]) -> tuple[list[dict[str, str]], dict[str, Any]]:
    table, document = (path.read_text(encoding="utf-8") for path in paths)
    return list(csv.DictReader(io.StringIO(table, newline=""))), json.loads(document)


def test_both_tables_hold_every_network_in_the_order_of_the_report(realistic_study: Any, place: Workspace):
    info = info_of(realistic_study, place)

    rows, document = read(write_tables(info, realistic_study.folder))

    hashes = [network.hash for network in info.networks]
    assert [row["hash"] for row in rows] == hashes
    assert [row["hash"] for row in document["networks"]] == hashes
    assert [row["place"] for row in document["networks"]] == list(range(1, len(hashes) + 1))
    assert list(rows[0]) == list(document["networks"][0]) == [item.name for item in fields(_NetworkLine)]
    first = ["place", "hash", "parameters", "tier", "state", "remark", "epochs", "validation_accuracy_pct"]
    assert list(rows[0])[: len(first)] == first
    assert (document["study"], document["target_pct"], document["schema_version"]) == (info.name, 99.4, 1)


def test_numbers_are_raw_and_both_tables_say_the_same(realistic_study: Any, place: Workspace):
    rows, document = read(write_tables(info_of(realistic_study, place), realistic_study.folder))

    for row, twin in zip(rows, document["networks"], strict=True):
        assert float(row["parameters"]) == twin["parameters"]
        shown = row["validation_accuracy_pct"]
        assert (float(shown) if shown else None) == twin["validation_accuracy_pct"]
        assert row["reached"] == str(twin["reached"]).lower()
    winner = document["networks"][0]
    # Errors of the six seeds of the winner, see conftest.py.
    assert winner["mean_test_accuracy_pct"] == pytest.approx(100 - (55 + 58 + 52 + 61 + 57 + 54) / 6 / 100)
    assert (winner["tier"], winner["test_seeds"], winner["reached"]) == ("verified", 6, True)


def test_the_multiply_adds_of_every_network_are_told_trained_or_not(new_study: Any, place: Workspace):
    study = new_study()
    # 28 x 28 places of 9 x 8 weights, then 10 x 8; 12 instead of 8.
    study.finish(study.propose(parse_network("conv3x3(8) | gap | linear(10)")), 50)
    study.propose(parse_network("conv3x3(12) | gap | linear(10)"))
    study.write()

    rows, document = read(write_tables(info_of(study, place), study.folder))

    expected = {28 * 28 * 9 * 8 + 80, 28 * 28 * 9 * 12 + 120}
    assert {int(row["macs"]) for row in rows} == {row["macs"] for row in document["networks"]} == expected


def test_what_was_not_finished_has_no_figures(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    study.propose(synthetic.network(8, 8, 8))
    study.write()

    [line] = lines(info_of(study, place))

    assert (line.tier, line.validation_accuracy_pct, line.validation_std_pct, line.test_seeds) == (None, None, None, 0)


def test_texts_of_others_are_no_formulas(new_study: Any, place: Workspace, synthetic: Any):
    study = new_study()
    proposal = study.propose(synthetic.network(8, 8, 8))
    study.events[-1]["origin"] = "=cmd|' /C calc'!A0"
    study.finish(proposal, 50)
    study.write()

    rows, document = read(write_tables(info_of(study, place), study.folder))

    assert rows[0]["origin"] == "'=cmd|' /C calc'!A0"
    assert document["networks"][0]["origin"] == "=cmd|' /C calc'!A0"


def test_the_same_files_give_the_same_bytes(realistic_study: Any, place: Workspace):
    first = [path.read_bytes() for path in write_tables(info_of(realistic_study, place), place.root)]

    assert [path.read_bytes() for path in write_tables(info_of(realistic_study, place), place.root)] == first


def test_a_folder_that_cannot_be_written_is_the_user_s_to_mend(realistic_study: Any, place: Workspace):
    (place.root / "file").touch()

    with pytest.raises(UsageError, match=r"cannot write .*file/networks.csv"):
        write_tables(info_of(realistic_study, place), place.root / "file")


def test_the_charts_come_as_svg_and_png_with_every_network(realistic_study: Any, place: Workspace, tmp_path: Path):
    info = study_info(read_study(realistic_study.folder, place))

    written = write_figures(info, tmp_path)

    assert [path.name for path in written] == [
        f"{name}.{kind}" for name in ("accuracy", "budget", "proposals") for kind in ("svg", "png")
    ]
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"<svg")
