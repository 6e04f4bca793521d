"""Tests of NVRTC, which compiles without a GPU, where it is installed: pip install nvidia-cuda-nvrtc-cu12."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.engine import cuda_kernel, persistent_kernel
from harness.errors import DeviceError

SMALL = 'extern "C" __global__ void twice(float* values) { values[threadIdx.x] *= FACTOR; }'


@pytest.fixture
def _nvrtc() -> None:
    try:
        cuda_kernel.compiler()
    except DeviceError as error:
        pytest.skip(error.message)


@pytest.fixture
def _found_anew() -> Iterator[None]:
    cuda_kernel.compiler.cache_clear()
    yield
    cuda_kernel.compiler.cache_clear()


@pytest.mark.usefixtures("_nvrtc")
def test_a_source_becomes_machine_code():
    sources = {"small.cu": f'#include "factor.h"\n{SMALL}', "factor.h": "#define FACTOR 2"}

    code, _ = cuda_kernel.compiled("small.cu", sources, ["--gpu-architecture=sm_90"])

    assert code.startswith(b"\x7fELF")
    assert b"twice" in code


@pytest.mark.usefixtures("_nvrtc")
def test_a_source_that_nvrtc_refuses_is_quoted_in_one_line():
    with pytest.raises(
        DeviceError, match=r"nvrtcCompileProgram of NVRTC fails: .*small.cu\(1\): error: .*FACTOR"
    ) as got:
        cuda_kernel.compiled("small.cu", {"small.cu": SMALL}, ["--gpu-architecture=sm_90"])

    assert "\n" not in got.value.message


@pytest.mark.usefixtures("_nvrtc")
def test_an_architecture_that_nvrtc_does_not_know_is_an_error():
    with pytest.raises(DeviceError, match=r"nvrtcCompileProgram of NVRTC fails: .*gpu-architecture"):
        cuda_kernel.compiled("small.cu", {"small.cu": SMALL}, ["--gpu-architecture=sm_1"])


@pytest.mark.slow
@pytest.mark.usefixtures("_nvrtc")
def test_the_persistent_kernel_fits_into_the_registers_of_a_hopper():
    code, log = persistent_kernel.machine_code("sm_90", "--ptxas-options=-v")

    assert code.startswith(b"\x7fELF")
    print(log)
    # A thread has 128 registers where 512 of them share a multiprocessor. Arrays that are indexed at run time would lie
    # in the stack frame of their phase; the entry, which comes first, keeps registers there while it calls.
    assert [int(count) for count in re.findall(r"Used (\d+) registers", log)] == [128]
    entry, *phases = (int(size) for size in re.findall(r"(\d+) bytes stack frame", log))
    assert entry < 512
    assert len(phases) > 20
    assert set(phases) == {0}


@pytest.mark.usefixtures("_found_anew")
def test_a_missing_nvrtc_is_said(monkeypatch: pytest.MonkeyPatch):
    def nowhere(name: str) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr("harness.engine.cuda_kernel.ctypes.CDLL", nowhere)

    with pytest.raises(DeviceError, match=r"^NVRTC, which compiles CUDA kernels, is not installed$") as got:
        cuda_kernel.compiler()
    assert got.value.hint is not None


def test_the_library_of_torch_s_own_cuda_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "cuda_nvrtc" / "lib"
    folder.mkdir(parents=True)
    for name in ("libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc.alt.so.13"):
        (folder / name).touch()

    class Found:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr("harness.engine.cuda_kernel.importlib.util.find_spec", lambda name: Found)
    monkeypatch.setattr("harness.engine.cuda_kernel.torch.version.cuda", "13.0")

    names = [Path(path).name for path in cuda_kernel._candidates() if str(tmp_path) in path]
    assert names == ["libnvrtc.so.13", "libnvrtc.so.12"]


class Refusing:
    """A driver that refuses everything."""

    def __getattr__(self, name: str) -> object:
        if name == "cuGetErrorString":
            return self.said
        return lambda *arguments: 700

    @staticmethod
    def said(status: int, text: Any) -> int:
        ctypes.cast(text, ctypes.POINTER(ctypes.c_char_p))[0] = b"an illegal memory access was encountered"
        return 0


def test_a_driver_that_refuses_is_quoted_in_one_line():
    expected = r"^cuLaunchKernel of the CUDA driver fails: an illegal memory access was encountered \(700\)$"
    with pytest.raises(DeviceError, match=expected):
        cuda_kernel._driven(Refusing(), "cuLaunchKernel")
