"""The contract of the command line: exit codes, kinds of errors, and keys of JSON documents of many commands.

``commands.jsonl`` has a line per command: the folder (``in``), the arguments (``run``), the exit code and, with
``--json``, the kind of error or the paths of all keys. For a new line, copy the answer from the failure of the test.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import cli
from harness.data import training_images
from tests.conftest import REPOSITORY
from tests.fakes import replay_in_this_process, train_in_this_process

GOLDEN = Path(__file__).with_name("commands.jsonl")
CASES: list[dict[str, Any]] = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
NETWORK = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"
FILES = {
    "quick.toml": "batch_size = 250\nepochs = 1\n",
    "hot.toml": "batch_size = 250\nepochs = 1\nlearning_rate = 1000.0\n",
    "wide.toml": "batch_size = 0\n",
    "odd.toml": "colour = 'red'\n",
    "torn.toml": "batch_size = [\n",
    "mine.space": "net = conv3x3({4, 6}) bn relu | maxpool(4) | gap | linear(10)",
    "unused.space": "let spare = {1, 2}; net = conv3x3({4, 6}) bn relu | gap | linear(10)",
    "none.space": "net = conv3x3({4, 6}) bn relu | gap | linear(10); where parameters <= 10",
    "wrong.space": "net = conv3x3({4, 6} bn relu | gap | linear(10)",
    "unknown.space": "net = conv3x3({4, 6}) | stage | gap | linear(10)",
    "net.txt": NETWORK,
    "wrong.txt": "conv3x3(8) cnv | gap | linear(10)",
    "empty.txt": "",
    "notes.txt": "no picture",
}
# Commands that fill the folder ``lived`` with a finished study, and a network verified with two seeds.
EARLIER_COMMANDS = (
    "search --dataset mnist-5k --engine torch --device cpu --workers 1 --space @mine.space --recipe @quick.toml "
    "--target 5 --trials 2 --study pilot --prior none",
    f"verify '{NETWORK}' --dataset mnist-5k --engine torch --device cpu --workers 1 --recipe @quick.toml --target 5 "
    "--seeds 2",
)


def run_command(line: str) -> tuple[int, str]:
    with CliRunner().isolation() as streams:
        code = cli.run(shlex.split(line))
        stdout = streams[0].getvalue().decode()
    return code, stdout


def answer_of(line: str) -> dict[str, Any]:
    """Return the answer of a command line: exit code and, of a JSON document, the kind of error or all keys."""
    code, stdout = run_command(line)
    answer: dict[str, Any] = {"code": code}
    if "--json" in shlex.split(line):
        document = json.loads(stdout)
        answer |= {"kind": document["error"]["kind"]} if "error" in document else {"keys": sorted(paths(document))}
    return answer


def paths(value: Any, prefix: str = "") -> set[str]:
    """Return the paths of all keys of a document; keys that are no identifiers are data, and replaced by ``*``."""
    if isinstance(value, list):
        return {path for item in value for path in paths(item, f"{prefix}[]")}
    if not isinstance(value, dict):
        return set()
    keys = set()
    for key, item in value.items():
        name = f"{prefix}.{key if key.isidentifier() else '*'}".removeprefix(".")
        keys |= {name} | paths(item, name)
    return keys


def fill_folder(folder: Path, kind: str) -> None:
    """Create the files of a folder of a kind.

    All kinds have ``FILES``; ``evidence`` also has the bench tables, ``lived`` the results of earlier commands.
    """
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pictures").mkdir()
    if kind == "evidence":
        shutil.copytree(REPOSITORY / "measurements" / "tables", folder / "measurements" / "tables")
    for line in EARLIER_COMMANDS if kind == "lived" else ():
        assert run_command(line)[0] in (0, 3)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


@pytest.fixture
def command_folder(
    request: pytest.FixtureRequest,
    folders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    kind = request.param
    if kind == "evidence":
        request.getfixturevalue("shipped")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    # Hide the data sets of this machine.
    monkeypatch.setattr(training_images, "_SYSTEM", tmp_path_factory.mktemp("system"))
    train_in_this_process(monkeypatch)
    replay_in_this_process(monkeypatch)
    if kind not in folders:
        folders[kind] = tmp_path_factory.mktemp(kind)
        monkeypatch.setenv("HARNESS_WORKSPACE", str(folders[kind]))
        monkeypatch.chdir(folders[kind])
        fill_folder(folders[kind], kind)
    copy = tmp_path_factory.mktemp("place") / "work"
    shutil.copytree(folders[kind], copy)
    monkeypatch.setenv("HARNESS_WORKSPACE", str(copy))
    monkeypatch.chdir(copy)
    return copy


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(
    ("command_folder", "case"),
    [(case["in"], case) for case in CASES],
    indirect=["command_folder"],
    ids=[f"{case['in']}: {case['run']}" for case in CASES],
)
def test_command_line_gives_recorded_answer(command_folder: Path, case: dict[str, Any]):
    command = {name: case[name] for name in ("in", "run")}
    files_before = files(command_folder)

    assert command | answer_of(case["run"]) == case
    assert case["code"] != 2 or files(command_folder) == files_before, "a refused command must not write files"
