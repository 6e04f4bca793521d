"""The options that several commands share, each declared once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.api import say_engine as say_engine
from harness.api import say_teacher as say_teacher
from harness.system.errors import Interrupted
from harness.system.terminal import Parsed, busy, printable_json, say

if TYPE_CHECKING:
    from harness.training.ray import Cluster
    from search_spaces.space import Condition

_Command = TypeVar("_Command", bound=Callable[..., Any])


as_json = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
data_option = click.option(
    "--data",
    "folder",
    envvar="HARNESS_DATA",
    type=click.Path(path_type=Path),
    help="Folder of the data, in torchvision's layout [env HARNESS_DATA; default: the user's cache].",
)
device_option = click.option("--device", default="auto", help="auto, cpu, cuda or cuda:N.")
engine_option = click.option(
    "--engine",
    default="auto",
    help="native (compiled, for CPUs), torch, or auto (native where it can train the recipe).",
)
# What it does differs from command to command, so the help is theirs.
storage_option = partial(click.option, "--storage", metavar="URL")


def data_options(command: _Command) -> _Command:
    """Add ``--dataset`` and ``--data``."""
    return click.option(
        "--dataset",
        default="auto",
        help="auto, mnist, fashion-mnist, kmnist or mnist-5k; auto is the data set of a recorded network, "
        "else mnist, or mnist-5k where there is no MNIST.",
    )(data_option(command))


def say_left_out(damage: Iterable[str]) -> None:
    """Say on stderr what was left out because it does not hold together, a line each."""
    for message in damage:
        say(f"left out: {message}", "warning")


@contextmanager
def cluster(address: str | None, processes: int | None) -> Iterator[Cluster | None]:
    """Be connected to a cluster for the block; None where no address is given."""
    if address is None:
        yield None
        return
    from harness.training.ray import connected

    with ExitStack() as held:
        with busy(f"connecting to the cluster ({address})"):
            link = held.enter_context(connected(address, processes))
        yield link


def number_or(word: str, number: str, low: int, high: int | None = None, name: str = "number") -> Parsed:
    """Return the type of a number of a range, or a word, which becomes None; errors call it ``number``."""

    def parse(text: str) -> int | None:
        if text != word and not (text.isdecimal() and low <= int(text) <= (high or int(text))):
            raise ValueError(f"{text!r} is neither {word} nor {number}")
        return None if text == word else int(text)

    return Parsed(f"{name}|{word}", parse)


def _address(text: str) -> str:
    if (
        not re.fullmatch(r"local|auto|.+:\d{1,5}", text)
        or not 0 < int(text.rpartition(":")[2] if ":" in text else 1) < 65536
    ):
        raise ValueError(f"{text!r} is none of local, auto and HOST:PORT, such as 10.0.0.1:6379")
    return text


def _epochs(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\s*\d{1,6}\s*(,\s*\d{1,6}\s*)*", text, re.ASCII):
        raise ValueError(f"{text!r} is not a list of epochs such as 1,2,4,8")
    return tuple(map(int, text.split(",")))


def _per_cent(text: str) -> float:
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    # Whoever writes 0.994 means a share.
    if not 1 <= number <= 100:
        meant = f"; did you mean {100 * number:.12g}?" if 0 < number < 1 else ""
        raise ValueError(f"{text} is no accuracy to ask for; allowed are 1 to 100{meant}")
    return number


def _conditions(text: str) -> tuple[Condition, ...]:
    from search_spaces.errors import NotationError
    from search_spaces.notation import parse_conditions

    try:
        return parse_conditions(text)
    except NotationError as error:
        raise ValueError(f"{error.message}, in {text!r}; {error.hint or 'such as macs<=1000000'}") from error


PER_CENT = Parsed("per cent", _per_cent)
EPOCHS = Parsed("epochs", _epochs)
CONDITIONS = Parsed("METRIC<=N", _conditions)

# The value of each is None for ``auto``.
workers_option = click.option(
    "--workers",
    type=number_or("auto", "a number from 1 to 256", 1, 256),
    default="auto",
    help="Training processes [auto: one a core on a CPU, one on a GPU].",
)
# And None for this machine's processes.
cluster_option = click.option(
    "--cluster",
    type=Parsed("local|auto|HOST:PORT", _address),
    help="Train on the nodes of a Ray cluster: one started here, the one this machine is in, or the one whose head "
    "is named; --workers then counts for each node (docs/cluster.md).",
)


@contextmanager
def resumable() -> Iterator[None]:
    """Say to whoever interrupts the block that the same command resumes it."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", hint="resume with the same command") from error


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; non-finite numbers must have been made null."""
    click.echo(printable_json(document))


def answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print what a command has found, for programs or for people."""
    print_json(document) if as_json else click.echo(text)
