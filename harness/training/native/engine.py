"""Build, loading and choice of the native engine, a C++ library called through ctypes.

The C++ compiler of the machine compiles the sources once, to a library in the user's cache, whose name is a digest of
sources, compiler and options. Without a compiler torch trains instead.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from ctypes import c_double, c_int, c_int64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.training_images import cache_folder
from harness.spaces.ops import Op, UserModule
from harness.spaces.ops.op import name_of_type
from harness.spaces.space_errors import nearest
from harness.system import files
from harness.system.errors import DeviceError, UsageError, reason
from harness.system.machine import compiler_words, processor_flags, run_program
from harness.system.terminal import say
from harness.training.native.instruction import KERNELS
from harness.training.recipe import Recipe

if TYPE_CHECKING:
    import torch

_SOURCE_FOLDER = Path(__file__).resolve().parent
# The engine has vector types of its own, and uses neither errno nor floating-point traps.
OPTIONS = ("-std=c++17", "-O3", "-shared", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
TORCH = "torch"
_ENGINES = ("auto", "native", TORCH)


@dataclass(frozen=True, slots=True)
class _Level:
    name: str
    options: tuple[str, ...]  # of the compiler
    needs: frozenset[str]  # that the processor must have, as in /proc/cpuinfo


_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "bmi2"})
_LEVELS = (  # best first
    # Same results as ``avx512``, and bf16 products for recipes with ``bf16``.
    _Level("avx512bf16", ("-march=x86-64-v4", "-mavx512bf16", "-mprefer-vector-width=512"), _AVX512 | {"avx512_bf16"}),
    _Level("avx512", ("-march=x86-64-v4", "-mprefer-vector-width=512"), _AVX512),
    _Level("avx2", ("-march=x86-64-v3",), frozenset({"avx2", "fma", "bmi2"})),
    # Vectors of 16 bytes: SSE2 on x86-64, NEON on 64-bit ARM.
    _Level("plain", (), frozenset()),
)


class EngineUnavailable(Exception):
    """The native engine cannot be built, stored or loaded on this machine."""


class _CompilerRefuses(EngineUnavailable):
    """The compiler reported an error, possibly because the compiler does not know the instruction set."""


_COMPILERS = ("c++", "g++", "clang++")  # in this order, if CXX is not set
_VERSION_SECONDS = 20.0  # for a compiler that prints its version
_COMPILE_SECONDS = 1200.0  # of the compiler; about 20 s on a free core


@dataclass(frozen=True, slots=True)
class Engine:
    """A loaded native engine."""

    name: str  # for results, ``native avx512 1f0c53a2``
    path: str
    is_double: bool  # computes in float64, not float32
    pairs: bool  # supports products of bf16 pairs
    library: ctypes.CDLL  # with declared functions (``_declared``)
    skip_reasons: tuple[str, ...] = ()  # why better instruction sets are not used


def level() -> _Level:
    """Return the best instruction set that this processor supports."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return _LEVELS[-1]
    flags = processor_flags()
    return next(item for item in _LEVELS if item.needs <= flags)


def load(instruction_set: _Level | None = None, *, is_double: bool = False, extra: tuple[str, ...] = ()) -> Engine:
    """Return the engine, compiled now if not in the cache.

    A failed build is not repeated in this process; later calls raise the same error.

    Args:
        instruction_set: None for the best set that processor and compiler support.
        is_double: Compute in float64.
        extra: Further options of the compiler, such as sanitizers.

    Raises:
        EngineUnavailable: The engine cannot be built, stored or loaded.
    """
    outcome = _outcome(instruction_set, is_double, extra)
    if isinstance(outcome, EngineUnavailable):
        # Without the tracebacks of earlier calls.
        raise outcome.with_traceback(None)
    return outcome


