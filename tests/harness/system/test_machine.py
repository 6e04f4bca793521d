"""Tests of what the system says of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.system import machine


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2\nprocessor\t: 1\nflags\t\t: fpu avx2\n", {"fpu", "avx2"}),
        ("processor\t: 0\nFeatures\t: fp asimd\n", {"fp", "asimd"}),
        ("model name\t: flagship\n", set()),
        (None, set()),
    ],
)
def test_flags_are_those_that_the_system_names(
    text: str | None, flags: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "_INFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")

    assert machine.processor_flags() == flags


@pytest.mark.parametrize(
    ("text", "name"),
    [("processor\t: 0\nmodel name\t: A Processor 9000 @ 2.00GHz\n", "A Processor 9000 @ 2.00GHz"), ("", "unknown")],
)
def test_the_model_is_the_one_that_the_system_names(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "_INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")

    assert machine.processor_name() == name


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 8),
        ("350000 100000", 3),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("100000 0", 8),
        (None, 8),
    ],
)
def test_no_more_cores_are_used_than_a_container_s_quota_pays_for(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "cores_shown", lambda: 8)
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota, encoding="utf-8")

    assert machine.core_count() == cores
