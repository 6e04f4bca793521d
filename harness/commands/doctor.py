"""``harness doctor``: is this installation fit to work?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.system.errors import DataError, DeviceError, UsageError

if TYPE_CHECKING:
    from harness.diagnosis import Check

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
    from harness.system.workspace import workspace

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
    from harness.system.terminal import console, show_grid

    looks = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    rows, styles = [], []
    for check in checks:
        rows.append((str(check.verdict), check.name, check.message))
        styles.append((looks[str(check.verdict)], "bold", ""))
        if check.hint:
            rows.append(("", "", f"-> {check.hint}"))
            styles.append(("", "", "dim"))
    show_grid(console(), rows, styles)
