"""An honest workspace, made once, and a copy of it for each test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.system import files
from harness.system.files import Workspace
from tests.verifications import inhabit


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace, which nobody may change."""
    with pytest.MonkeyPatch.context() as patch:
        return inhabit(tmp_path_factory.mktemp("honest"), patch)


@pytest.fixture
def inhabited(honest: Workspace, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of it, which may be changed, as if it came with the program."""
    shutil.copytree(honest.root, workspace, dirs_exist_ok=True)
    monkeypatch.setattr(files, "SHIPPED", workspace / "runs")
    return Workspace(workspace)