@functools.cache
def _outcome(instruction_set: _Level | None, is_double: bool, extra: tuple[str, ...]) -> Engine | EngineUnavailable:
    levels = [instruction_set] if instruction_set else _LEVELS[_LEVELS.index(level()) :]
    number_options = ("-DDOUBLE",) if is_double else ()
    refusals: dict[str, EngineUnavailable] = {}
    for candidate in levels:
        try:
            path = _built((*OPTIONS, *candidate.options, *number_options, *extra))
            library = _declared(ctypes.CDLL(str(path)))
        except _CompilerRefuses as error:
            # An old compiler may not support the newest instruction sets.
            refusals[candidate.name] = error
        except EngineUnavailable as error:
            return error
        except OSError as error:
            return EngineUnavailable(f"{path} cannot be loaded: {error}")
        else:
            build_digest = path.stem.rpartition("-")[2]
            name = f"native {candidate.name} {build_digest[:8]}"
            reasons = tuple(f"without {level_name}: {why}" for level_name, why in refusals.items())
            return Engine(name, str(path), is_double, bool(library.engine_pairs()), library, reasons)
    # The refusal of the level that should have been used.
    return next(iter(refusals.values()))


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    # Comments list the names of the parameters.
    training = [
        *[c_void_p] * 4,  # program, pixels, labels, order
        *[c_void_p] * 3,  # moves, rates, shares
        *[c_int64] * 2,  # steps, done
        *[c_void_p] * 3,  # training, decay, rounded
        *[ctypes.c_size_t] * 2,  # rounded_count, state_size
        *[c_void_p] * 4,  # state, first, second, averaged
    ]
    for name, result_type, argument_types in (
        ("new", c_void_p, [c_void_p, c_int, c_void_p, *[c_int] * 4, c_void_p, c_void_p, c_int]),
        ("free", None, [c_void_p]),
        ("seed", None, [c_void_p, ctypes.c_uint64]),
        ("train", c_double, training),
        ("predict", None, [c_void_p, c_void_p, c_int64, c_void_p, c_void_p]),
        ("gradients", c_double, [c_void_p] * 6),
    ):
        function = getattr(library, f"engine_{name}")
        function.restype = result_type
        function.argtypes = argument_types
    return library


def compiler() -> list[str]:
    """Return the command of the C++ compiler: CXX, or else the first of ``_COMPILERS``. Raises EngineUnavailable."""
    words = compiler_words("CXX", _COMPILERS)
    if not words:
        raise EngineUnavailable(f"no C++ compiler found ({os.environ.get('CXX') or ', '.join(_COMPILERS)})")
    return [str(shutil.which(words[0])), *words[1:]]


def compiler_version() -> str:
    """Return the output of the compiler for ``--version``. Raises EngineUnavailable."""
    command = [*compiler(), "--version"]
    try:
        answer = run_program(command, _VERSION_SECONDS)
        answer.check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(f"{command[0]} does not run: {reason(error)}") from error
    return answer.stdout.decode(errors="replace")


def _built(options: tuple[str, ...]) -> Path:
    command = [*compiler(), *options]
    digest = hashlib.sha256("\0".join([*command, compiler_version()]).encode())
    for source in sorted((*_SOURCE_FOLDER.glob("*.cpp"), *_SOURCE_FOLDER.glob("*.h"))):
        digest.update(source.read_bytes())
    own_folder = os.environ.get("HARNESS_ENGINE_CACHE")
    # A name without a slash is searched among the system libraries.
    folder = (Path(own_folder) if own_folder else cache_folder() / "engine").resolve()
    path = folder / f"engine-{digest.hexdigest()[:16]}.so"
    seal = path.with_suffix(".sha256")  # SHA-256 of the library

    def is_complete() -> bool:
        # A truncated library would kill the process without a message.
        with suppress(FileNotFoundError):
            return seal.read_bytes() == _seal_of(path)
        return False

    try:
        if not is_complete():
            with files.locked(path.with_suffix(".lock")):
                if not is_complete():
                    _compile(command, path)
                    files.write_bytes(seal, _seal_of(path))
    except (UsageError, OSError) as error:
        raise EngineUnavailable(f"cannot store the engine in {folder}: {reason(error)}") from error
    return path


