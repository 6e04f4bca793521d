"""Tests of which engine trains what is asked for."""

from __future__ import annotations

import pytest
import torch

from harness.engine import cuda_kernel, engine_choice
from harness.engine.cuda_kernel import Compiler
from harness.engine.engine_choice import Choice, choose_engine
from harness.engine.native import EngineUnavailable
from harness.errors import DeviceError, UsageError
from harness.training.recipe import Precision, Recipe
from search_spaces.architecture import Architecture
from search_spaces.notation import parse_network

NETWORK = parse_network("conv3x3(4) bn relu gap linear(10)")
POSED = parse_network("conv3x3(4, poses=4) bn relu gap linear(10)")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
ONLY_SEEDS = "it trains the seeds of a verification without --certify, and nothing else so far"


@pytest.fixture(autouse=True)
def _nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_kernel, "compiler", lambda: Compiler(None, "12.9"))


def test_an_unknown_engine_is_an_error_that_names_the_nearest():
    with pytest.raises(UsageError, match="allowed are auto, native, persistent, torch") as got:
        choose_engine("persistant", Recipe(), CPU)

    assert got.value.hint is not None
    assert "persistent" in got.value.hint


def test_nothing_chooses_the_persistent_engine_by_itself():
    assert choose_engine("auto", Recipe(), GPU, side_by_side=NETWORK).kind == "torch"


def test_the_persistent_engine_trains_seeds_side_by_side_on_a_gpu():
    found = choose_engine("persistent", Recipe(), GPU, side_by_side=NETWORK)

    assert (found.kind, found.engine, found.why) == ("persistent", None, "")


@pytest.mark.parametrize(
    ("recipe", "device", "side_by_side", "why"),
    [
        (Recipe(), GPU, None, ONLY_SEEDS),
        (Recipe(), CPU, NETWORK, "it runs on CUDA devices, not on cpu"),
        (Recipe(), GPU, POSED, "it knows no poses, and the network has some"),
        (Recipe(precision=Precision.BF16), GPU, NETWORK, "it computes in fp32, and the recipe asks for bf16"),
    ],
)
def test_where_it_cannot_train_torch_does_and_says_why(
    recipe: Recipe, device: torch.device, side_by_side: Architecture | None, why: str
):
    found = choose_engine("persistent", recipe, device, side_by_side=side_by_side)

    assert (found.kind, found.why, found.wanted) == ("torch", why, "persistent")


def test_without_nvrtc_torch_trains(monkeypatch: pytest.MonkeyPatch):
    def missing() -> Compiler:
        raise DeviceError("NVRTC is not here")

    monkeypatch.setattr(cuda_kernel, "compiler", missing)

    assert choose_engine("persistent", Recipe(), GPU, side_by_side=NETWORK) == Choice(
        None, "NVRTC is not here", "persistent"
    )


def test_the_native_engine_is_an_error_where_it_is_asked_for_and_cannot_train(monkeypatch: pytest.MonkeyPatch):
    def missing() -> None:
        raise EngineUnavailable("no compiler")

    monkeypatch.setattr(engine_choice, "load", missing)

    assert choose_engine("auto", Recipe(), CPU) == Choice(None, "no compiler")
    with pytest.raises(DeviceError, match="the native engine cannot train this: no compiler"):
        choose_engine("native", Recipe(), CPU)
