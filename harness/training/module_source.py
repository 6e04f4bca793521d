"""PyTorch modules of users by name: ``FILE.py:NAME`` or ``package.module:NAME``. Loading executes the user's code."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.spaces.space_errors import nearest
from harness.system.errors import UsageError
from harness.system.settings import fixed_settings
from harness.system.user_code import code_sha256, declare_operators, guarding_user_code, sha256_of

if TYPE_CHECKING:
    from torch import nn

# Characters of the notation of networks are not allowed in the name of a file.
_NAME = re.compile(r"(?P<source>[^|(){}<>']+\.(?:py|ipynb)|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def names_module(argument: str) -> bool:
    """Return whether a text has the form of a module's name."""
    return _NAME.fullmatch(argument) is not None


def is_module(value: object) -> bool:
    """Return whether a value is a PyTorch module or a class of modules; torch is not imported."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    modules = torch.nn.Module
    return isinstance(value, modules) or (isinstance(value, type) and issubclass(value, modules))


def notebook_hint(path: str) -> str:
    """Return the command that writes the cells of a notebook to a Python file."""
    return f"'{shlex.join(['jupyter', 'nbconvert', '--to', 'script', path])}' writes a Python file"


def _split(argument: str) -> tuple[str, str]:
    match = _NAME.fullmatch(argument)
    assert match is not None, "checked by names_module"
    if match["source"].endswith(".ipynb"):
        hint = notebook_hint(match["source"])
        raise UsageError(f"{argument}: a notebook cannot be loaded, because its cells have no fixed order", hint=hint)
    return match["source"], match["name"]


def load_value(argument: str) -> Any:
    """Return the value that a text (``FILE.py:NAME`` or ``package.module:NAME``) names; the user's code is executed.

    Raises:
        UsageError: The file or the name does not exist.
        ContentError: The user's code failed.
    """
    source_name, name = _split(argument)
    if source_name.endswith(".py") and not Path(source_name).is_file():
        raise UsageError(f"{argument}: there is no file {source_name}")
    with quiet(argument):
        if source_name.endswith(".py"):
            source = _from_file(Path(source_name))
        else:
            if os.getcwd() not in sys.path:
                sys.path.append(os.getcwd())
            source = import_module(source_name)
    if not hasattr(source, name):
        raise UsageError(f"{argument}: {source_name} defines no {name}", hint=nearest(name, vars(source)))
    return getattr(source, name)


def fresh_module(argument: str) -> nn.Module:
    """Return the named module with new first weights, which depend on the state of torch's global generator.

    Raises:
        UsageError: The file or the name does not exist, or the value is not a module.
        ContentError: The user's code failed.
    """
    from torch import nn

    value = _value_at(argument, code_of(argument))
    if isinstance(value, nn.Module):
        # An instance is made by the code of the file, so the file is executed anew.
        value = load_value(argument)
    return made_module(value, argument)


@cache
def _value_at(argument: str, code: str) -> Any:  # ``code`` is a part of the key: changed code is loaded again
    return load_value(argument)


def code_of(argument: str) -> str:
    """Return 12 hex digits of the SHA-256 of the code that a text names, with the imported files of the same folder.

    The code is not executed, except for the parent packages of a module in a package.

    Raises:
        UsageError: There is no such file.
    """
    source_name, _ = _split(argument)
    if source_name.endswith(".py"):
        path = Path(source_name).resolve()
        code = code_sha256(path, path.parent) if path.is_file() else ""
    else:
        code = sha256_of(source_name)
    if not code:
        raise UsageError(f"{argument}: there is no file {source_name}")
    return code[:12]


def name_of(value: object) -> str:
    """Return the text that names a class, or the class of a module; empty if the class cannot be imported by name."""
    module_class = value if isinstance(value, type) else type(value)
    source_name = module_class.__module__
    name = module_class.__qualname__
    is_importable = getattr(sys.modules.get(source_name), name, None) is module_class
    return f"{source_name}:{name}" if is_importable and source_name != "__main__" else ""


@contextmanager
def quiet(purpose: str) -> Iterator[StringIO]:
    """Run the user's module without output or warnings, and without an effect on torch's global random generator.

    Yields the standard output of the module.

    Raises:
        ContentError: The module failed; the message names file and line.
    """
    declare_operators()  # imports torch, so that the settings of torch are restored
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # torch.export logs the graph of a module that cannot be recorded
    output = StringIO()
    try:
        with (
            fixed_settings(),
            guarding_user_code(purpose, seconds=0),
            redirect_stdout(output),
            redirect_stderr(StringIO()),
            warnings.catch_warnings(action="ignore"),
        ):
            yield output
    finally:
        logger.setLevel(level)


def made_module(value: object, purpose: str) -> nn.Module:
    """Return a value that is a module, or else the module that a class or function without required arguments makes.

    Raises:
        UsageError: The value is not a module, or requires arguments.
        ContentError: The user's code failed.
    """
    from torch import nn

    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        raise UsageError(f"{purpose}: a value of type {type(value).__name__} is not a PyTorch module")
    required_names = []
    with suppress(TypeError, ValueError):  # a builtin without a signature
        parameters = inspect.signature(value).parameters.values()
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        required_names = [each.name for each in parameters if each.default is each.empty and each.kind not in optional]
    if required_names:
        hint = "write a function without arguments that returns the module"
        raise UsageError(f"{purpose} requires the arguments {', '.join(required_names)}", hint=hint)
    with quiet(purpose):
        module = value()
    if not isinstance(module, nn.Module):
        raise UsageError(f"{purpose} returns a value of type {type(module).__name__}, not a PyTorch module")
    return module


def _from_file(path: Path) -> Any:
    """Return the executed file; the file may import files of the same folder."""
    # Files of the same name in several folders are different modules.
    name = f"user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        # At the end, so that files of the folder do not replace installed packages.
        sys.path.append(folder)
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Copies of instances look up the module of their class.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