def _seal_of(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).hexdigest().encode()


def _compile(command: list[str], path: Path) -> None:
    """Compile the sources to the library ``path``, which appears complete or not at all.

    Raises:
        _CompilerRefuses: The compiler reported an error.
        EngineUnavailable: The compiler was killed.
    """
    say("compiling the engine for this processor (once, about 20 s)")
    # Under the lock, build folders belong to killed processes.
    for remnant in path.parent.glob(f".build-{path.stem}-*"):
        shutil.rmtree(remnant, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".build-{path.stem}-") as folder:
        library = Path(folder) / path.name
        arguments = [*command, "-o", str(library), *map(str, sorted(_SOURCE_FOLDER.glob("*.cpp")))]
        environment = os.environ | {"TMPDIR": folder}
        try:
            answer = run_program(arguments, _COMPILE_SECONDS, environment=environment)
        except subprocess.TimeoutExpired as error:
            raise EngineUnavailable(f"{command[0]} took more than {_COMPILE_SECONDS:.0f} s") from error
        errors = answer.stderr.decode(errors="replace")
        # The driver of the compiler or one of its child processes.
        if answer.returncode < 0 or "Killed signal" in errors:
            raise EngineUnavailable(f"{command[0]} was killed, possibly for lack of memory")
        if answer.returncode:
            # The first such line has the cause, such as a full disk.
            error_lines = (line for line in errors.splitlines() if "error" in line or "failed" in line)
            raise _CompilerRefuses(f"{command[0]} failed: {next(error_lines, errors[:200])}")
        with library.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(library, path)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The choice between the native engine and torch."""

    engine: Engine | None  # None for torch
    why: str = ""  # reason against the native engine; empty if chosen, or if torch was requested

    @property
    def kind(self) -> str:
        """``native`` or ``torch``."""
        return TORCH if self.engine is None else "native"


def choose_engine(name: str, recipe: Recipe, device: torch.device, ops: Iterable[type[Op]] = ()) -> EngineChoice:
    """Return the engine for a training of networks with these ops; the native engine is compiled now if necessary.

    The native engine supports CPUs only, no user trainers and, on some processors, no bf16.

    Raises:
        UsageError: ``name`` is unknown.
        DeviceError: ``native`` was requested, but cannot train.
    """
    if name not in _ENGINES:
        raise UsageError(f"unknown engine {name!r}; allowed: {', '.join(_ENGINES)}", hint=nearest(name, _ENGINES))
    if name == TORCH:
        return EngineChoice(None)
    without_kernel = {op for op in ops if op not in KERNELS}
    op_names = sorted("PyTorch modules" if op is UserModule else name_of_type(op) for op in without_kernel)
    if recipe.trainer:
        why = f"trainer {recipe.trainer} requires a torch module"
    elif op_names:
        why = f"no kernel for {', '.join(op_names)}"
    elif device.type != "cpu":
        why = f"device {device.type} is not supported, only cpu"
    else:
        try:
            engine = load()
        except EngineUnavailable as error:
            why = str(error)
        else:
            if recipe.precision != "bf16" or engine.pairs:
                return EngineChoice(engine)
            why = "; ".join([f"{engine.name} does not support the precision bf16 of the recipe", *engine.skip_reasons])
    if name == "native":
        hint = "use engine auto to train with torch"
        raise DeviceError(f"the native engine cannot train this recipe: {why}", hint=hint)
    return EngineChoice(None, why)


def engine_of_repeat(name: str, recorded_engine: str | None) -> str:
    """Return the engine to repeat a recorded seed with the same bits.

    ``auto`` chooses the native engine wherever possible. ``recorded_engine`` is None for a new seed.
    """
    return TORCH if name == "auto" and recorded_engine == TORCH else name
