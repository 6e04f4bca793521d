"""What a check of the installation has found; the checks are in ``doctor`` and ``installation``."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.system.errors import DeviceError

REINSTALL = "run 'pip install .' again in a fresh environment"


class Verdict(StrEnum):
    """What a check found; ``warn`` is worth knowing and stops nothing."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes:
        message: what was found, one line.
        hint: what to do about it, empty where nothing is to be done.
        exit_code: of the family that a failure belongs to, 0 for none.
        facts: the same for programs.
    """

    name: str
    message: str
    verdict: Verdict = Verdict.OK
    hint: str = ""
    exit_code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def failed(name: str, message: str, hint: str, code: int = DeviceError.exit_code) -> Check:
    """Return a check that failed; unless another is given, the code is that of device and installation."""
    return Check(name=name, message=message, verdict=Verdict.FAIL, hint=hint, exit_code=code)
