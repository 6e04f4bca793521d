from __future__ import annotations

import csv
import io
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.leaderboard_csv import SCHEMA_VERSION, LeaderboardRow, Tier, read, to_csv
from harness.system import files
from harness.system.errors import ContentError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network

ROW = LeaderboardRow(
    rank=1,
    tier=Tier.VERIFIED,
    target_pct=99.4,
    reached=True,
    parameters=12_088,
    macs=400_000,
    receptive_field=20,
    mean_test_accuracy_pct=99.41000000000001,
    dataset="mnist",
    recipe="fast",
    architecture=parse_network("conv3x3(8) | gap | linear(10)"),
    hash="0123456789ab",
    protocol_version=1,
)
TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from("=+-@\t\r\n'\",;a"), max_size=6),
    st.sampled_from(
        ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''", "'", "\r", "a\rb", "\n", 'say "hi", you', " ", "\x00"]
    ),
)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
VALUES = {
    "str": TEXT,
    "int": st.integers(-(10**12), 10**12),
    "float": NUMBER,
    "bool": st.booleans(),
    "Tier": st.sampled_from(Tier),
    "Architecture": st.from_type(Architecture),
    "float | None": st.none() | NUMBER,
    "int | None": st.none() | st.integers(0, 10**6),
}
ROWS = st.builds(LeaderboardRow, **{item.name: VALUES[str(item.type)] for item in fields(LeaderboardRow)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leaderboard.csv"


@given(rows=st.lists(ROWS, max_size=4))
def test_reading_gives_the_very_rows_that_were_written(rows: list[LeaderboardRow], tmp_path_factory: Any):
    path = tmp_path_factory.getbasetemp() / "round-trip.csv"
    path.write_bytes(to_csv(rows).encode("utf-8"))

    assert read(path) == [replace(row, schema_version=SCHEMA_VERSION) for row in rows]


@given(text=TEXT)
def test_no_text_begins_as_a_formula_does(text: str):
    [_, cells] = csv.reader(io.StringIO(to_csv([replace(ROW, name=text, note=text)]), newline=""))

    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n")]


def test_negative_numbers_stay_numbers():
    [_, cells] = csv.reader(io.StringIO(to_csv([replace(ROW, lower_bound_pct=-1.5)])))

    assert "-1.5" in cells


def test_columns_are_the_fields_in_order_and_numbers_are_exact():
    header, line = to_csv([ROW]).splitlines()

    assert header.startswith(
        "rank,name,tier,target_pct,reached,parameters,stored_numbers,macs,receptive_field,mean_test_accuracy_pct,"
    )
    assert line.startswith("1,,verified,99.4,true,12088,,400000,20,99.41000000000001,,")


def test_the_columns_of_the_design_are_there():
    wanted = (
        "rank name tier target_pct reached parameters macs receptive_field mean_test_accuracy_pct "
        "std_test_accuracy_pct min_test_accuracy_pct lower_bound_pct test_errors_mean seeds diverged "
        "stored_numbers lower_bound_images_pct attempts confidence "
        "validation_accuracy_pct epochs train_seconds teacher_seconds search_seconds dataset recipe recipe_hash device "
        "architecture hash study commit date_utc schema_version"
    )

    assert set(wanted.split()) <= {item.name for item in fields(LeaderboardRow)}


@pytest.mark.parametrize(
    "content", [b"", b"rank,name\n", b"\xff\xfe", to_csv([]).replace("rank", "place", 1).encode(), b'"unended']
)
def test_another_file_is_refused(path: Path, content: bytes):
    path.write_bytes(content)

    with pytest.raises(ContentError, match=r"leaderboard\.csv"):
        read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",99.4,", ",nan,", "line 2, column target_pct: 'nan' is not a finite number"),
        (",true,", ",perhaps,", "line 2, column reached: 'perhaps' is neither true nor false"),
        (",verified,", ",splendid,", "line 2, column tier: 'splendid' is not a valid Tier"),
        (",12088,", ",many,", "line 2, column parameters: invalid literal for int"),
        ("mnist,fast", "mnist", "line 2: 38 cells, but there are 39 columns"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_line(path: Path, old: str, new: str, message: str):
    path.write_text(to_csv([ROW]).replace(old, new), encoding="utf-8")

    with pytest.raises(ContentError, match=message):
        read(path)


# As schema 2 had them.
OLD_COLUMNS = (
    "rank,name,tier,target_pct,reached,parameters,macs,receptive_field,mean_test_accuracy_pct,std_test_accuracy_pct,"
    "min_test_accuracy_pct,lower_bound_pct,test_errors_mean,best_epoch_test_accuracy_pct,seeds,seeds_at_target,diverged,"
    "attempts,holds_corrected,validation_accuracy_pct,validation_seeds,epochs,train_seconds,teacher_seconds,"
    "search_seconds,dataset,recipe,recipe_hash,device,architecture,hash,study,commit,date_utc,note,protocol_version,"
    "schema_version"
)
OLD_LINE = (
    "3,mine,certified,99.4,true,5994,1000,20,99.45,0.02,99.4,99.43,55.0,,24,24,0,4,true,,0,20,50.5,0.0,,mnist,fast,"
    "0123456789ab,some CPU,conv3x3(8) | gap | linear(10),ba9876543210,,000000000000,2026-11-20T08:00:00+00:00,,1,2"
)


def test_a_table_of_schema_2_is_read_without_what_it_lacks(path: Path):
    path.write_text(f"{OLD_COLUMNS}\n{OLD_LINE}\n", encoding="utf-8")

    [row] = read(path)

    assert (row.name, row.tier, row.parameters, row.macs, row.seeds, row.attempts) == (
        "mine",
        Tier.CERTIFIED,
        5994,
        1000,
        24,
        4,
    )
    assert (row.stored_numbers, row.lower_bound_images_pct, row.confidence) == (None, None, None)
    assert (row.date_utc, row.protocol_version, row.schema_version) == ("2026-11-20T08:00:00+00:00", 1, SCHEMA_VERSION)


@pytest.mark.parametrize(
    ("old", "new"), [("holds_corrected", "holds_otherwise"), ("parameters,", "macs,"), (",seeds,", ",seeds,seeds,")]
)
def test_other_columns_than_those_of_a_version_are_refused(path: Path, old: str, new: str):
    path.write_text(OLD_COLUMNS.replace(old, new, 1) + "\n", encoding="utf-8")

    with pytest.raises(ContentError, match="is not a leaderboard of schema 3 or before"):
        read(path)


def test_a_missing_file_is_refused(path: Path):
    with pytest.raises(ContentError, match="cannot read the leaderboard"):
        read(path)


def test_a_table_without_rows_is_read(path: Path):
    files.write_text(path, to_csv([]))

    assert read(path) == []
