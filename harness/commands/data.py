"""``harness data``: fetch the images, check them, tell where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.commands.shared import options
from harness.data import datasets

_dataset = click.option(
    "--dataset",
    "name",
    default="mnist",
    show_default=True,
    help=f"One of {', '.join(datasets.DATASETS)}.",
)


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
@options.as_json
@click.option(
    "--mirror-seconds",
    type=click.FloatRange(min=0, max=86_400, min_open=True),
    default=20.0,
    show_default=True,
    help="Time for a mirror to answer.",
)
def fetch(name: str, folder: Path | None, as_json: bool, mirror_seconds: float) -> None:
    """Fetch what is missing or damaged into --data or the user's cache."""
    from harness.data import data_files

    spec = datasets.dataset(name)
    # mnist-5k has no files to fetch.
    fetched = data_files.fetch(spec, folder, mirror_seconds)
    _print(data_files.check(spec, folder) | {"fetched": fetched}, as_json)


@data.command(short_help="Check every file by its hash.")
@_dataset
@options.data_option
@options.as_json
def check(name: str, folder: Path | None, as_json: bool) -> None:
    """Check every file by its hash; exit code 5 when one is missing or damaged."""
    from harness.data import data_files

    _print(data_files.check(datasets.dataset(name), folder), as_json)


@data.command()
@_dataset
@options.data_option
@options.as_json
def path(name: str, folder: Path | None, as_json: bool) -> None:
    """Print the folder that holds the files, without looking into them."""
    from harness.data import data_files

    found = str(data_files.find(datasets.dataset(name), folder))
    options.answer(as_json, {"dataset": name, "path": found}, found)


def _print(document: dict[str, Any], as_json: bool) -> None:
    lines = [
        "{dataset}: every file is the right one",
        "  found in    {source}",
        "  images      {train:,} to train on, {validation:,} to validate on,",
        "              {test:,} test images, which only verify and evaluate read",
        "  data hash   {data_hash}",
        *(f"  sha256      {file['sha256']}  {file['name']}" for file in document["files"]),
        *(f"  fetched     {name}" for name in document.get("fetched", ())),
        "{licence}",
    ]
    options.answer(as_json, document, "\n".join(lines).format(**document))
