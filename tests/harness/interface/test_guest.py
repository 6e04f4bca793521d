"""Calls from threads, from processes of libraries and with changed global settings, which are restored."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import spawn
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess, current_process
from pathlib import Path
from typing import Any

import pytest
import torch

import harness
from harness.searching import loop
from harness.system import clock, machine
from harness.system.errors import HarnessError, UsageError
from harness.system.interruption import handled
from harness.system.settings import fixed_settings
from tests import searches
from tests.fakes import without_processes

NETWORK = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"


def _run_in_thread(function: Any) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function).result()


def test_signals_are_handled_in_main_thread_and_restored():
    before = signal.getsignal(signal.SIGTERM)

    def read_handler() -> Any:
        with suppress(ZeroDivisionError), handled({signal.SIGTERM: signal.SIG_IGN}):
            handlers.append(signal.getsignal(signal.SIGTERM))
            raise ZeroDivisionError

    handlers = list[Any]()
    read_handler()
    _run_in_thread(read_handler)
    assert [*handlers, signal.getsignal(signal.SIGTERM)] == [signal.SIG_IGN, before, before]


def test_search_works_in_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without_processes(monkeypatch)

    _run_in_thread(lambda: searches.run(tmp_path, searches.config(), searches.effort()))

    assert searches.events(tmp_path, "winner")


def test_torch_settings_are_restored(workspace: Path):
    torch.set_num_threads(2)
    try:
        state = torch.random.get_rng_state()
        with suppress(ZeroDivisionError), fixed_settings():
            torch.set_num_threads(1)
            torch.manual_seed(5)
            raise ZeroDivisionError
        harness.train(NETWORK, "mnist-5k", recipe="smoke")
        harness.explain(NETWORK, torch=True)

        assert torch.get_num_threads() == 2
        assert torch.equal(torch.random.get_rng_state(), state)
    finally:
        torch.set_num_threads(1)


def test_listeners_end_with_failed_search(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    def raise_error(*_: object) -> None:
        raise HarnessError("the machine is on fire")

    monkeypatch.setattr(loop, "run_search", raise_error)
    clock.now()  # starts the thread of the clock
    before = threading.active_count()
    with pytest.raises(HarnessError, match="on fire"):
        harness.search("mnist-5k", recipe="smoke", target_pct=90, on_event=print)
    assert threading.active_count() == before


def test_daemonic_process_is_refused_before_start(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(vars(current_process())["_config"], "daemon", True)

    for function, arguments in ((harness.search, ("mnist-5k",)), (harness.verify, (NETWORK,))):
        with pytest.raises(UsageError, match="daemonic"):
            function(*arguments)
    assert not (workspace / "runs").exists()


def test_child_process_gets_no_main_module_and_start_method_spawn(monkeypatch: pytest.MonkeyPatch):
    original, preparations = spawn.get_preparation_data, list[dict[str, Any]]()

    def prepare(process: BaseProcess) -> None:
        preparations.extend([spawn.get_preparation_data("a"), _run_in_thread(lambda: spawn.get_preparation_data("b"))])

    monkeypatch.setattr(spawn, "get_start_method", lambda: "loky")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
    monkeypatch.setattr(SpawnProcess, "_Popen", staticmethod(prepare))
    machine.WorkerContext.Process._Popen(SpawnProcess())

    assert (preparations[0]["start_method"], "init_main_from_path" in preparations[0]) == ("spawn", False)
    # A different thread may start independent processes.
    assert (preparations[1]["start_method"], "init_main_from_path" in preparations[1]) == ("loky", True)
    assert spawn.get_preparation_data is original


SCRIPT = """
import sys
import numpy as np, harness
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV

def one(name):
    wanted = {"space": "@mine.space", "recipe": "smoke", "target_pct": 90, "trials": 1, "workers": 1}
    return len(harness.search("mnist-5k", study=name, **wanted).trials)

y = np.tile([-1, 1], 60)
X = np.random.default_rng(0).normal(size=(120, 8)) + 2 * y[:, None]
model = harness.SmallestClassifier(limits="parameters<=300", time="40s", workers=1)
grid = GridSearchCV(model, {"target": [0.6]}, cv=2, n_jobs=2, refit=False, error_score="raise", scoring="roc_auc")
match sys.argv[1]:
    case "searches":  # without a guard: a fresh process that ran this file would begin it anew
        print(one("here"), *Parallel(n_jobs=2)([delayed(one)("joblib")]))
    case "grid":
        print(grid.fit(X, y).best_score_ > 0.9)
"""


@pytest.mark.slow
# A requested trial and four baselines.
@pytest.mark.parametrize(("mode", "expected"), [("searches", "5 5"), ("grid", "True")])
def test_script_may_search_without_guard_and_in_grid_search(mode: str, expected: str, workspace: Path):
    (workspace / "mine.space").write_text("net = conv3x3({4, 6}) bn relu | maxpool(4) | gap | linear(10)")
    (workspace / "script.py").write_text(SCRIPT)
    process = subprocess.run([sys.executable, "script.py", mode], capture_output=True, text=True, check=False)

    assert process.stdout.splitlines() == [expected], process.stderr
