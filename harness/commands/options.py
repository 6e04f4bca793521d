"""The options that several commands share, each declared once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def as_json(command: _Command) -> _Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")(command)


def data_options(command: _Command) -> _Command:
    """Add ``--dataset`` and ``--data``."""
    command = click.option(
        "--data",
        "folder",
        envvar="HARNESS_DATA",
        type=click.Path(path_type=Path),
        help="Folder of the data, in torchvision's layout [env HARNESS_DATA; default: the user's cache].",
    )(command)
    return click.option(
        "--dataset",
        default="auto",
        show_default=True,
        help="auto, mnist, fashion-mnist, kmnist or mnist-5k; auto is mnist, or mnist-5k where there is none.",
    )(command)


def device_option(command: _Command) -> _Command:
    """Add ``--device``."""
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")(command)


def workers_option(command: _Command) -> _Command:
    """Add ``--workers``."""
    return click.option(
        "--workers",
        type=click.IntRange(1, 256),
        help="Training processes [default: one a core on a CPU, one on a GPU].",
    )(command)


def worker_count(given: int | None, device: str) -> int:
    """Return how many processes train: one single-threaded one a core, or as told."""
    if given is not None:
        return given
    return len(os.sched_getaffinity(0)) if device == "cpu" else 1


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; non-finite numbers must have been made null."""
    click.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))
