"""The facts that name the code and the machine behind a result."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

import torch

from harness.system.machine import device_name, processor_flags
from harness.training.result import Environment

_SOURCE = Path(__file__).resolve().parents[2]


def environment(device: torch.device, data_hash: str, engine: str) -> Environment:
    """Return the facts of this process for a result on ``device``."""
    commit, dirty = code_version()
    return Environment(
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        torch=torch.__version__,
        device=device_name(device),
        instructions=instructions(),
        threads=torch.get_num_threads(),
        data_hash=data_hash,
        engine=engine,
    )


@functools.cache
def instructions() -> str:
    """Return the instruction set that decides which kernels torch runs on this processor: ``x86_64 AVX512 bf16``."""
    words = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    flags = processor_flags()
    # Without these, bf16 convolutions are emulated and may round differently.
    words += [word for word, flag in (("bf16", "avx512_bf16"), ("amx", "amx_bf16")) if flag in flags]
    return " ".join(words)


@functools.cache
def code_version() -> tuple[str | None, bool | None]:
    """Return the commit of the code and whether the code differs from it; None for both outside a checkout.

    Only the packages count: a new record or leaderboard does not change what the code does.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    changes = _git("status", "--porcelain", "--", "search_spaces", "harness", "reports")
    return commit, bool(changes)


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(_SOURCE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
