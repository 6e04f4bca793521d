"""Names of PyTorch modules of users, ``FILE.py:NAME`` or ``package.module:NAME``, and the identity of their code."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from harness.system.errors import UsageError
from harness.system.user_code import code_sha256, sha256_of

# No characters of the notation in the name of a file.
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


def source_and_name(argument: str) -> tuple[str, str]:
    """Return the file or package of a module, and the name in it; UsageError for a notebook."""
    match = _NAME.fullmatch(argument)
    assert match is not None, "checked by names_module"
    if match["source"].endswith(".ipynb"):
        hint = notebook_hint(match["source"])
        raise UsageError(f"{argument}: a notebook cannot be loaded, because its cells have no fixed order", hint=hint)
    return match["source"], match["name"]


def code_of(argument: str) -> str:
    """Return 12 hex digits of the SHA-256 of the code that a text names, with the imported files of the same folder.

    The code is not executed, except for the parent packages of a module in a package.

    Raises:
        UsageError: There is no such file.
    """
    source_name, _ = source_and_name(argument)
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
