"""``harness leaderboard``: text, JSON, filters, publication, and damaged records."""

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
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.system.files import Workspace
from tests.factories import make_claim, make_record, network_of_width
from tests.outline import checked_outline


@pytest.fixture
def board(workspace: Path) -> Path:
    """Return a workspace with a verified, a measured and a claimed row, and a row of a different data set."""
    folder = workspace / "runs" / "records"
    record.write(folder, make_record([50, 52, 54, 56, 58], network_of_width(9)))
    record.write(folder, make_record([70], network_of_width(4), name="mine"))
    record.write(folder, make_record([300] * 5, network_of_width(6), dataset="kmnist", target_pct=95.0))
    claim = make_claim(network_of_width(3), 99.9, "theirs\x1b[2J")
    (folder / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")
    return workspace


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")


def test_piped_output_has_rows_of_json(
    board: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    assert run(["leaderboard", "--all"]) == 0
    frame = pandas.read_csv(io.StringIO(capsys.readouterr().out), sep="\t")
    assert run(["leaderboard", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for name in ("hash", "parameters", "target_pct", "tier", "validation_seeds"):
        assert frame[name].tolist() == [row[name] for row in rows]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def tables(text: str) -> dict[str, list[list[str]]]:
    """Return the cells of each printed table by heading; columns are separated by two spaces."""
    cells: dict[str, list[list[str]]] = {}
    for block in plain(text).rstrip().split("\n\n"):
        heading, *content = block.splitlines()
        if not content or content[0].split()[0] not in ("rank", "target"):
            continue
        _, *lines = content
        cells[heading] = [re.split(r" {2,}", line.strip()) for line in lines]
    return cells


def test_all_rows_are_grouped_by_target_with_ranks(board: Path, capsys: pytest.CaptureFixture[str]):
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


def test_default_output_lists_smallest_network_of_each_target_first(board: Path, capsys: pytest.CaptureFixture[str]):
    for width, target in ((10, 99.4), (11, 99.4), (12, 99.0)):
        record.write(board / "runs" / "records", make_record([50] * 5, network_of_width(width), target_pct=target))

    assert run(["leaderboard"]) == 0

    output = capsys.readouterr().out
    first, second = tables(output).values()
    assert [cells[0] for cells in first] == ["99 %", "99.4 %"]
    sizes = [int(cells[2].replace(",", "")) for cells in (*first, *second)]
    assert sizes == [parameters(width) for width in (12, 9, 10, 11)]
    # Three rows are not verified or belong to a different data set.
    assert "\n3 more rows: " in output


@pytest.mark.parametrize(("options", "is_listed"), [(["--dataset", "mnist"], False), (["--all"], True)])
def test_claims_are_listed_only_on_request(
    board: Path, capsys: pytest.CaptureFixture[str], options: list[str], is_listed: bool
):
    assert run(["leaderboard", *options]) == 0

    output = plain(capsys.readouterr().out)
    assert ("theirs" in output) is is_listed
    assert ("\n1 more row: " in output) is not is_listed


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
def test_selected_rows_keep_their_rank(
    board: Path, capsys: pytest.CaptureFixture[str], options: list[str], ranks: list[int]
):
    assert run(["leaderboard", "--json", *options]) == 0

    assert [row["rank"] for row in json.loads(capsys.readouterr().out)["rows"]] == ranks


def test_leaderboard_writes_no_files_by_default(board: Path, capsys: pytest.CaptureFixture[str]):
    before = {path for path in board.rglob("*") if path.is_file()}

    assert run(["leaderboard"]) == 0

    assert {path for path in board.rglob("*") if path.is_file()} == before
    # Publication requires a clone of the repository.
    assert run(["leaderboard", "--publish", network_of_width(9)]) == 2


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def replace_by_broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_suffix(".gone"))


DAMAGES = [
    pytest.param(lambda path: path.write_bytes(path.read_bytes()[:900]), id="truncated"),
    pytest.param(lambda path: edit(path, '"seeds": [', '"seeds": 5, "x": ['), id="type"),
    pytest.param(replace_by_broken_link, id="missing"),
    pytest.param(lambda path: edit(path, '"parameters": 594', '"parameters": 66'), id="edited"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_is_reported_and_omitted(
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
    source = checked_outline((board / "runs" / "leaderboard.html").read_text(encoding="utf-8"))
    assert source.text("bdi").count(line.removeprefix("warning: left out: ")) == 1

    assert run(["leaderboard", "--json", "--html"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["page"] == str(board / "runs" / "leaderboard.html")
    assert (len(document["rows"]), document["left_out"]) == (3, [line.removeprefix("warning: left out: ")])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_removes_only_own_row_and_prevents_publication(damage: Callable[[Path], None], board: Path):
    home = Workspace(board)
    rows = refresh(home)
    damage(next(home.records.glob("*kmnist*")))

    assert refresh(home) == read(home.leaderboard) == [row for row in rows if row.dataset != "kmnist"]
    assert run(["leaderboard", "--publish", network_of_width(9)]) == 4


@pytest.mark.parametrize("command", ["leaderboard --all", "explain {0}", "studies --json", "evaluate {0}"])
def test_damaged_record_and_ledger_line_are_reported_once_by_every_command(
    command: str, board: Path, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(board)
    intact_path = next(path for path in home.records.glob("*.json") if path.name.count("-mnist-99_4"))
    damaged_path = next(home.records.glob("*kmnist*"))
    damaged_path.write_text("[]", encoding="utf-8")
    home.ledger.write_text("{\n", encoding="utf-8")

    code = run(command.format(intact_path.name.split("-")[0]).split())
    errors = plain(capsys.readouterr().err)

    # The seeds of the sound record have no weights to evaluate.
    assert code == (4 if command.startswith("evaluate") else 0)
    assert errors.count(damaged_path.name) <= 1
    assert errors.count("ledger.jsonl, line 1: ") <= 1
    assert "left out: " in errors or command.startswith("studies")
