"""Networks trained on user data: lookup by hash, comparison, and rows whose data set is missing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import harness
from harness import cli
from harness.data import user
from harness.data.datasets import DATASETS, Dataset
from harness.evidence import leaderboard_table, record
from harness.searching.request import _known_datasets
from harness.spaces.network import analyse
from harness.system.errors import DataError
from harness.system.files import Workspace
from tests.fakes import train_in_this_process

NETWORK = "conv3x3(4) bn relu | gap | linear(3)"


@pytest.fixture(scope="module")
def verification(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Dataset]]:
    """A workspace with a data set of two channels and three classes and a verified network, and the data set."""
    random = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("own")
        patch.setenv("HARNESS_WORKSPACE", str(folder))
        train_in_this_process(patch)
        images = random.integers(0, 256, (200, 2, 10, 10)).astype(np.uint8)
        data = user.Data.from_arrays("two", images, random.integers(0, 3, 200), channels="first")
        harness.verify(NETWORK, 2, dataset=data.name, recipe="smoke", target_pct=5, workers=1, engine="torch")
        yield folder, data


@pytest.fixture
def home(verification: tuple[Path, Dataset], workspace: Path) -> Workspace:
    shutil.copytree(verification[0], workspace, dirs_exist_ok=True)
    return Workspace(workspace)


def test_network_by_hash_has_shape_of_data_set(verification: tuple[Path, Dataset], home: Workspace):
    [evidence] = record.read_all(home.records)
    expected = analyse(evidence.architecture, verification[1].task)

    explanation = harness.explain(evidence.hash)

    assert explanation.analysis.macs == expected.macs == 9 * 2 * 4 * 100 + 4 * 3
    assert harness.leaderboard(verification[1]).hash.tolist() == [evidence.hash]


def test_missing_data_set_removes_only_own_rows(
    verification: tuple[Path, Dataset], home: Workspace, shipped: Path, capsys: pytest.CaptureFixture[str]
):
    before = [row.key for row in leaderboard_table.collect(home)]
    shutil.rmtree(home.data(verification[1].name))

    after = [row.key for row in leaderboard_table.refresh(home)]

    assert set(before) - set(after) == {key for key in before if key[0].dataset == verification[1].name} != set()
    assert capsys.readouterr().err.count(verification[1].name) >= 1
    assert harness.explain("eab8ff").analysis.parameters == 1_462
    with pytest.raises(DataError, match=r"\(28, 28\); mnist has images of \(1, 28, 28\)"):
        harness.load("eab8ff")(np.zeros((28, 28)))
    assert [each for each in record.read_all(home.records) if each.dataset == verification[1].name] == []


def test_edited_images_of_a_data_set_are_refused(verification: tuple[Path, Dataset], home: Workspace):
    folder = home.data(verification[1].name)
    arrays = dict(np.load(folder / "test.npz"))
    arrays["pixels"][:30] = 0
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    (folder / "test.npz").write_bytes(buffer.getvalue())
    facts = json.loads((folder / "data.json").read_text())
    facts["all_files"][1]["sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    (folder / "data.json").write_text(json.dumps(facts | {"facts_sha256": ""}))

    with pytest.raises(DataError, match=f"differ from the images of {verification[1].name}"):
        harness.train(NETWORK, verification[1].name, recipe="smoke")


def test_used_data_set_is_removed_only_with_force(
    verification: tuple[Path, Dataset], home: Workspace, capsys: pytest.CaptureFixture[str]
):
    name = verification[1].name
    assert cli.run(["data", "list", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["datasets"]
    files = list(home.data(name).iterdir())
    home.data("no-facts").mkdir()

    assert {*_known_datasets()} == {"auto", *DATASETS, name}
    assert (row["name"], row["records"], row["studies"]) == (name, 1, 0)
    assert row["bytes"] == sum(path.stat().st_size for path in files)
    assert cli.run(["data", "remove", name]) == 2
    assert list(home.data(name).iterdir()) == files
    assert cli.run(["data", "remove", name, "--force"]) == 0
    assert not home.data(name).exists()
    assert cli.run(["data", "remove", name]) == 2
