"""Settings of the calling program: no effect on results, and unchanged by each call."""

from __future__ import annotations

import decimal
import itertools
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.backends import cudnn, mha, mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import harness
from harness.spaces.space_errors import SearchSpaceError
from harness.system.errors import HarnessError
from harness.training.torch_network import state_tensors
from tests.fakes import train_in_this_process

NETWORK = "conv3x3(2) bn relu | conv1x1(2) | gap | linear(3)"
ROUNDS = 200
_DETERMINISTIC: Any = torch.utils.deterministic  # the type stubs lack the attribute


class _FunctionMode(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        return function(*arguments, **(keywords or {}))


class _DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        return function(*arguments, **(keywords or {}))


@contextmanager
def _set(read: Callable[[], Any], write: Callable[[Any], object], value: Any) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def _attribute(owner: Any, name: str, value: Any) -> Any:
    return _set(partial(getattr, owner, name), partial(setattr, owner, name), value)


def _precision(*words: str, value: str) -> Any:
    read = partial(torch._C._get_fp32_precision_getter, *words)
    return _set(read, partial(torch._C._set_fp32_precision_setter, *words), value)


@contextmanager
def _default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def _flushed() -> Iterator[None]:
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _errors_of_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _double(module: nn.Module, _: Any, output: Any) -> Any:
    return 2 * output if module.training else output  # hooks remain during a forward pass of the caller


def _clear(optimizer: torch.optim.Optimizer, *_: object) -> None:
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.data.zero_()


@contextmanager
def _hook(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


_dtype = partial(_set, torch.get_default_dtype, torch.set_default_dtype)
_debug_mode = partial(_set, torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode)
SETTINGS: dict[str, Callable[[], Any]] = {
    "float64": lambda: _dtype(torch.float64),
    "float16": lambda: _dtype(torch.float16),
    "default device meta": lambda: _default_device("meta"),
    "default device cpu": lambda: _default_device("cpu"),
    "device meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast without cache": lambda: torch.autocast("cpu", dtype=torch.float16, cache_enabled=False),
    "autocast cuda": lambda: _set(
        partial(torch.is_autocast_enabled, "cuda"), partial(torch.set_autocast_enabled, "cuda"), True
    ),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "deterministic": lambda: _debug_mode(2),
    "deterministic, warnings": lambda: _debug_mode(1),
    "fill": lambda: _attribute(_DETERMINISTIC, "fill_uninitialized_memory", False),
    "mkldnn": lambda: _attribute(mkldnn, "enabled", False),
    "mkldnn deterministic": lambda: _attribute(mkldnn, "deterministic", True),
    "precision": lambda: _set(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "precision of mkldnn": lambda: _precision("mkldnn", "conv", value="bf16"),
    "precision of cudnn": lambda: _precision("cuda", "conv", value="ieee"),
    "precision of all": lambda: _precision("generic", "all", value="tf32"),
    "nnpack": lambda: _set(torch._C._get_nnpack_enabled, torch._C._set_nnpack_enabled, False),
    "cudnn": lambda: _attribute(cudnn, "benchmark", True),
    "attention": lambda: sdpa_kernel(SDPBackend.MATH),
    "attention in modules": lambda: _set(mha.get_fastpath_enabled, mha.set_fastpath_enabled, False),
    "anomaly": lambda: _set(torch.is_anomaly_enabled, torch.set_anomaly_enabled, True),
    "threads": lambda: _set(torch.get_num_threads, torch.set_num_threads, 2),
    "denormal numbers": _flushed,
    "seed": lambda: _set(torch.random.get_rng_state, lambda state: torch.default_generator.manual_seed(5), None),
    "function mode": _FunctionMode,
    "dispatch mode": _DispatchMode,
    "saved tensors": lambda: torch.autograd.graph.saved_tensors_hooks(torch.clone, torch.zeros_like),
    "hook of modules": lambda: _hook(register_module_forward_hook(_double)),
    "hook of optimizers": lambda: _hook(register_optimizer_step_post_hook(_clear)),
    "flops": lambda: FlopCounterMode(display=False),
    "numpy errors": lambda: np.errstate(all="raise"),
    "numpy text": lambda: np.printoptions(precision=1, threshold=2),
    "warnings": _errors_of_warnings,
    "decimal": lambda: decimal.localcontext(prec=3),
    "recursion": lambda: _set(sys.getrecursionlimit, sys.setrecursionlimit, 2_000),
    "logging": lambda: _set(lambda: logging.root.manager.disable, logging.disable, logging.CRITICAL),
}


def _state() -> list[Any]:
    """Return the settings that a call must not change."""
    flags = [
        torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"),
        torch.is_autocast_cache_enabled(), torch.get_deterministic_debug_mode(), mkldnn.enabled, mkldnn.deterministic,
        _DETERMINISTIC.fill_uninitialized_memory, cudnn.benchmark, cudnn.deterministic,
        torch._C._get_nnpack_enabled(), torch._C._get_math_sdp_enabled(), torch._C._get_flash_sdp_enabled(),
        mha.get_fastpath_enabled(), torch.is_anomaly_enabled(), torch.get_num_threads(),
        sys.float_info.min * sys.float_info.epsilon, torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(), np.geterr(), np.get_printoptions(), [*warnings.filters],
        decimal.getcontext().prec, sys.getrecursionlimit(), logging.root.manager.disable,
        random.getstate(), repr(np.random.get_state()), torch.default_generator.get_state().tolist(),
    ]  # fmt: skip
    settings = [(backend, each) for backend in ("mkldnn", "cuda") for each in ("all", "conv", "rnn", "matmul")]
    return flags + [torch._C._get_fp32_precision_getter(*words) for words in [("generic", "all"), *settings]]


class _Module(nn.Module):
    """A module that the notation cannot express."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 3), nn.Linear(128, 3)

    def forward(self, images: Any) -> Any:
        return self.last(torch.erf(self.first(images)).flatten(1))


def _digest(module: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in state_tensors(module)]


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Callable[[], Any]]]:
    folder = tmp_path_factory.mktemp("settings")
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = generator.integers(0, 120, (240, 10, 10), np.uint8)
    for index, label in enumerate(labels):
        images[index, 3 * label : 3 * label + 3, 2:8] += np.uint8(60)
    # Made before the settings change, as by an import of the caller.
    inputs = torch.from_numpy(images[:20])
    modules = [_Module(), _Module().double()]
    wrong_module = nn.Conv2d(2, 1, 3)
    numbers = itertools.count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKSPACE", str(folder))
        train_in_this_process(patch)
        data: Any = harness.Data.from_arrays("bars", images, labels)
        harness.verify(NETWORK, 2, dataset=data, recipe="smoke", target_pct=5, engine="torch", workers=1)
        loaded = harness.load(NETWORK, dataset=data)

        def train(engine: str) -> Any:
            run = harness.train(NETWORK, data, epochs=2, engine=engine)
            return run.result.weights_sha256, run.accuracy_pct, _digest(run.module.network)

        def export(form: str) -> Any:
            path = folder / str(next(numbers)) / form
            path.parent.mkdir()
            with pytest.MonkeyPatch.context() as without_compilers:
                without_compilers.setenv("PATH", "")  # emulators of chips take seconds
                harness.export(NETWORK, **{form: path}, dataset=data)  # type: ignore[arg-type]
            paths = [path, *sorted(path.rglob("*"))]
            return [each.read_bytes() for each in paths if each.is_file()]

        def explain(module: nn.Module) -> Any:
            return harness.explain(module, input_shape=(1, 10, 10), classes=3).document()

        def fail() -> Any:
            messages = []
            for bad in ("conv3x3(", wrong_module):
                with pytest.raises((HarnessError, SearchSpaceError)) as error:
                    harness.explain(bad, input_shape=(1, 10, 10), classes=3)
                messages.append(str(error.value))
            return messages

        yield {
            "torch": lambda: train("torch"),
            "native": lambda: train("native"),
            "evaluate": lambda: harness.evaluate(NETWORK, dataset=data).wrong,
            "load": lambda: _digest(harness.load(NETWORK, dataset=data)),
            "forward": lambda: loaded(inputs).detach().numpy().tobytes(),
            "read": lambda: harness.Data.from_arrays("bars", images / 255, labels).sha256,
            "fail": fail,
            "explain": lambda: [explain(each) for each in modules],
            "count": lambda: harness.explain(NETWORK, torch=True, input_shape=(1, 10, 10), classes=3).document(),
            "safetensors": lambda: export("safetensors"),
            "c": lambda: export("c"),
            "pytorch": lambda: export("pytorch"),
            "onnx": lambda: export("onnx"),
        }  # fmt: skip


def _differences(operations: dict[str, Callable[[], Any]], rounds: list[tuple[str, list[str]]]) -> list[Any]:
    expected = {name: operations[name]() for name in {name for name, _ in rounds}}
    faults: list[Any] = []
    for name, settings in rounds:
        with ExitStack() as stack:
            for setting in settings:
                stack.enter_context(SETTINGS[setting]())
            before = _state()
            try:
                result = operations[name]()
            except Exception as error:
                result = error
            changed = [index for index, pair in enumerate(zip(before, _state(), strict=True)) if pair[0] != pair[1]]
        if changed or result != expected[name]:
            faults.append((name, settings, changed, result if isinstance(result, Exception) else "differs"))
    return faults


def test_no_setting_of_the_caller_changes_a_result_or_is_changed(operations: dict[str, Callable[[], Any]]):
    generator = random.Random(0)
    # Exports to ONNX and PyTorch take seconds: nightly only.
    names = [*["torch"] * 90, *["native"] * 30, *["evaluate", "load", "forward", "read"] * 15, *["fail", "explain"] * 8]
    names += ["count", *["safetensors", "c"] * 20]
    rounds = [(name, generator.sample([*SETTINGS], generator.randint(1, 6))) for name in names]
    rounds += [("torch", [setting]) for setting in SETTINGS]

    assert len(rounds) >= ROUNDS
    faults = _differences(operations, rounds)
    assert not faults, "\n".join(map(repr, faults))


@pytest.mark.nightly
def test_no_setting_of_the_caller_changes_any_operation(operations: dict[str, Callable[[], Any]]):
    generator = random.Random(1)
    rounds = [(name, generator.sample([*SETTINGS], generator.randint(1, 8))) for name in operations for _ in range(8)]

    assert _differences(operations, rounds) == []
