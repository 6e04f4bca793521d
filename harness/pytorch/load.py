"""PyTorch modules of users by name: ``FILE.py:NAME`` or ``package.module:NAME``. Loading executes the user's code."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.system.errors import UsageError
from search_spaces.space_errors import nearest

if TYPE_CHECKING:
    from torch import nn

_NAME = re.compile(r"(?P<place>[^|(){}<>]+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


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


def load_module(argument: str) -> nn.Module:
    """Return the PyTorch module that a text names; its code is executed.

    Args:
        argument: ``FILE.py:NAME`` or ``package.module:NAME``. The name belongs to a module, or to a class or function
            that returns a module and needs no arguments.

    Raises:
        UsageError: The file or the name does not exist, or the value is not a module.
        ContentError: The user's code failed.
    """
    from harness.pytorch.module_graph import quiet

    match = _NAME.fullmatch(argument)
    assert match is not None, "checked by names_module"
    source_name, name = match["place"], match["name"]
    if source_name.endswith(".py") and not Path(source_name).is_file():
        raise UsageError(f"{argument}: there is no file {source_name}")
    with quiet(argument):
        source = _from_file(Path(source_name)) if source_name.endswith(".py") else _from_package(source_name)
    if not hasattr(source, name):
        raise UsageError(f"{argument}: {source_name} defines no {name}", hint=nearest(name, vars(source)))
    return made_module(getattr(source, name), argument)


def made_module(value: object, purpose: str) -> nn.Module:
    """Return a module: a value, or the result of a class or function without required arguments.

    Raises:
        UsageError: The value is not a module, or requires arguments.
        ContentError: The user's code failed.
    """
    from torch import nn

    from harness.pytorch.module_graph import quiet

    if isinstance(value, nn.Module):
        return value
    if not callable(value):
        raise UsageError(f"{purpose}: a value of type {type(value).__name__} is not a PyTorch module")
    required = _required(value)
    if required:
        hint = "write a function without arguments that returns the module"
        raise UsageError(f"{purpose} requires the arguments {', '.join(required)}", hint=hint)
    with quiet(purpose):
        module = value()
    if not isinstance(module, nn.Module):
        raise UsageError(f"{purpose} returns a value of type {type(module).__name__}, not a PyTorch module")
    return module


def _required(function: Any) -> list[str]:
    """Return the names of the required arguments of a class or function."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in optional]


def _from_package(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return import_module(name)


def _from_file(path: Path) -> Any:
    """Return the executed file; the file may import files beside it."""
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
    # Classes of the file need their module when they are copied.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
