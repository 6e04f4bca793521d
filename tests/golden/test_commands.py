"""The contract of the command line: exit code, kind of error and keys of the JSON document of several hundred lines.

``commands.jsonl`` has a line a command: in which folder it is given, what is given, its exit code, and with ``--json``
the kind of error or the paths of all keys. The answer of a new line is what its test says that it is.
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
# What ends otherwise than with one study that has ended and a network that was verified on two seeds.
LIVED_IN = (
    "search --dataset mnist-5k --engine torch --device cpu --workers 1 --space @mine.space --recipe @quick.toml "
    "--target 5 --trials 2 --study pilot --prior none",
    f"verify '{NETWORK}' --dataset mnist-5k --engine torch --device cpu --workers 1 --recipe @quick.toml --target 5 "
    "--seeds 2",
)


def asked(line: str) -> tuple[int, str]:
    """Return the exit code of a command line in this process, and its stdout."""
    with CliRunner().isolation() as streams:
        code = cli.run(shlex.split(line))
        shown = streams[0].getvalue().decode()
    return code, shown


def answered(line: str) -> dict[str, Any]:
    """Return what a command line answers: exit code, and of its JSON document the kind of error or all keys."""
    code, shown = asked(line)
    answer: dict[str, Any] = {"code": code}
    if "--json" in shlex.split(line):
        document = json.loads(shown)
        answer |= {"kind": document["error"]["kind"]} if "error" in document else {"keys": sorted(paths(document))}
    return answer


def paths(value: Any, before: str = "") -> set[str]:
    """Return the paths of all keys of a document; a mapping whose keys are data counts as one of ``*``."""
    if isinstance(value, list):
        return {path for item in value for path in paths(item, f"{before}[]")}
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, item in value.items():
        name = f"{before}.{key if key.isidentifier() else '*'}".removeprefix(".")
        found |= {name} | paths(item, name)
    return found


def furnish(folder: Path, kind: str) -> None:
    """Make the folder in which lines are given: ``empty``, with the shipped ``evidence``, or ``lived`` in."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "pictures").mkdir()
    if kind == "evidence":
        shutil.copytree(REPOSITORY / "benchmarks" / "tables", folder / "benchmarks" / "tables")
    for line in LIVED_IN if kind == "lived" else ():
        assert asked(line)[0] in (0, 3)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders that were furnished, by kind; tests take copies."""
    return {}


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    furnished: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    kind = request.param
    if kind == "evidence":
        request.getfixturevalue("shipped")
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    # Whatever data sets this machine has.
    monkeypatch.setattr(training_images, "_SYSTEM", tmp_path_factory.mktemp("system"))
    train_in_this_process(monkeypatch)
    replay_in_this_process(monkeypatch)
    if kind not in furnished:
        furnished[kind] = tmp_path_factory.mktemp(kind)
        monkeypatch.setenv("HARNESS_WORKSPACE", str(furnished[kind]))
        monkeypatch.chdir(furnished[kind])
        furnish(furnished[kind], kind)
    copy = tmp_path_factory.mktemp("place") / "work"
    shutil.copytree(furnished[kind], copy)
    monkeypatch.setenv("HARNESS_WORKSPACE", str(copy))
    monkeypatch.chdir(copy)
    return copy


def files(folder: Path) -> set[Path]:
    """Return all files but locks."""
    return {path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(
    ("place", "case"),
    [(case["in"], case) for case in CASES],
    indirect=["place"],
    ids=[f"{case['in']}: {case['run']}" for case in CASES],
)
def test_a_command_line_answers_as_before(place: Path, case: dict[str, Any]):
    given = {name: case[name] for name in ("in", "run")}
    before = files(place)

    assert given | answered(case["run"]) == case
    assert case["code"] != 2 or files(place) == before, "what is refused writes nothing"
