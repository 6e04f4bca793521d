"""The processor, and the number of available cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.system import machine


@pytest.mark.parametrize(
    ("text", "flags", "name"),
    [
        ("flags\t\t: fpu avx2\nmodel name\t: A 9 @ 2GHz\nflags\t: fpu\n", "fpu avx2", "A 9 @ 2GHz"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", "fp asimd", "unknown"),
        ("model name\t: flagship\n", "", "flagship"),
        (None, "", "unknown"),
    ],
)
def test_processor_flags_and_name_are_read_from_cpuinfo(
    text: str | None, flags: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "_INFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert machine.processor_flags() == set(flags.split())
    assert machine.processor_name() == name


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("350000 100000", 3), ("50000 100000", 1), ("1600000 100000", 8), ("", 8), (None, 8)],
)
def test_core_count_is_limited_by_quota_of_container(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota, encoding="utf-8")
    assert machine.core_count() == cores
