"""A CUDA kernel from its sources: compiled by NVRTC, launched through the CUDA driver, both called through ctypes.

NVRTC comes with torch's CUDA builds, so that no compiler and no toolkit need be installed; it compiles without a GPU
too. The driver works in the context, on the stream and with the memory of torch.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.errors import DeviceError

# Names and numbers of cuda.h.
MAX_DYNAMIC_SHARED_SIZE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Compiler:
    """NVRTC: its library, and its version as ``12.9``."""

    library: Any
    version: str


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel of a loaded module.

    Attributes:
        owner: the driver, which is asked to launch it.
    """

    owner: Any
    handle: ctypes.c_void_p


@functools.cache
def compiler() -> Compiler:
    """Return NVRTC as torch, its wheels or the system have it.

    Raises:
        DeviceError: there is none.
    """
    for candidate in [*_candidates(), "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]:
        try:
            library = ctypes.CDLL(candidate)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        major, minor = ctypes.c_int(), ctypes.c_int()
        _nvrtc(library, "nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return Compiler(library, f"{major.value}.{minor.value}")
    raise DeviceError(
        "NVRTC, which compiles CUDA kernels, is not installed",
        hint="torch's CUDA builds bring it; pip install nvidia-cuda-nvrtc-cu12 does too",
    )


def _candidates() -> list[str]:
    """Return the NVRTC libraries of Python packages, that of torch's own version of CUDA first."""
    folders = [Path(torch.__file__).parent / "lib"]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("*/lib"))
    found = [path for folder in folders for path in folder.glob("libnvrtc*.so*")]
    named = [path for path in found if "builtins" not in path.name and ".alt." not in path.name]
    major = (torch.version.cuda or "").partition(".")[0]
    return [str(path) for path in sorted(named, key=lambda path: (f".so.{major}" not in path.name, path.name))]


def compiled(name: str, sources: dict[str, str], options: Sequence[str]) -> tuple[bytes, str]:
    """Return the machine code of the source of that name, which may include the others, and the compiler's log.

    Raises:
        DeviceError: NVRTC is missing or refuses the source; the message is its first complaint.
    """
    library = compiler().library
    others = [other for other in sources if other != name]
    contents = (ctypes.c_char_p * len(others))(*(sources[other].encode() for other in others))
    names = (ctypes.c_char_p * len(others))(*(other.encode() for other in others))
    words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    handle = ctypes.c_void_p()
    source = sources[name].encode()
    _nvrtc(library, "nvrtcCreateProgram", ctypes.byref(handle), source, name.encode(), len(others), contents, names)
    try:
        try:
            _nvrtc(library, "nvrtcCompileProgram", handle, len(options), words)
        except DeviceError as error:
            log = _log(library, handle)
            first = next((line for line in log.splitlines() if "error" in line), log.strip()[:200])
            raise DeviceError(f"{error.message}: {first}") from error
        return _got(library, "CUBIN", handle), _log(library, handle)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(handle))


def _log(library: Any, handle: ctypes.c_void_p) -> str:
    return _got(library, "ProgramLog", handle).rstrip(b"\0").decode(errors="replace")


def _got(library: Any, what: str, handle: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _nvrtc(library, f"nvrtcGet{what}Size", handle, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    _nvrtc(library, f"nvrtcGet{what}", handle, buffer)
    return buffer.raw


def _nvrtc(library: Any, name: str, *arguments: Any) -> None:
    status = getattr(library, name)(*arguments)
    if status:
        raise DeviceError(f"{name} of NVRTC fails: {library.nvrtcGetErrorString(status).decode()}")


def loaded(code: bytes, name: str) -> Function:
    """Return a kernel of machine code, loaded into the context of torch's current device.

    Raises:
        DeviceError: there is no driver, or it refuses the code.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise DeviceError(f"the CUDA driver cannot be loaded: {error}") from error
    # The context is torch's, and there is none before its first use.
    torch.cuda.synchronize()
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    _driven(driver, "cuModuleLoadData", ctypes.byref(module), code)
    _driven(driver, "cuModuleGetFunction", ctypes.byref(function), module, name.encode())
    return Function(driver, function)


def launch(function: Function, blocks: int, threads: int, shared_bytes: int, *pointers: int) -> None:
    """Launch a kernel whose arguments are pointers, on torch's current stream; does not wait for it.

    Raises:
        DeviceError: the driver refuses.
    """
    driver, handle = function.owner, function.handle
    _driven(driver, "cuFuncSetAttribute", handle, MAX_DYNAMIC_SHARED_SIZE_BYTES, shared_bytes)
    values = [ctypes.c_void_p(pointer) for pointer in pointers]
    arguments = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    grid, block = (blocks, 1, 1), (threads, 1, 1)
    _driven(driver, "cuLaunchKernel", handle, *grid, *block, shared_bytes, stream, arguments, None)


def _driven(driver: Any, name: str, *arguments: Any) -> None:
    status = getattr(driver, name)(*arguments)
    if status:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        raise DeviceError(f"{name} of the CUDA driver fails: {(text.value or b'unknown error').decode()} ({status})")
