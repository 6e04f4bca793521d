"""``harness doctor``, ``data`` and ``completion``: is all here that is needed, and what fetches it?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from harness.commands import options
from harness.data import datasets
from harness.system.errors import DataError, DeviceError, UsageError
from harness.system.files import workspace
from harness.system.terminal import console, show_grid

_KINDS = {family.exit_code: family.kind for family in (UsageError, DataError, DeviceError)}
_LOOKS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


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
    lines = []
    for check in checks:
        if verbose or check.verdict is not Verdict.OK:
            lines.append(((check.verdict.value, check.name, check.message), (_LOOKS[check.verdict], "bold", "")))
            lines += [(("", "", f"-> {check.hint}"), ("", "", "dim"))] if check.hint else []
    if lines:
        show_grid(console(), *zip(*lines, strict=True))
    good = sum(check.verdict is Verdict.OK for check in checks)
    if not verbose:
        click.echo(f"{'all' if good == len(checks) else 'the rest'} good ({good} checks; -v lists them)")
    return code


@click.group("data", short_help="Fetch and check the images.")
def data() -> None:
    """Fetch and check the images.

    \b
    harness data fetch                          fetch MNIST into the user's cache
    harness data check --data FOLDER            are these the right files?
    harness data path --dataset fashion-mnist   where are they?

    The licence of MNIST is not stated at its source; catalogues list CC BY-SA 3.0
    (Y. LeCun and C. Cortes).
    """


_dataset = click.option(
    "--dataset",
    "name",
    default="mnist",
    help=f"One of {', '.join(datasets.DATASETS)}.",
)


@data.command()
@_dataset
@options.data_option
@options.as_json
@click.option(
    "--mirror-seconds",
    type=click.FloatRange(min=0, max=86_400, min_open=True),
    default=20.0,
    help="Time for a mirror to answer.",
)
def fetch(name: str, folder: Path | None, as_json: bool, mirror_seconds: float) -> None:
    """Fetch what is missing or damaged into --data or the user's cache."""
    from harness.data import training_images

    spec = datasets.dataset(name)
    # mnist-5k has no files to fetch.
    fetched = training_images.fetch(spec, folder, mirror_seconds)
    _show(training_images.check(spec, folder) | {"fetched": fetched}, as_json)


@data.command(short_help="Check every file by its hash.")
@_dataset
@options.data_option
@options.as_json
def check(name: str, folder: Path | None, as_json: bool) -> None:
    """Check every file by its hash; exit code 5 when one is missing or damaged."""
    from harness.data import training_images

    _show(training_images.check(datasets.dataset(name), folder), as_json)


@data.command()
@_dataset
@options.data_option
@options.as_json
def path(name: str, folder: Path | None, as_json: bool) -> None:
    """Print the folder that holds the files, without looking into them."""
    from harness.data import training_images

    found = str(training_images.find(datasets.dataset(name), folder))
    options.answer(as_json, {"dataset": name, "path": found}, found)


def _show(document: dict[str, Any], as_json: bool) -> None:
    lines = [
        "{dataset} in {source}: every file is the right one, data hash {data_hash}",
        "{train:,} training, {validation:,} validation and {test:,} test images",
        *(f"{file['sha256']}  {file['name']}" for file in document["files"]),
        *(f"fetched {name}" for name in document.get("fetched", ())),
        "{licence}",
    ]
    options.answer(as_json, document, "\n".join(lines).format(**document))


@click.command(short_help="Print a shell's completion of this program.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL must run to complete commands and options of 'harness'.

    \b
    eval "$(harness completion bash)"                        # in ~/.bashrc
    eval "$(harness completion zsh)"                         # in ~/.zshrc
    harness completion fish > ~/.config/fish/completions/harness.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, "click knows the shells that are offered"
    click.echo(made(ctx.find_root().command, {}, "harness", "_HARNESS_COMPLETE").source())
