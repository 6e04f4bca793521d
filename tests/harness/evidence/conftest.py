"""A workspace with consistent evidence, and a copy for each test that changes files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.system import files
from harness.system.files import Workspace
from tests.verifications import create_evidence


@pytest.fixture(scope="session")
def consistent_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two verifications and a certification, run without training; tests must not change these files."""
    with pytest.MonkeyPatch.context() as patch:
        return create_evidence(tmp_path_factory.mktemp("consistent"), patch)


@pytest.fixture
def store(consistent_workspace: Workspace, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of ``consistent_workspace`` that tests may change, also used as the shipped evidence."""
    shutil.copytree(consistent_workspace.root, workspace, dirs_exist_ok=True)
    monkeypatch.setattr(files, "SHIPPED", workspace / "runs")
    return Workspace(workspace)
