"""What all tests share: one thread, repeatable random examples, and the folders that tests may use."""

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

# Whoever started the tests in the background may have made them ignore Ctrl-C, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Read by the libraries when they are first imported, so set before any test imports torch or numpy:
# results do not depend on the thread count, and two test runs do not fight for the cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
# Waiting for a disk takes a great part of the time of tests that write databases and studies. So they write to memory,
# where there is enough of it and programs may be run from there.
MEMORY = "/dev/shm"
if "TMPDIR" not in os.environ and os.path.isdir(MEMORY):
    found = os.statvfs(MEMORY)
    if not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > 4 * 2**30:
        os.environ["TMPDIR"] = tempfile.tempdir = MEMORY
# Hypothesis keeps character tables on disk even without a database of examples.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(REPOSITORY / ".pytest_cache" / "hypothesis"))

# Tests have caches of their own, and the engine takes seconds to compile.
os.environ.setdefault("HARNESS_ENGINE_CACHE", str(REPOSITORY / ".pytest_cache" / "engine"))

import numpy as np  # noqa: E402  (reads the number of threads set above)
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402  (it reads the variable above)

from harness.system.files import Workspace  # noqa: E402
from tests import random_networks  # noqa: E402, F401  (st.from_type(Architecture) gives what it registers)

settings.register_profile("harness", max_examples=25, derandomize=True, deadline=None, database=None)
settings.load_profile("harness")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: a test that waits for a child or a disk leaves its core idle."""
    return len(os.sched_getaffinity(0)) + 1


# The tests of a file run in a single process, so the longest files begin first: at the end they would run alone.
LONGEST_FILES = (
    "harness/training/test_executors.py",
    "harness/training/test_ray.py",
    "harness/deployment/test_equality.py",
    "golden/test_commands.py",
    "harness/interface/test_estimator_protocol.py",
    "harness/training/native/test_native_tiles.py",
    "harness/training/native/test_native_training.py",
    "harness/interface/test_estimator.py",
    "harness/searching/test_search_processes.py",
    "harness/interface/test_guest.py",
    "reports/test_browser.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest files to the front."""
    position = {REPOSITORY / "tests" / name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: position.get(item.path, len(position)))


def example(name: str) -> ModuleType:
    """Return a program of ``examples`` as a module."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the four MNIST files, as ``--data`` takes it."""
    value = os.environ.get("HARNESS_DATA")
    if not value:
        pytest.skip("HARNESS_DATA does not name a folder with MNIST")
    folder = Path(value).resolve()
    if not any((folder / "MNIST" / "raw").glob("train-images-idx3-ubyte*")):
        pytest.skip(f"HARNESS_DATA names {folder}, which has no MNIST/raw/train-images-idx3-ubyte[.gz]")
    return folder


@pytest.fixture(scope="session")
def seed_documents() -> dict[str, Any]:
    """The layer tables and the toy of the five source documents, as printed there."""
    value = os.environ.get("HARNESS_SHARED_SEEDS")
    if not value:
        pytest.skip("HARNESS_SHARED_SEEDS does not name the folder of seeds.json")
    documents: dict[str, Any] = json.loads((Path(value) / "seeds.json").read_text(encoding="utf-8"))
    return documents


@pytest.fixture(scope="session", autouse=True)
def _nothing_shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests know no network but their own, unless they ask for ``shipped``."""
    from harness.system import files

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "SHIPPED", tmp_path_factory.mktemp("nothing"))
        yield


@pytest.fixture(autouse=True)
def _seeded_generators() -> None:
    """Start the global generators from the same seed in each test, whichever tests ran before in the same process."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Path:
    """What comes with the program."""
    from harness.system import files

    monkeypatch.setattr(files, "SHIPPED", REPOSITORY / "harness" / "evidence" / "shipped")
    return files.SHIPPED


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, which is the current folder too."""
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def place(workspace: Path) -> Workspace:
    """The same, as the program knows it."""
    return Workspace(workspace)
