"""Tests of the facts of a machine that stand beside a measurement."""

from __future__ import annotations

import platform

import torch

from benchmarks.machine import machine


def test_a_machine_is_its_parts_and_not_its_name():
    found = machine()

    assert list(found) == ["processor", "instructions", "cores", "python", "torch", "compiler", "commit", "dirty"]
    assert found["cores"] >= 1
    assert (found["python"], found["torch"]) == (platform.python_version(), torch.__version__)
    assert found["instructions"].startswith(platform.machine())
    assert found["compiler"]
    assert platform.node() not in [str(value) for value in found.values()]
