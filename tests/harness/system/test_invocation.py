"""Tests of how a hint names this program."""

from __future__ import annotations

import pytest

from harness.system.errors import typed


def test_a_command_is_typed_as_the_program_was_called(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HARNESS_COMMAND", raising=False)
    assert typed("explain", "gap | linear(10)") == "harness explain 'gap | linear(10)'"

    monkeypatch.setenv("HARNESS_COMMAND", "./scripts/harness")
    assert typed("doctor") == "./scripts/harness doctor"
