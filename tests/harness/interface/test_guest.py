"""Programs that call this one: in threads, in other libraries' processes, with their own settings; all stay as met."""

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
from harness.system.errors import HarnessError, UsageError
from harness.system.machine import handled, torch_of_caller
from harness.training.executors import processes
from tests import searches
from tests.fakes import without_processes

NETWORK = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"


def _in_a_thread(function: Any) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function).result()


def test_signals_are_handled_in_the_main_thread_alone_and_given_back():
    before = signal.getsignal(signal.SIGTERM)

    def inside() -> Any:
        with suppress(ZeroDivisionError), handled({signal.SIGTERM: signal.SIG_IGN}):
            heard.append(signal.getsignal(signal.SIGTERM))
            raise ZeroDivisionError

    heard = list[Any]()
    inside()
    _in_a_thread(inside)
    assert [*heard, signal.getsignal(signal.SIGTERM)] == [signal.SIG_IGN, before, before]


def test_a_search_works_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without_processes(monkeypatch)

    _in_a_thread(lambda: searches.run(tmp_path, searches.config(), searches.effort()))

    assert searches.events(tmp_path, "winner")


def test_torch_is_given_back_as_it_was(workspace: Path):
    torch.set_num_threads(2)
    try:
        drawn = torch.random.get_rng_state()
        with suppress(ZeroDivisionError), torch_of_caller():
            torch.set_num_threads(1)
            torch.manual_seed(5)
            raise ZeroDivisionError
        harness.train(NETWORK, "mnist-5k", recipe="smoke")
        harness.explain(NETWORK, torch=True)

        assert torch.get_num_threads() == 2
        assert torch.equal(torch.random.get_rng_state(), drawn)
    finally:
        torch.set_num_threads(1)


def test_listeners_end_with_a_search_that_fails(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: object) -> None:
        raise HarnessError("the machine is on fire")

    monkeypatch.setattr(loop, "run_search", fails)
    before = threading.active_count()
    with pytest.raises(HarnessError, match="on fire"):
        harness.search("mnist-5k", recipe="smoke", target_pct=90, on_event=print)
    assert threading.active_count() == before


def test_a_process_that_may_start_no_other_says_so_before_it_begins(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(vars(current_process())["_config"], "daemon", True)

    for function, arguments in ((harness.search, ("mnist-5k",)), (harness.verify, (NETWORK,))):
        with pytest.raises(UsageError, match="daemonic"):
            function(*arguments)
    assert not (workspace / "runs").exists()


def test_a_process_is_told_nothing_of_how_this_one_was_started(monkeypatch: pytest.MonkeyPatch):
    usual, told = spawn.get_preparation_data, list[dict[str, Any]]()

    def started(process: BaseProcess) -> None:
        told.extend([spawn.get_preparation_data("a"), _in_a_thread(lambda: spawn.get_preparation_data("b"))])

    monkeypatch.setattr(spawn, "get_start_method", lambda: "loky")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
    monkeypatch.setattr(SpawnProcess, "_Popen", staticmethod(started))
    vars(processes)["_Process"]._Popen(SpawnProcess())

    assert (told[0]["start_method"], "init_main_from_path" in told[0]) == ("spawn", False)
    # Those of another thread are somebody else's.
    assert (told[1]["start_method"], "init_main_from_path" in told[1]) == ("loky", True)
    assert spawn.get_preparation_data is usual


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
# One trial that was asked for, and four of the baselines.
@pytest.mark.parametrize(("way", "due"), [("searches", "5 5"), ("grid", "True")])
def test_a_script_may_call_it_from_anywhere(way: str, due: str, workspace: Path):
    (workspace / "mine.space").write_text("net = conv3x3({4, 6}) bn relu | maxpool(4) | gap | linear(10)")
    (workspace / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py", way], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == [due], done.stderr
