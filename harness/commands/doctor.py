"""``harness doctor``: is this installation fit to work?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.system.errors import DataError, DeviceError, UsageError
from harness.system.files import workspace
from harness.system.terminal import console, show_grid

if TYPE_CHECKING:
    from harness.installation import Check

_KINDS = {family.exit_code: family.kind for family in (UsageError, DataError, DeviceError)}


@click.command(short_help="Check the installation, the device and the data.")
@options.data_options
@options.as_json
def doctor(dataset: str, folder: Path | None, as_json: bool) -> int:
    """Check the installation, the device and the data; a line each, and what to do about it.

    Exit code 0 when all that is needed works, else that of the first failure: 2 workspace, 5 data,
    6 device or installation.

    \b
    harness doctor
    harness doctor --json
    """
    from harness.doctor import diagnose, first_failure

    checks = diagnose(workspace(), dataset, folder)
    failure = first_failure(checks)
    if as_json:
        document: dict[str, Any] = {"checks": [asdict(check) for check in checks]}
        if failure is not None:
            document["error"] = {
                "code": failure.exit_code,
                "kind": _KINDS[failure.exit_code],
                "message": failure.message,
                "position": None,
                "hint": failure.hint,
            }
        options.print_json(document)
    else:
        _show(checks)
    return failure.exit_code if failure is not None else 0


def _show(checks: list[Check]) -> None:
    """Print a line a check, and under it what to do where there is something to do."""
    looks = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    lines = []
    for check in checks:
        lines.append(((str(check.verdict), check.name, check.message), (looks[check.verdict], "bold", "")))
        lines += [(("", "", f"-> {check.hint}"), ("", "", "dim"))] if check.hint else []
    show_grid(console(), *zip(*lines, strict=True))
