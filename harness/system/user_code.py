"""User code: import of functions by name, calls with a time limit, and failures reported in one line."""

from __future__ import annotations

import ast
import hashlib
import os
import queue
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, cast

from harness.system import clock
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.system.settings import fixed_settings

_EARLY_SECONDS = 0.1  # largest difference between the alarm and the clock
_STOP = object()  # ends the thread of a ``Listener``
# torch removes the operators of a ``Library`` with the object.
_STUBS: list[Any] = []


def function_of(name: str, purpose: str, sha256: str = "") -> Callable[..., Any]:
    """Return a function ``module:function`` of user code, also from the current folder.

    Args:
        purpose: Option or field that names the function, for messages.
        sha256: Expected `source_sha256`; empty for any code.

    Raises:
        UsageError: The function cannot be imported.
        OtherCode: The code differs from ``sha256``.
    """
    module, _, function = name.partition(":")
    if not function or module.endswith(".py"):
        raise UsageError(f"{purpose} {name} is not MODULE:FUNCTION, for example {Path(module).stem}:{function or 'f'}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    declare_operators()
    try:
        # The file may change during the import.
        imported_sha256 = _IMPORTED_SHA256.get(module) or sha256_of(module)
        with redirect_stdout(sys.stderr), fixed_settings():
            result: Any = getattr(import_module(module), function)
        if not callable(result):
            raise TypeError(f"{type(result).__name__} is not callable")
    except BaseException as error:  # a module may raise any exception, including SystemExit
        if _is_ctrl_c(error):
            raise
        raise UsageError(f"{purpose} {name}: {_line(error)}") from error
    _IMPORTED_SHA256[module] = imported_sha256
    if sha256 not in ("", imported_sha256):
        differs = f"the code (SHA-256 {imported_sha256[:12]}) differs from the code of the recipe ({sha256[:12]})"
        raise OtherCode(f"{purpose} {name}: {differs}; restore the code of the recipe, or start again with this code")
    return cast("Callable[..., Any]", result)


def source_sha256(name: str, purpose: str) -> str:
    """Return the SHA-256 of the file of ``module:function``, or of the list of all hashes (``sha256sum``).

    The list has the imported files of the same folder or package, without this program.

    Raises:
        UsageError: The function cannot be imported, or the file is missing or has changed since the import.
    """
    function_of(name, purpose)  # also records the digest in ``_IMPORTED_SHA256``
    module = name.partition(":")[0]
    sha256 = sha256_of(module)
    if not sha256:
        raise UsageError(f"{purpose} {name}: the module has no file")
    if sha256 != _IMPORTED_SHA256[module]:
        raise UsageError(f"{purpose} {name}: the module has changed since the import; start a new process")
    return sha256


class OtherCode(ContentError):
    """User code differs from the code of the recipe; no training began."""


_IMPORTED_SHA256: dict[str, str] = {}  # by module, written by ``function_of`` at the import


def sha256_of(module: str) -> str:
    """Return the hash of ``source_sha256`` for the files as they are now; empty without a file."""
    spec = find_spec(module)
    if spec is None or not spec.has_location or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    # Imports of the module ``a.b`` begin in the folder with ``a``.
    module_path = origin.parent if origin.stem == "__init__" else origin
    import_root = module_path.parents[module.count(".")]
    is_installed = import_root.name.endswith("-packages")
    return code_sha256(origin, import_root, module.partition(".")[0] if is_installed else "")


def code_sha256(origin: Path, import_root: Path, package: str = "") -> str:
    """Return the SHA-256 of a file and of the files of the same folder that it imports (see ``source_sha256``).

    Only imports of ``package`` are followed, or all if empty; ``import_root`` is the folder from which the file
    imports.
    """
    digests: dict[str, str] = {}
    origins = [origin]
    while origins:
        path = origins.pop()
        name = path.relative_to(import_root)
        if name.as_posix() in digests or not path.is_file():
            continue
        content = path.read_bytes()
        digests[name.as_posix()] = hashlib.sha256(content).hexdigest()
        for parts in _imported(content, name.parts[:-1]):
            # All results state the version of this program.
            top = "".join(parts[:1])
            is_left_out = top != package if package else top == "harness"
            if is_left_out:
                continue
            # The package ``a`` runs too.
            for end in range(1, len(parts) + 1):
                stem = import_root.joinpath(*parts[:end])
                origins += [stem.with_suffix(".py"), stem / "__init__.py"]
    if len(digests) == 1:
        return digests.popitem()[1]
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _imported(content: bytes, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield package
    with suppress(SyntaxError, ValueError):  # not Python source, or of another version
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Import):
                yield from (tuple(alias.name.split(".")) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) + 1 - node.level] if node.level else ()
                if node.module is not None:  # None in ``from . import name``
                    base += tuple(node.module.split("."))
                # A name imported from a package may be a submodule.
                yield from ((*base, alias.name) for alias in node.names)


