"""``harness doctor``: is this installation fit to work?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harness.commands.shared import options
from harness.system.errors import DataError, DeviceError, UsageError
from harness.system.files import workspace
from harness.system.terminal import console, show_grid

_KINDS = {family.exit_code: family.kind for family in (UsageError, DataError, DeviceError)}


@click.command(short_help="Check the installation, the device and the data.")
@options.data_options
@click.option("-v", "--verbose", is_flag=True, help="Also list what is as it should be.")
@options.as_json
def doctor(dataset: str, folder: Path | None, verbose: bool, as_json: bool) -> int:
    """Check the installation, the device and the data; a line each, and what to do about it.

    Exit code 0 when all that is needed works, else that of the first failure: 2 workspace, 5 data,
    6 device or installation.

    \b
    harness doctor
    harness doctor --json
    """
    from harness.doctor import Verdict, diagnose

    checks = diagnose(workspace(), dataset, folder)
    failure = next((check for check in checks if check.verdict is Verdict.FAIL), None)
    code = 0 if failure is None else failure.exit_code
    if as_json:
        document: dict[str, Any] = {"checks": [asdict(check) for check in checks]}
        if failure is not None:
            told = {"code": code, "kind": _KINDS[code], "message": failure.message}
            document["error"] = told | {"position": None, "hint": failure.hint}
        options.print_json(document)
        return code
    shown = [check for check in checks if verbose or check.verdict is not Verdict.OK]
    looks = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    lines = []
    for check in shown:
        lines.append(((str(check.verdict), check.name, check.message), (looks[check.verdict], "bold", "")))
        lines += [(("", "", f"-> {check.hint}"), ("", "", "dim"))] if check.hint else []
    if lines:
        show_grid(console(), *zip(*lines, strict=True))
    good = len(checks) - sum(check.verdict is not Verdict.OK for check in checks)
    if not verbose:
        click.echo(f"{'all' if good == len(checks) else 'the rest'} good ({good} checks; -v lists them)")
    return code
