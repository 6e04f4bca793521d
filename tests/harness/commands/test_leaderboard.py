from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas
import pytest

from harness.cli import run
from harness.evidence import record
from harness.evidence.leaderboard_table import read, refresh
from harness.system.files import Workspace
from search_spaces.network import MNIST, analyse
from search_spaces.notation import parse_network
from tests.factories import make_claim, make_record, network_of_width
from tests.outline import checked


@pytest.fixture
def board(workspace: Path) -> Path:
    """A workspace with a verified, a measured and a claimed row, and a row on another data set."""
    folder = workspace / "runs" / "records"
    record.write(folder, make_record([50, 52, 54, 56, 58], network_of_width(9)))
    record.write(folder, make_record([70], network_of_width(4), name="mine"))
    record.write(folder, make_record([300] * 5, network_of_width(6), dataset="kmnist", target_pct=95.0))
    claim = make_claim(network_of_width(3), 99.9, "theirs\x1b[2J")
    (folder / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")
    return workspace


@pytest.fixture(autouse=True)
def a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where people look."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")


def test_a_pipe_gets_the_same_rows_for_programs(
    board: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    assert run(["leaderboard", "--all"]) == 0
    found = pandas.read_csv(io.StringIO(capsys.readouterr().out), sep="\t")
    assert run(["leaderboard", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for name in ("hash", "parameters", "target_pct", "tier", "validation_seeds"):
        assert found[name].tolist() == [row[name] for row in rows]


def plain(text: str) -> str:
    """Return a text without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return the cells of each printed table by its heading; columns are two spaces apart."""
    found: dict[str, list[list[str]]] = {}
    for block in plain(text).rstrip().split("\n\n"):
        heading, *rest = block.splitlines()
        if not rest or rest[0].split()[0] not in ("rank", "target"):
            continue
        _, *lines = rest
        found[heading] = [re.split(r" {2,}", line.strip()) for line in lines]
    return found


def test_all_rows_stand_in_groups_with_their_ranks(board: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["leaderboard", "--all"]) == 0

    listing = tables(capsys.readouterr().out)
    assert list(listing) == ["MNIST, 99.4 %", "kmnist (not MNIST), 95 %"]
    rows = listing["MNIST, 99.4 %"]
    assert [cells[0] for cells in rows] == ["1", "2", "3"]
    assert "99.460 \u00b1 0.032" in rows[0]
    # 99.46 - 2.9985 (t of 0.98 with 4 degrees of freedom) * 0.03162 / sqrt(5)
    assert "99.418" in rows[0]
    assert {"5/5", "verified"} <= set(rows[0])
    assert rows[1][1].endswith(" mine")
    assert "99.300" in rows[1]
    assert "99.90 c" in rows[2]
    assert "97.000 \u00b1 0.000" in listing["kmnist (not MNIST), 95 %"][0]


def test_without_a_choice_the_smallest_of_each_target_come_first(board: Path, capsys: pytest.CaptureFixture[str]):
    for width, target in ((10, 99.4), (11, 99.4), (12, 99.0)):
        record.write(board / "runs" / "records", make_record([50] * 5, network_of_width(width), target_pct=target))

    assert run(["leaderboard"]) == 0

    shown = capsys.readouterr().out
    first, second = tables(shown).values()
    assert [cells[0] for cells in first] == ["99 %", "99.4 %"]
    sizes = [int(cells[2].replace(",", "")) for cells in (*first, *second)]
    assert sizes == [parameters(width) for width in (12, 9, 10, 11)]
    # Three rows are not proven or of another data set.
    assert "\n3 more rows: " in shown


@pytest.mark.parametrize(("options", "is_shown"), [(["--dataset", "mnist"], False), (["--all"], True)])
def test_claims_are_shown_on_request_only(
    board: Path, capsys: pytest.CaptureFixture[str], options: list[str], is_shown: bool
):
    assert run(["leaderboard", *options]) == 0

    shown = plain(capsys.readouterr().out)
    assert ("theirs" in shown) is is_shown
    assert ("\n1 more row: " in shown) is not is_shown


def parameters(width: int) -> int:
    return analyse(parse_network(network_of_width(width)), MNIST).parameters


@pytest.mark.parametrize(
    ("options", "ranks"),
    [
        (["--tier", "verified"], [1, 1]),
        (["--dataset", "mnist"], [1, 2, 3]),
        (["--dataset", "mnist", "--tier", "claimed"], [3]),
        (["--limit", "2"], [1, 2]),
        (["--target", "95"], [1]),
        (["--all"], [1, 2, 3, 1]),
        (["--dataset", "fashion-mnist"], []),
    ],
)
def test_rows_are_chosen_and_keep_their_rank(
    board: Path, capsys: pytest.CaptureFixture[str], options: list[str], ranks: list[int]
):
    assert run(["leaderboard", "--json", *options]) == 0

    document = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in document["rows"]] == ranks


def test_nothing_is_written_unless_asked(board: Path, capsys: pytest.CaptureFixture[str]):
    before = {path for path in board.rglob("*") if path.is_file()}

    assert run(["leaderboard"]) == 0

    assert {path for path in board.rglob("*") if path.is_file()} == before
    # The package is in no clone.
    assert run(["leaderboard", "--publish", network_of_width(9)]) == 2


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def missing(path: Path) -> None:
    """A link to a file that is not there, as a checkout without its large files has them."""
    path.unlink()
    path.symlink_to(path.with_suffix(".gone"))


DAMAGES = [
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:900]), id="truncated"),
    pytest.param(lambda path: edited(path, '"seeds": [', '"seeds": 5, "x": ['), id="type"),
    pytest.param(missing, id="missing"),
    pytest.param(lambda path: edited(path, '"parameters": 594', '"parameters": 66'), id="edited"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_left_out(
    damage: Callable[[Path], None], board: Path, capsys: pytest.CaptureFixture[str]
):
    path = next((board / "runs" / "records").glob("*kmnist*"))
    damage(path)

    assert run(["leaderboard", "--html"]) == 0
    assert capsys.readouterr().out == f"{board / 'runs' / 'leaderboard.html'}\n"

    assert run(["leaderboard", "--all"]) == 0

    output = capsys.readouterr()
    listing = tables(output.out)
    assert {heading: [row[0] for row in rows] for heading, rows in listing.items()} == {
        "MNIST, 99.4 %": ["1", "2", "3"]
    }
    [line] = plain(output.err).splitlines()
    assert line.startswith("warning: left out: ")
    assert str(path) in line
    source = checked((board / "runs" / "leaderboard.html").read_text(encoding="utf-8"))
    assert source.text("bdi").count(line.removeprefix("warning: left out: ")) == 1

    assert run(["leaderboard", "--json", "--html"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["page"] == str(board / "runs" / "leaderboard.html")
    assert (len(document["rows"]), document["left_out"]) == (3, [line.removeprefix("warning: left out: ")])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_takes_only_its_row_away_and_is_not_published(damage: Callable[[Path], None], board: Path):
    home = Workspace(board)
    rows = refresh(home)
    damage(next(home.records.glob("*kmnist*")))

    assert refresh(home) == read(home.leaderboard) == [row for row in rows if row.dataset != "kmnist"]
    assert run(["leaderboard", "--publish", network_of_width(9)]) == 4


@pytest.mark.parametrize(
    "command", ["leaderboard --all", "explain {0}", "report --all", "studies --json", "evaluate {0}"]
)
def test_a_damaged_record_and_a_damaged_line_stop_no_command_and_are_reported_once(
    command: str, board: Path, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(board)
    sound = next(path for path in home.records.glob("*.json") if path.name.count("-mnist-99_4"))
    damaged = next(home.records.glob("*kmnist*"))
    damaged.write_text("[]", encoding="utf-8")
    home.ledger.write_text("{\n", encoding="utf-8")

    code = run(command.format(sound.name.split("-")[0]).split())
    errors = plain(capsys.readouterr().err)

    # The seeds of the sound record have no weights to evaluate.
    assert code == (4 if command.startswith("evaluate") else 0)
    assert errors.count(damaged.name) <= 1
    assert errors.count("ledger.jsonl, line 1: ") <= 1
    assert "left out: " in errors or command.startswith("studies")