def _is_ctrl_c(error: BaseException) -> bool:
    # SIGINT is blocked in workers (``machine.sigint_blocked``), where only user code raises the exception.
    blocked_signals = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # adds no signal
    return isinstance(error, KeyboardInterrupt) and signal.SIGINT not in blocked_signals


def _place(error: BaseException) -> str:
    frames = [each for each in traceback.extract_tb(error.__traceback__) if is_users_file(each.filename)]
    if frames:
        return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}: "
    return _place(error.__cause__) if error.__cause__ else ""


def is_users_file(path: str) -> bool:
    """Return whether a file belongs neither to this program nor to Python nor to an installed package."""
    program = str(Path(__file__).resolve().parents[1])
    library_folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return not path.startswith(("<", *(f"{folder}{os.sep}" for folder in (program, *library_folders))))


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


@contextmanager
def guarding_user_code(
    name: str, seconds: float = 60, error_type: type[HarnessError] = ContentError, clean: Callable[[str], str] = str
) -> Iterator[None]:
    """Raise ``error_type`` for exceptions and timeouts of user code in the block.

    Args:
        clean: Removes passwords from a message.
    """
    # Signals are delivered only to the main thread.
    is_limited = seconds > 0 and threading.current_thread() is threading.main_thread()
    try:
        # Stdout is reserved for results.
        with _time_limit(seconds) if is_limited else nullcontext(), redirect_stdout(sys.stderr):
            yield
    except BaseException as error:
        if _is_ctrl_c(error):
            raise
        line = str(error) if isinstance(error, _TimeIsOver) else _line(error)
        raise error_type(f"{name} failed: {_place(error)}{clean(line)}") from error


@cache
def declare_operators() -> None:
    """Allow imports of torchvision even if the compiled extension of torchvision cannot be loaded.

    The extension of a torchvision wheel built for CUDA fails to load beside a CPU-only torch, and the import then ends
    in "operator torchvision::nms does not exist" unless two operators are declared.
    """
    import torch

    spec = find_spec("torchvision")
    try:
        if spec is not None and spec.origin is not None:
            for library in Path(spec.origin).parent.glob("_C*.so"):
                torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except OSError:
        _STUBS.append(torch.library.Library("torchvision", "DEF"))  # type: ignore[no-untyped-call]
        _STUBS[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _STUBS[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


class _TimeIsOver(BaseException):
    """Not an ``Exception``, which libraries for networks catch to try again."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def expire(number: int, frame: object) -> None:
        seconds_left = seconds + began - clock.now()
        if seconds_left > _EARLY_SECONDS:  # this process was stopped for a time
            signal.setitimer(signal.ITIMER_REAL, seconds_left)
            return
        raise _TimeIsOver(f"no return within {seconds:g} s")

    began = clock.now()
    handler = signal.signal(signal.SIGALRM, expire)
    remaining_seconds, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        if remaining_seconds > 0:
            # An alarm of the caller that was due during the block goes off immediately.
            remaining_seconds = max(1e-6, remaining_seconds + began - clock.now())
        signal.setitimer(signal.ITIMER_REAL, remaining_seconds, interval)


class Listener:
    """Observer that calls a user function with each event; errors and delays do not affect the search.

    Args:
        function: Not called again after an exception.
        end: Called after the last event, unless ``function`` has failed.
    """

    def __init__(
        self,
        name: str,
        function: Callable[[Any], object],
        say: Callable[[str], None],
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self._name = name
        self._function = function
        self._say = say
        self._end = end
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while (event := self._events.get()) is not _STOP:
                self._function(event)
            self._end()
        except BaseException as error:  # SystemExit would end the thread without a message
            self._say(f"{self._name} failed and is not called again: {_line(error)}")

    def on_entry(self, state: object, entry: Any) -> None:
        """Queue the event of a log entry."""
        self._events.put(entry.event)

    def on_tick(self, moment: object) -> None:
        """Do nothing: snapshots are not events."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self, seconds: float = 30.0) -> None:
        """Wait until all events are processed, for at most ``seconds`` seconds."""
        self._events.put(_STOP)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._say(f"{self._name} did not return within {seconds:g} s and is abandoned")
