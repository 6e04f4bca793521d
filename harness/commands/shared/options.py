"""The options that several commands share, each declared once."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.system.errors import Interrupted, typed
from harness.system.terminal import busy, counted, printable_json

if TYPE_CHECKING:
    from harness.commands.shared.network_argument import KnownRow
    from harness.training.cluster.ray_link import Link
    from harness.training.native.native import Choice
    from harness.training.recipe import NamedRecipe, Recipe
    from search_spaces.space import Condition
    from search_spaces.task import Task

_Command = TypeVar("_Command", bound=Callable[..., Any])


as_json = click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document.")
data_option = click.option(
    "--data",
    "folder",
    envvar="HARNESS_DATA",
    type=click.Path(path_type=Path),
    help="Folder of the data, in torchvision's layout [env HARNESS_DATA; default: the user's cache].",
)
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
engine_option = click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="native (compiled, for CPUs), torch, or auto (native where it can train the recipe).",
)
# What it does differs from command to command, so the help is theirs.
storage_option = partial(click.option, "--storage", metavar="URL")


def data_options(command: _Command) -> _Command:
    """Add ``--dataset`` and ``--data``."""
    return click.option(
        "--dataset",
        default="auto",
        show_default=True,
        help="auto, mnist, fashion-mnist, kmnist or mnist-5k; auto is the data set of a recorded network, "
        "else mnist, or mnist-5k where there is no MNIST.",
    )(data_option(command))


def say_engine(choice: Choice) -> None:
    """Say once on stderr why torch trains where another engine might have, or what the engine is built without."""
    for reason in choice.engine.skipped if choice.engine is not None else ():
        click.echo(f"harness: the engine is built {reason}", err=True)
    if choice.why:
        click.echo(f"harness: torch trains, not the native engine: {choice.why}", err=True)


def say_recipe(named: NamedRecipe, asked: str | None, row: KnownRow | None) -> None:
    """Say on stderr which recipe trains where none was asked for."""
    if asked is None:
        why = "the row's own" if row is not None and row.recipe is not None else "as none was given"
        click.echo(f"harness: recipe {named.name}, {why}", err=True)


def say_left_out(damage: Iterable[str]) -> None:
    """Say on stderr what was left out because it does not hold together, a line each."""
    for message in damage:
        click.echo(f"harness: left out: {message}", err=True)


def say_teacher(recipe: Recipe, task: Task, folder: Path) -> None:
    """Say once on stderr that a teacher is trained before its students, where it is not kept."""
    if recipe.teacher_recipe is not None:
        from search_spaces.cost import analyse
        from search_spaces.notation import parse_network

        parameters = analyse(parse_network(recipe.teacher, task), task).parameters
        click.echo(
            f"harness: {counted(recipe.teacher_seeds, 'teacher')} of {parameters:,} parameters; a missing one is "
            f"trained first, for {counted(recipe.teacher_recipe.epochs, 'epoch')}, and kept in {folder}",
            err=True,
        )


@contextmanager
def cluster(address: str | None, processes: int | None) -> Iterator[Link | None]:
    """Be connected to a cluster for the block; None where no address is given."""
    if address is None:
        yield None
        return
    from harness.training.cluster.ray_link import connected

    with ExitStack() as held:
        with busy(f"connecting to the cluster ({address})"):
            link = held.enter_context(connected(address, processes))
        yield link


class ClusterAddress(click.ParamType[str]):
    """``local``, ``auto`` or the address of a cluster's head."""

    name = "local|auto|HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address as it is given."""
        text = str(value)
        host, _, port = text.rpartition(":")
        if text not in ("local", "auto") and not (host and port.isdecimal() and 0 < int(port) < 65536):
            self.fail(f"{text!r} is none of local, auto and HOST:PORT, such as 10.0.0.1:6379.", param, ctx)
        return text


class CountOrWord(click.ParamType[int | None]):
    """A number of a range, or a word, which becomes None."""

    def __init__(self, word: str, number: str, low: int, high: int | None = None, name: str = "number") -> None:
        """Take the word, what the number is called in an error, and its range."""
        self.word, self.number, self.range, self.name = word, number, click.IntRange(low, high), f"{name}|{word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Return the number, None for the word."""
        if value is None or value == self.word:
            return None
        try:
            return self.range.convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither {self.word} nor {self.number}.", param, ctx)


class Epochs(click.ParamType[tuple[int, ...]]):
    """Epochs joined by commas, such as 1,2,4,8."""

    name = "epochs"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return them as they are given."""
        if isinstance(value, tuple):
            return value
        parts = value.split(",")
        if not all(part.strip().isdecimal() and len(part) < 7 for part in parts):
            self.fail(f"{value!r} is not a list of epochs such as 1,2,4,8.", param, ctx)
        return tuple(int(part) for part in parts)


class PerCent(click.FloatRange):
    """A number from 1 to 100; click's own range lets "nan" through.

    What lies between 0 and 1 is refused: whoever writes 0.994 means a share.
    """

    name = "per cent"

    def __init__(self) -> None:
        """Take the range."""
        super().__init__(1, 100)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        given: Any = value.removesuffix("%") if isinstance(value, str) else value
        number = float(click.FLOAT.convert(given, param, ctx))
        if math.isnan(number) or number <= 0 or number > 100:
            self.fail(f"{value} is no accuracy to ask for; allowed are 1 to 100.", param, ctx)
        if number < 1:
            self.fail(f"{value} is less than one per cent; did you mean {100 * number:.12g}?", param, ctx)
        return number


class Conditions(click.ParamType["tuple[Condition, ...]"]):
    """Conditions of metrics joined by commas, such as ``macs<=1000000,receptive_field>=20``."""

    name = "METRIC<=N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Condition, ...]:
        """Return them as they are given."""
        from search_spaces.errors import NotationError
        from search_spaces.resolve import parse_conditions

        if isinstance(value, tuple):
            return value
        try:
            return parse_conditions(value)
        except NotationError as error:
            said = "; ".join(filter(None, (f"{error.message}, in {value!r}", error.hint)))
            self.fail(f"{said}; conditions are such as macs<=1000000,receptive_field>=20.", param, ctx)


PER_CENT = PerCent()
EPOCHS = Epochs()
CONDITIONS = Conditions()

# The value of each is None for ``auto``.
workers_option = click.option(
    "--workers",
    type=CountOrWord("auto", "a number from 1 to 256", 1, 256),
    default="auto",
    show_default=True,
    help="Training processes. auto: one a core on a CPU, one on a GPU.",
)
# And None for this machine's processes.
cluster_option = click.option(
    "--cluster",
    type=ClusterAddress(),
    help="Train on the nodes of a Ray cluster: one started here, the one this machine is in, or the one whose head "
    "is named; --workers then counts for each node (docs/cluster.md).",
)


@contextmanager
def resumable() -> Iterator[None]:
    """Say to whoever interrupts the block that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", hint=f"the same command goes on: {typed(*sys.argv[1:])}") from error


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on stdout; non-finite numbers must have been made null."""
    click.echo(printable_json(document))


def answer(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print what a command has found, for programs or for people."""
    print_json(document) if as_json else click.echo(text)
