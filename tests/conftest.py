"""Settings and fixtures of all tests: a single thread, reproducible random examples, and folders for tests."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# Background jobs of a shell ignore SIGINT, and child processes inherit this setting; some tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Libraries read these variables at import, so the variables are set before torch and numpy are imported. With a single
# thread, results do not depend on the number of threads, and parallel test runs do not compete for cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
# Tests that write databases and studies spend much of their time waiting for the disk. Temporary folders are therefore
# in memory, if enough memory is free and programs can be executed from there.
MEMORY = "/dev/shm"
if "TMPDIR" not in os.environ and os.path.isdir(MEMORY):
    space = os.statvfs(MEMORY)
    if not space.f_flag & os.ST_NOEXEC and space.f_bavail * space.f_frsize > 4 * 2**30:
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY
# Hypothesis writes character tables to disk, even without a database of examples.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(REPOSITORY / ".pytest_cache" / "hypothesis"))

# Compiling the engine takes seconds, so test runs share a cache, which is separate from the user's cache.
os.environ.setdefault("HARNESS_ENGINE_CACHE", str(REPOSITORY / ".pytest_cache" / "engine"))

import numpy as np  # noqa: E402  (reads the variables above)
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402  (reads the variable above)

from harness.system.files import Workspace  # noqa: E402
from tests import browser, random_networks  # noqa: E402, F401  (random_networks registers strategies for st.from_type)

settings.register_profile("harness", max_examples=25, derandomize=True, deadline=None, database=None)
settings.load_profile("harness")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return the number of cores plus one: a test that waits for a child process or a disk leaves a core idle."""
    return len(os.sched_getaffinity(0)) + 1


# The tests of a file run in a single process. The longest files start first; at the end, all but one process would
# wait for a long file.
LONGEST_FILES = (
    "harness/training/test_executors.py",
    "harness/cluster/test_ray.py",
    "harness/exports/test_equality.py",
    "golden/test_commands.py",
    "harness/interface/test_estimator_protocol.py",
    "harness/training/native/test_native_tiles.py",
    "harness/training/native/test_native_training.py",
    "harness/interface/test_estimator.py",
    "harness/searching/test_search_processes.py",
    "harness/interface/test_guest.py",
    "harness/pages/test_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    position = {REPOSITORY / "tests" / name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: position.get(item.path, len(position)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed the global generators before the fixtures of each test, so that a test does not depend on earlier tests."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """Folder of the four MNIST files, as an argument of ``--data``."""
    value = os.environ.get("HARNESS_DATA")
    if not value:
        pytest.skip("HARNESS_DATA does not name a folder with MNIST")
    folder = Path(value).resolve()
    if not any((folder / "MNIST" / "raw").glob("train-images-idx3-ubyte*")):
        pytest.skip(f"HARNESS_DATA names {folder}, which has no MNIST/raw/train-images-idx3-ubyte[.gz]")
    return folder


@pytest.fixture(scope="session")
def seed_documents() -> dict[str, Any]:
    """Layer tables and toy example of the five source documents, as printed in the documents."""
    value = os.environ.get("HARNESS_SHARED_SEEDS")
    if not value:
        pytest.skip("HARNESS_SHARED_SEEDS does not name the folder of seeds.json")
    documents: dict[str, Any] = json.loads((Path(value) / "seeds.json").read_text(encoding="utf-8"))
    return documents


@pytest.fixture(scope="session", autouse=True)
def _without_shipped_evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Hide the shipped evidence from tests that do not use the fixture ``shipped``.

    Seeds that began before declarations existed, as of most test records, need no declaration, except with the fixture
    ``undeclared_by_name``.
    """
    from harness.evidence import leaderboard_table
    from harness.system import files

    def count(record: Any) -> int:
        return max((run.index + 1 for run in record.seeds if run.started_utc < "2026-11-21T20:26:12+00:00"), default=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "SHIPPED", tmp_path_factory.mktemp("nothing"))
        count_by_name = leaderboard_table._undeclared_count
        patch.setattr(leaderboard_table, "_undeclared_count", count)
        yield count_by_name


@pytest.fixture
def undeclared_by_name(_without_shipped_evidence: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the named rows of the shipped evidence lack declarations."""
    from harness.evidence import leaderboard_table

    monkeypatch.setattr(leaderboard_table, "_undeclared_count", _without_shipped_evidence)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the shipped evidence (leaderboard, records, weights), and return the folder."""
    from harness.system import files

    monkeypatch.setattr(files, "SHIPPED", REPOSITORY / "harness" / "evidence" / "shipped")
    return files.SHIPPED


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def home(workspace: Path) -> Workspace:
    return Workspace(workspace)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """Return a browser page that all tests share, because a browser takes seconds to start."""
    with browser.started(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def tab(chromium: browser.Page) -> Iterator[browser.Page]:
    """Return the browser page, and fail if the console has messages after the test."""
    chromium.complaints.clear()
    yield chromium
    assert chromium.complaints == []
