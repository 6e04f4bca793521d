"""How this program was called, so that a hint can be typed as it stands."""

from __future__ import annotations

import os
import shlex


def typed(*arguments: str) -> str:
    """Return what to type for a command; HARNESS_COMMAND says how this one was called."""
    return shlex.join([os.environ.get("HARNESS_COMMAND") or "harness", *arguments])
