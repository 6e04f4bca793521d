"""Tests of what the system says of the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.system import processor


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
    monkeypatch.setattr(processor, "INFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")

    assert processor.processor_flags() == flags


@pytest.mark.parametrize(
    ("text", "name"),
    [("processor\t: 0\nmodel name\t: A Processor 9000 @ 2.00GHz\n", "A Processor 9000 @ 2.00GHz"), ("", "unknown")],
)
def test_the_model_is_the_one_that_the_system_names(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processor, "INFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")

    assert processor.processor_name() == name
