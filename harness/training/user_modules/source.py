"""Recognition of PyTorch modules of users: a value, or a text ``FILE.py:NAME`` or ``package.module:NAME``."""

from __future__ import annotations

import re
import shlex
import sys

from harness.system.errors import UsageError

# No characters of the notation in the name of a file.
NAME = re.compile(r"(?P<source>[^|(){}<>']+\.(?:py|ipynb)|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def names_module(argument: str) -> bool:
    """Return whether a text has the form of a module's name; raise UsageError for a name in a notebook."""
    match = NAME.fullmatch(argument)
    if match is not None and match["source"].endswith(".ipynb"):
        hint = notebook_hint(match["source"])
        raise UsageError(f"{argument}: a notebook cannot be loaded, because its cells have no fixed order", hint=hint)
    return match is not None


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
