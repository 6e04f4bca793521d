"""Settings of the calling program on which results depend: set to fixed values for a block, then restored.

Settings of torch for the whole process have the fixed values while a block is active in any thread.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any, TypeAlias

_Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object], Any]  # to read, to set, and the fixed value
_ATTENTION = ("flash", "mem_efficient", "math", "cudnn")  # kernels
# Backend, operation and precision before the older interface of torch is set (``_settings``).
_PRECISIONS = (
    *("generic all none", "mkldnn all none", "mkldnn conv none", "mkldnn rnn none", "mkldnn matmul none"),
    *("cuda all none", "cuda matmul ieee", "cuda conv tf32", "cuda rnn tf32"),
)


@contextmanager
def fixed_settings(*, of_guest: bool = False) -> Iterator[None]:
    """Run the block with fixed settings of NumPy and torch, and restore the settings of the caller afterwards.

    The number of threads and the random state of torch and the verbosity of Optuna are restored, but not set.

    Args:
        of_guest: Whether the block is part of a computation of the caller, such as a forward pass, to which gradients,
            modes of torch and the random state are left.
    """
    with ExitStack() as stack:
        optuna = logging.getLogger("optuna")
        stack.callback(optuna.setLevel, optuna.level or logging.INFO)
        if "numpy" in sys.modules:
            import numpy

            stack.enter_context(numpy.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if "torch" in sys.modules:
            _fix_thread(stack, of_guest)
            stack.enter_context(_PROCESS)
        yield


def _fix_thread(stack: ExitStack, of_guest: bool) -> None:
    import torch
    from torch import nn
    from torch.optim import optimizer

    if not of_guest:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.inference_mode(False))  # also switches gradients on
        # The context manager of torch imports SymPy, which takes seconds.
        for modes, kind in ((torch.overrides, "function"), (torch.utils._python_dispatch, "dispatch")):
            for _ in range(getattr(torch._C, f"_len_torch_{kind}_stack")()):
                stack.callback(modes._push_mode, modes._pop_mode())
        while saved_tensor_hooks := torch._C._autograd._top_saved_tensors_default_hooks(True):
            torch._C._autograd._pop_saved_tensors_default_hooks()
            stack.callback(torch._C._autograd._push_saved_tensors_default_hooks, *saved_tensor_hooks)
        for name, hooks in (vars(nn.modules.module) | vars(optimizer)).items():
            if name.startswith("_global_") and isinstance(hooks, dict):
                stack.callback(hooks.update, hooks.copy())
                hooks.clear()
    for device in ("cpu", "cuda"):
        stack.callback(torch.set_autocast_enabled, device, torch.is_autocast_enabled(device))
        torch.set_autocast_enabled(device, False)
    stack.callback(torch.set_autocast_cache_enabled, torch.is_autocast_cache_enabled())
    torch.set_autocast_cache_enabled(True)
    # Rounded weights are forgotten only at the end of the outermost block of autocast.
    stack.callback(torch.autocast_decrement_nesting)
    for _ in range(torch.autocast_increment_nesting()):
        torch.autocast_decrement_nesting()
        stack.callback(torch.autocast_increment_nesting)
    # Whether the processor replaces denormal numbers by 0.
    if sys.float_info.min * sys.float_info.epsilon == 0:
        stack.callback(torch.set_flush_denormal, True)
        torch.set_flush_denormal(False)


@cache
def _settings() -> list[_Setting]:
    import torch

    internal = torch._C
    # Equal seeds must give equal weights: no selection by timing, no random summation order.
    enabled = ("mkldnn_enabled", "nnpack_enabled", "cudnn_enabled", "cudnn_deterministic")
    names = [(f"_get_{name}", f"_set_{name}", True) for name in enabled]
    names += [(f"_get_{name}", f"_set_{name}", False) for name in ("mkldnn_deterministic", "cudnn_benchmark")]
    names += [(f"_get_{name}_sdp_enabled", f"_set_sdp_use_{name}", True) for name in _ATTENTION]
    settings: list[_Setting] = []
    for reader, writer, value in names:
        settings.append((getattr(internal, reader), getattr(internal, writer), value))
    for *words, precision in map(str.split, _PRECISIONS):
        read_precision = partial(internal._get_fp32_precision_getter, *words)
        settings.append((read_precision, partial(internal._set_fp32_precision_setter, *words), precision))
    return [
        *settings,
        # These also set precisions of the newer interface. TF32 would round factors to 10 bits.
        (internal._get_cudnn_allow_tf32, internal._set_cudnn_allow_tf32, False),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
        (torch.is_anomaly_enabled, torch.set_anomaly_enabled, False),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, True),
    ]


class _ProcessSettings:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._values: list[Any] = []  # of the caller, while a block is active

    def __enter__(self) -> None:
        with self._lock:
            self._blocks += 1
            self._fix()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks:
                self._fix()  # user code may have changed settings
            else:
                for setting in reversed(_settings()):
                    setting[1](self._values.pop())

    def _fix(self) -> None:
        is_first = not self._values
        for read, write, value in _settings():
            if is_first:
                # After the settings from which it inherits are fixed.
                try:
                    self._values.append(read())
                except RuntimeError:  # differs from ``_PRECISIONS``, so equals the fixed value
                    self._values.append(value)
            write(value)


_PROCESS = _ProcessSettings()
