"""What a machine says of itself when it joins."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import torch

from harness.system.errors import DeviceError
from harness.training.cluster import node as facts
from harness.training.cluster.node import facts_here
from harness.training.cluster.roster import _same_kind
from harness.training.native import native
from tests.conftest import REPOSITORY
from tests.harness import clustered


def test_a_machine_is_of_its_own_kind_however_many_threads_the_asking_process_has():
    before = torch.get_num_threads()
    one = facts_here("cpu", "torch", "d")
    torch.set_num_threads(before + 1)
    try:
        assert _same_kind(one, facts_here("cpu", "torch", "d"))
    finally:
        torch.set_num_threads(before)


def test_the_commit_is_that_of_the_checkout():
    answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip("not a git checkout")
    assert facts_here("cpu", "torch", "d").environment.commit == answer.stdout.strip()


def test_other_code_has_another_hash(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(facts, "_ROOT", tmp_path)
    hashed = facts._code_sha256.__wrapped__

    first = hashed()
    (tmp_path / "harness" / "notes.txt").write_text("no code")
    assert hashed() == first
    (tmp_path / "harness" / "a.py").write_text("x = 2\n")
    assert hashed() != first


def test_a_machine_without_a_compiler_says_so_where_the_native_engine_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    def none() -> None:
        raise native.EngineUnavailable("no C++ compiler found")

    monkeypatch.setattr(native, "load", none)

    assert facts_here("cpu", "native", "d").fault == "no C++ compiler found"
    assert facts_here("cpu", "auto", "d").fault == ""
    assert facts_here("cpu", "torch", "d").environment.engine == "torch"


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(DeviceError):
        facts_here("cuda:99", "torch", "d")


@pytest.mark.parametrize(
    ("field", "same"),
    [("commit", True), ("dirty", True), ("instructions", False), ("engine", False), ("python", False)],
)
def test_a_kind_is_what_decides_the_bits(field: str, same: bool):
    other = clustered.facts(**{field: "other"})
    assert _same_kind(clustered.OURS, other) is same
    assert not _same_kind(clustered.OURS, replace(other, processor="another"))
