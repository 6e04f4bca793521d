from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from harness.commands.data import data
from harness.data import data_files
from harness.system.errors import DataError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(data, arguments)


def test_check_json_is_one_document(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    document = json.loads(invoke("check", "--dataset", "toy", "--data", str(tmp_path), "--json").stdout)

    assert (document["dataset"], document["source"]) == ("toy", str(place))
    assert [file["name"] for file in document["files"]] == list(toy.unpacked)
    assert {"data_hash", "train", "validation", "test", "licence"} <= set(document)


def test_the_folder_may_come_from_the_environment(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = toy.write(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))

    assert invoke("path", "--dataset", "toy").output == f"{place}\n"


def test_check_names_every_damaged_file(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    names = list(toy.unpacked)
    for name in names[:2]:
        (place / f"{name}.gz").write_bytes(b"?")

    result = invoke("check", "--dataset", "toy", "--data", str(tmp_path))

    assert isinstance(result.exception, DataError)
    assert all(name in result.exception.message for name in names[:2])
    assert result.stdout == ""


def test_path_json_is_one_document(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    result = invoke("path", "--dataset", "toy", "--data", str(tmp_path), "--json")

    assert json.loads(result.stdout) == {"dataset": "toy", "path": str(place)}


@pytest.mark.parametrize("given", [True, False], ids=["given folder", "cache"])
def test_fetch_fills_the_folder_and_says_what_it_fetched(toy, tmp_path, cache, monkeypatch, given: bool):
    def from_torchvision(kind: str, root: Path, seconds: float):
        assert (kind, seconds) == ("Toy", 5)
        return SimpleNamespace(raw_folder=toy.write(root))

    monkeypatch.setattr(data_files, "from_torchvision", from_torchvision)
    where = tmp_path / "data" if given else cache
    arguments = ["fetch", "--dataset", "toy", "--mirror-seconds", "5"]
    arguments += ["--data", str(where)] if given else []

    result = invoke(*arguments)

    assert result.exit_code == 0, result.exception
    assert f"found in    {where / 'Toy/raw'}" in result.stdout
    assert result.stdout.count("  fetched     ") == 4
    again = json.loads(invoke(*arguments, "--json").stdout)
    assert again["fetched"] == []
