"""Tests of which engine trains what is asked for."""

from __future__ import annotations

import pytest
import torch

from harness.system.errors import DeviceError, UsageError
from harness.training.native import native as engine_choice
from harness.training.native.native import Choice, EngineUnavailable, choose_engine
from harness.training.recipe import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_an_unknown_engine_is_an_error_that_names_the_nearest():
    with pytest.raises(UsageError, match="allowed are auto, native, torch") as got:
        choose_engine("nativ", Recipe(), CPU)
    assert got.value.hint is not None
    assert "native" in got.value.hint


def test_the_native_engine_is_an_error_where_it_is_asked_for_and_cannot_train(monkeypatch: pytest.MonkeyPatch):
    def missing() -> None:
        raise EngineUnavailable("no compiler")

    monkeypatch.setattr(engine_choice, "load", missing)

    assert choose_engine("auto", Recipe(), CPU) == Choice(None, "no compiler")
    with pytest.raises(DeviceError, match="the native engine cannot train this: no compiler"):
        choose_engine("native", Recipe(), CPU)


def test_it_trains_on_processors_only():
    assert choose_engine("auto", Recipe(), torch.device("meta")) == Choice(None, "it runs on processors, not on meta")
