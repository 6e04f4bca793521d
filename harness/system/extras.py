"""Packages that only some commands need: the extras of pyproject.toml, and the command that installs them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from harness.system.errors import DeviceError

DISTRIBUTION = "mnist-harness"


def require(extra: str, modules: Sequence[str], purpose: str) -> None:
    """Raise unless all modules of an extra that something needs can be imported.

    Args:
        purpose: what needs them, as the subject of the message: ``--onnx``.

    Raises:
        DeviceError: some are not installed; the hint installs the extra.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise DeviceError(
            f"{purpose} needs {' and '.join(missing)}, which {verb} not installed here", hint=command(extra)
        )


def command(extra: str) -> str:
    """Return what to type to install an extra into the environment that this program runs in.

    It names the packages, with their versions, not the extra: pip would ask its index for this program itself.
    """
    import importlib.metadata

    packages = []
    for line in importlib.metadata.requires(DISTRIBUTION) or []:
        wanted, _, marker = line.partition(";")
        if marker.replace("'", '"').strip() == f'extra == "{extra}"':
            packages.append(wanted.strip())
    python = os.path.relpath(sys.executable)
    return shlex.join([sys.executable if python.startswith(os.pardir) else python, "-m", "pip", "install", *packages])
