"""``harness data``: fetch the images, check them, tell where they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from harness.commands.shared import options
from harness.data import data_check, data_files, datasets
from harness.system.errors import DataError

_dataset = click.option(
    "--dataset",
    "name",
    default="mnist",
    show_default=True,
    help=f"One of {', '.join(datasets.DATASETS)}.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


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


@data.command()
@_dataset
@options.data_option
@_as_json
@click.option(
    "--mirror-seconds",
    type=click.FloatRange(min=0, max=86_400, min_open=True),
    default=20.0,
    show_default=True,
    help="Time limit for one mirror.",
)
def fetch(name: str, folder: Path | None, as_json: bool, mirror_seconds: float) -> None:
    """Fetch what is missing or damaged into --data or the user's cache."""
    spec = datasets.dataset(name)
    fetched: list[str] = []
    if not spec.embedded:
        from harness.data.download import fetch_dataset

        # The place that holds most of the files already, else torchvision's layout.
        target = max(data_files.describe_sources(name, folder), key=lambda place: place.present).folder
        fetched = fetch_dataset(spec, target, mirror_seconds)
    _print(_checked(spec, folder) | {"fetched": fetched}, as_json)


@data.command(short_help="Check every file by its hash.")
@_dataset
@options.data_option
@_as_json
def check(name: str, folder: Path | None, as_json: bool) -> None:
    """Check every file by its hash; exit code 5 when one is missing or damaged."""
    _print(_checked(datasets.dataset(name), folder), as_json)


@data.command()
@_dataset
@options.data_option
@_as_json
def path(name: str, folder: Path | None, as_json: bool) -> None:
    """Print the folder that holds the files, without looking into them."""
    spec = datasets.dataset(name)
    found = data_files.describe_sources(name, folder)[0].folder if spec.embedded else data_files.find(spec, folder)
    click.echo(json.dumps({"dataset": name, "path": str(found)}) if as_json else str(found))


def _checked(spec: datasets.Dataset, folder: Path | None) -> dict[str, Any]:
    """Check a data set and describe it.

    Raises:
        DataError: a file is missing or damaged; the message names all of them.
    """
    report = data_check.check(spec.name, folder)
    problems = [file.problem for file in report.files if file.problem]
    if problems:
        raise DataError("; ".join(problems), hint=data_files.replace_hint())
    return dataclasses.asdict(report)


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=1))
        return
    click.echo(f"{document['dataset']}: every file is the right one")
    click.echo(f"  found in    {document['source']}")
    click.echo("  images      {train:,} to train on, {validation:,} to validate on,".format(**document))
    click.echo("              {test:,} test images, which only verify and evaluate read".format(**document))
    click.echo(f"  data hash   {document['data_hash']}")
    for file in document["files"]:
        click.echo(f"  sha256      {file['sha256']}  {file['name']}")
    for name in document.get("fetched", ()):
        click.echo(f"  fetched     {name}")
    click.echo(document["licence"])
