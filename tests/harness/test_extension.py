"""The package of docs/use/extending.md, installed: command, format, observer and cluster; broken packages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import harness
from harness.cli import run
from harness.system import doors
from tests.conftest import REPOSITORY

SPACE = "net = conv3x3({2, 3}, stride=2) bn relu | maxpool(4) | gap | linear(10);"
SEARCH = ("search", "mnist-5k", "--space", "@few.space", "--recipe", "smoke", "--target", "5", "--trials", "1")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Return a function that installs a package for the test: the text of the module, and of pyproject.toml."""

    def installed(module: str, project: str) -> None:
        facts = tomllib.loads(project)["project"]
        (folder / f"{facts['name'].replace('-', '_')}.py").write_text(module)
        metadata = folder / f"{facts['name']}-{facts['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {facts['name']}\nVersion: {facts['version']}")
        lines = []
        for group, points in facts["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines))

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    doors._entry_points.cache_clear()
    yield installed
    doors._entry_points.cache_clear()


def test_package_of_the_documentation_adds_all_four(
    install: Callable[[str, str], None], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    (page,) = (REPOSITORY / "docs").rglob("extending.md")
    [module, _], [project] = (
        re.findall(rf"```{kind}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL) for kind in ("python", "toml")
    )
    install(module, project)
    (workspace / "few.space").write_text(SPACE)

    assert run(["reverse", "one", "two"]) == 0
    assert capsys.readouterr().out == "two one\n"
    assert run(["--help"]) == 0
    assert "  reverse      Print the words in reverse order.\n" in capsys.readouterr().out.partition("Further:")[2]
    assert run([*SEARCH, "--study", "mine", "--log", "journal", "--cluster", "machine://1"]) in (0, 3)
    events = (workspace / "runs" / "mine" / "journal.txt").read_text().split()
    assert {"SessionBegan", "Proposal", "RunEnded", "SessionEnded"} <= {*events}
    network = "conv3x3(2) | gap | linear(10)"
    target = workspace / "net.txt"
    exported = harness.export(network, formats={"notation": target}, dataset="mnist-5k", recipe="smoke")
    assert target.read_text() == network
    assert exported.facts["files"][0]["characters"] == len(network)


def test_unknown_names_are_refused_with_the_known_names(workspace: Path, capsys: pytest.CaptureFixture[str]):
    for option, name, known in (("--log", "jurnal", "tensorboard"), ("--cluster", "slurm://main", "ray")):
        assert run([*SEARCH, "--space", "tiny", option, name]) == 2
        assert known in capsys.readouterr().err


def test_broken_package_breaks_no_other_command(
    install: Callable[[str, str], None], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    project = '[project]\nname = "broken"\nversion = "1"\nentry-points."harness.commands".fault = "broken:command"'
    install("import absent_library", project)

    assert run(["--help"]) == 0
    assert re.search(r"\n  fault +the command fault requires absent_library, which is", capsys.readouterr().out)
    assert run(["fault", "--option", "word"]) == 6
    error = "error: the command fault requires absent_library, which is not installed\nhint: install absent_library\n"
    assert capsys.readouterr().err == error


def test_objects_that_are_no_command_or_raise_are_errors_of_one_line(
    install: Callable[[str, str], None], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    project = (
        '[project]\nname = "broken"\nversion = "1"\n'
        'entry-points."harness.commands".number = "broken:NUMBER"\n'
        'entry-points."harness.observers".fault = "broken:fault"\n'
    )
    install("NUMBER = 3\n\ndef fault(state, say, address):\n    raise ValueError('no disk')\n", project)
    (workspace / "few.space").write_text(SPACE)

    assert run(["--help"]) == 0
    assert "  number       the command number is no click command\n" in capsys.readouterr().out
    assert run([*SEARCH, "--log", "fault"]) == 2
    assert "error: --log fault failed: ValueError: no disk\n" in capsys.readouterr().err
