from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import run
from harness.evidence import record
from harness.evidence.leaderboard import read
from harness.evidence.record import Record
from tests.outline import checked

NewRecord = Callable[..., Record]


def network(width: int) -> str:
    return f"conv3x3({width}) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)"


@pytest.fixture
def board(workspace: Path, new_record: NewRecord) -> Path:
    """A workspace with a verified, a measured and a claimed row, and a row on another data set."""
    folder = workspace / "records"
    record.write(folder, new_record([50, 52, 54, 56, 58], network(9)))
    record.write(folder, new_record([70], network(4), name="mine"))
    record.write(folder, new_record([300] * 5, network(6), dataset="kmnist", target_pct=95.0))
    claim = {
        "name": "theirs\x1b[2J",
        "architecture": network(3),
        "test_accuracy_pct": 99.9,
        "metric": "best epoch",
        "runs": 1,
        "epochs": 20,
        "recipe": "a recipe with a long name",
        "source": "someone",
    }
    (folder / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")
    return workspace


def test_the_standings_are_a_table_of_fixed_columns(board: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["leaderboard"]) == 0

    header, *lines = capsys.readouterr().out.splitlines()
    titles = "rank name hash tier parameters stored accuracy % 99% low + images seeds recipe dataset target %"
    assert " ".join(header.split()) == titles
    assert len(lines) == 4
    for title in ("tier", "recipe", "dataset"):
        assert {line[header.index(title) - 1] for line in lines} == {" "}
    columns = [line.split() for line in lines]
    assert [cells[0] for cells in columns] == ["1", "2", "3", "1"]
    assert "verified" in lines[0]
    assert "99.460 \u00b1 0.032" in lines[0]
    # 99.46 - 3.7469 (t of 0.99 with 4 degrees of freedom) * 0.03162 / sqrt(5)
    assert "99.407" in lines[0]
    assert "mine" in lines[1]
    assert "99.300 " in lines[1]
    assert "99.90 c" in lines[2]
    assert "97.000 \u00b1 0.000" in lines[3]


def test_what_could_steer_a_terminal_is_left_out_and_long_names_are_cut(
    board: Path, capsys: pytest.CaptureFixture[str]
):
    run(["leaderboard", "--tier", "claimed"])

    line = capsys.readouterr().out.splitlines()[1]
    assert "\x1b" not in line
    assert "theirs?[2J" in line
    assert "a recipe wi\u2026" in line


@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        (["--tier", "verified"], [1, 1]),
        (["--dataset", "mnist"], [1, 2, 3]),
        (["--dataset", "mnist", "--tier", "claimed"], [3]),
        (["--limit", "2"], [1, 2]),
        (["--dataset", "fashion-mnist"], []),
    ],
)
def test_rows_are_chosen_and_keep_their_rank(
    board: Path, capsys: pytest.CaptureFixture[str], options: list[str], ranks: list[int]
):
    assert run(["leaderboard", "--json", *options]) == 0

    document = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in document["rows"]] == ranks


def test_the_document_has_every_column_with_raw_numbers(board: Path, capsys: pytest.CaptureFixture[str]):
    run(["leaderboard", "--json", "--dataset", "kmnist"])

    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["tier"], row["reached"], row["dataset"], row["parameters"]) == ("verified", True, "kmnist", 594)
    assert row["validation_accuracy_pct"] is None
    assert row["name"] == ""


def test_nothing_is_written_unless_asked(board: Path, capsys: pytest.CaptureFixture[str]):
    run(["leaderboard"])
    assert not (board / "leaderboard.csv").exists()

    assert run(["leaderboard", "--write"]) == 0
    assert len(read(board / "leaderboard.csv")) == 4


def test_an_empty_workspace_says_so_and_is_no_error(workspace: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["leaderboard"]) == 0

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no records, claims or studies in" in captured.err


def test_a_choice_without_rows_says_so(board: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["leaderboard", "--tier", "certified"]) == 0

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "none of the 4 rows is of that kind\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tier", "splendid"], "'splendid' is not one of"),
        (["--limit", "0"], "0 is not in the range"),
        (["--dataset", "mnits"], "unknown data set 'mnits': known are mnist"),
    ],
)
def test_a_wrong_option_is_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    assert run(["leaderboard", *arguments]) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def missing(path: Path) -> None:
    """A link to a file that is not there, as a checkout without its large files has them."""
    path.unlink()
    path.symlink_to(path.with_suffix(".gone"))


DAMAGES = [
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:900]), "Invalid JSON: EOF while", id="truncated"),
    pytest.param(lambda path: edited(path, '"seeds": [', '"seeds": 5, "x": ['), "seeds is 5: Input should", id="type"),
    pytest.param(missing, "No such file or directory", id="missing"),
    pytest.param(
        lambda path: edited(path, '"parameters": 594', '"parameters": 66'),
        "parameters is stated as 66, but the record's own content gives 594",
        id="edited",
    ),
]


@pytest.mark.parametrize(("damage", "rule"), DAMAGES)
def test_a_damaged_record_is_named_and_left_out(
    damage: Callable[[Path], None], rule: str, board: Path, capsys: pytest.CaptureFixture[str]
):
    path = next((board / "records").glob("*kmnist*"))
    damage(path)

    assert run(["leaderboard", "--html"]) == 0

    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == [
        "rank",
        "1",
        "2",
        "3",
        str(board / "leaderboard.html"),
    ]
    [line] = shown.err.splitlines()
    assert line.startswith("harness: left out: ")
    assert str(path) in line
    assert rule in line
    page = checked((board / "leaderboard.html").read_text(encoding="utf-8"))
    assert page.text("bdi").count(line.removeprefix("harness: left out: ")) == 1

    assert run(["leaderboard", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (len(document["rows"]), document["left_out"]) == (3, [line.removeprefix("harness: left out: ")])


@pytest.mark.parametrize(("damage", "rule"), DAMAGES)
def test_nothing_is_left_out_of_the_table_that_is_written(
    damage: Callable[[Path], None], rule: str, board: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["leaderboard", "--write"]) == 0
    before = (board / "leaderboard.csv").read_bytes()
    path = next((board / "records").glob("*kmnist*"))
    damage(path)
    capsys.readouterr()

    assert run(["leaderboard", "--write", "--json"]) == 4

    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["kind"]) == (4, "content")
    assert path.name in error["message"]
    assert rule in error["message"]
    assert (board / "leaderboard.csv").read_bytes() == before


def test_a_damaged_ledger_is_no_small_matter(board: Path, capsys: pytest.CaptureFixture[str]):
    (board / "records" / "ledger.jsonl").write_text("{\n", encoding="utf-8")

    assert run(["leaderboard"]) == 4
    assert "ledger.jsonl, line 1 is not what this program writes: Invalid JSON" in capsys.readouterr().err


def test_the_standings_are_a_page_too(board: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["leaderboard", "--html"]) == 0

    page = board / "leaderboard.html"
    assert capsys.readouterr().out.splitlines()[-1] == str(page)
    source = page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert "Leaderboard on mnist with a target of 99.4 %: 3 rows, 1 of them proven to reach it." in source
    assert run(["leaderboard", "--html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(page)
