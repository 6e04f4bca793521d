"""Comparison of the native engine with torch: gradients and predictions for each instruction set."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from harness.spaces.modules import FastDropout
from harness.spaces.network import MNIST, Architecture
from harness.spaces.posed import PosedLinear
from harness.system.machine import processor_flags
from harness.training.native import engine as engine_module
from harness.training.native.driver import NativeProgram, _check_images, _engine_tensors, _flat
from harness.training.native.engine import _LEVELS, Engine, _Level
from harness.training.recipe import Recipe
from harness.training.torch_network import Images, _draw_first_weights, build, state_tensors
from tests.factories import DEVIATION, MEAN, make_images

CPU = torch.device("cpu")
HERE = [item for item in _LEVELS if item.needs <= processor_flags()]
# Only fp32 builds have products in bf16; in float64 the code of this instruction set equals the code of the next.
HERE_IN_FLOAT64 = [item for item in HERE if not item.name.endswith("bf16")]
# The default tests compile the best instruction set, the nightly tests the best two, the slow tests all.
_MARKS: tuple[list[pytest.MarkDecorator], ...] = ([], [pytest.mark.nightly], [pytest.mark.slow])
ON_EACH_LEVEL = pytest.mark.parametrize(
    "level",
    [pytest.param(item, id=item.name, marks=marks) for item, marks in zip(HERE_IN_FLOAT64, _MARKS, strict=False)],
)


def reference(network: nn.Module, images: Images, smoothing: float) -> tuple[float, Tensor]:
    """Return loss and gradients by torch, in float64, with the gradients of all parameters flat."""
    network.train()
    values = (images.pixels.double() / 255 - MEAN) / DEVIATION
    loss = functional.cross_entropy(network(values), images.labels, label_smoothing=smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    parts = [torch.zeros_like(item) if item.grad is None else item.grad for item in network.parameters()]
    return loss.item(), torch.cat([part.reshape(-1) for part in parts])


def check_against_torch(architecture: Architecture, batch: int, engine: Engine) -> None:
    """Check loss, gradients and predictions of a batch against torch, in float64."""
    images, recipe = make_images(batch), Recipe(batch_size=batch, label_smoothing=0.1)
    torch.manual_seed(1)
    network = build(architecture, MNIST).double()
    _draw_first_weights(network, Recipe(initialisation="kaiming"))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    for module in network.modules():
        if isinstance(module, FastDropout):
            module.p = 0.0
        elif isinstance(module, PosedLinear):
            # The weights of poses are zero at first.
            module.weight.data = torch.randn_like(module.weight)
        elif isinstance(module, _BatchNorm):
            # Random statistics, which no batch has, reveal statistics of a wrong BN.
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean += torch.randn(module.num_features, dtype=torch.float64)
            module.running_var *= 0.5 + torch.rand(module.num_features, dtype=torch.float64)
    program = NativeProgram(engine, architecture, recipe, make_images(1))

    # Only the engine's copy of the state gets new running statistics, not the network. The first call fills the memory
    # of the engine with gradients of earlier images, which the second call must overwrite.
    earlier_images = make_images(batch, seed=3)
    gradients(program, network, earlier_images.pixels, earlier_images.labels)
    loss, gradient = gradients(program, network, images.pixels, images.labels)
    expected_loss, expected = reference(network, images, 0.1)

    assert loss == pytest.approx(expected_loss, rel=1e-9)
    assert (gradient - expected).abs().max() <= 1e-8 * max(1.0, float(expected.abs().max()))
    network.eval()
    new_images = make_images(batch + 3, seed=2)
    logits = network((new_images.pixels.double() / 255 - MEAN) / DEVIATION)
    outputs = program.predict(network, state_tensors(network), new_images.pixels)
    assert outputs.argmax(1).tolist() == logits.argmax(1).tolist()
    assert torch.allclose(outputs, logits, rtol=1e-6, atol=1e-8)


def in_float64(level: _Level = HERE_IN_FLOAT64[0]) -> Engine:
    """Return an engine in float64, compiled with -Og, because better optimisation would take longer than the tests."""
    return engine_module.load(level, is_double=True, extra=("-Og",))


def gradients(native: NativeProgram, network: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Return the loss and the gradients of all parameters, flat, for a batch of images."""
    _check_images(pixels, labels, native.task)
    if len(labels) != native.recipe.batch_size:
        raise AssertionError(f"{len(labels)} images are no batch of {native.recipe.batch_size}")
    state = _flat(_engine_tensors(network), native.number_type)
    gradient = torch.empty(native.program.parameter_count, dtype=state.dtype)
    loss: float = native.engine.library.engine_gradients(
        native.pointer,
        pixels.data_ptr(),
        labels.data_ptr(),
        ctypes.byref(native.settings),
        state.data_ptr(),
        gradient.data_ptr(),
    )
    return loss, gradient
