"""The request for a search: each field declares an option of ``harness search`` and an argument of ``harness.search``.

The command, the Python function, the completion in a shell and docs/use/commands.md are derived from the fields, so
that a new option is a field here and the code that reads the field.

``Option[A, V](default, help, kind)``: A are the types of accepted values, V is the type of the checked value, and
``kind`` is the click type. ``group`` is the section of the help text; a field with ``group=None`` is an argument of
Python only. ``source_key`` is the key of the source of the value in ``config.json``, by default the name; None for
options that are not recorded.
"""

# ``harness.interface.options`` shows the evaluated annotations as types.
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from harness.data.datasets import DATASETS, Dataset
from harness.searching import option_types
from harness.spaces.catalog import SPACES
from harness.spaces.chips import CHIPS, Chip, chip_named
from harness.spaces.cores import CORES, Core, Repetitions
from harness.spaces.notation import parse_conditions
from harness.spaces.space import OBJECTIVES, Condition
from harness.spaces.space_errors import NotationError, nearest
from harness.system import doors
from harness.system.document import read_as, read_toml, strict_json
from harness.system.doors import Door
from harness.system.errors import ContentError
from harness.system.files import workspace
from harness.system.option import Group, Option, options_of
from harness.system.terminal import DURATION, Parsed

if TYPE_CHECKING:
    from harness.searching.start_networks import StartNetworks
    from harness.studies.events import Event


def _known_samplers() -> Iterable[str]:
    from harness.searching.optuna_sampler import SAMPLERS

    return ("auto", *SAMPLERS)


def _known_recipes() -> Iterable[str]:
    from harness.training.recipe import RECIPES

    return ("auto", *RECIPES)


def _known_datasets() -> Iterable[str]:
    return ("auto", *DATASETS, *(path.name for path in workspace().data_sets()))


def _known_studies() -> Iterable[str]:
    return (folder.name for folder in workspace().studies())


def _spelled_out(text: str) -> str:
    def number(match: re.Match[str]) -> str:
        return f"{Decimal(match[1]) * (10**6 if match[2] in 'mM' else 1000):f}".partition(".")[0]

    return re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)([kKmM])\b", number, text)


class _CountType(click.IntRange):
    """An integer in a range; suffixes are allowed, as in 20k and 1.5M."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text: Any = _spelled_out(value) if isinstance(value, str) else value
        return super().convert(text, param, ctx)


def _address(text: str) -> str:
    if re.match(r"[\w-]+://", text):
        return text  # ``executors.clusters.connection`` checks the name
    address = re.fullmatch(r".+:(\d{1,5})", text)
    if text not in ("local", "auto") and not (address and 0 < int(address[1]) < 65536):
        raise ValueError(f"{text!r} must be local, auto or HOST:PORT, such as 10.0.0.1:6379")
    return text


def _conditions(text: str) -> tuple[Condition, ...]:
    try:
        return parse_conditions(_spelled_out(text))
    except NotationError as error:
        raise ValueError(f"{error.message}, in {text!r}; {error.hint or 'such as macs<=1000000'}") from error


def _chip(text: str) -> Chip:
    """``@FILE.toml`` defines a chip with the fields of ``chips.toml``.

    The field ``core`` of the file is the name of a core in ``chips.toml``, or a table with the fields of a core.
    """
    if not text.startswith("@"):
        return chip_named(text)
    path = Path(text[1:])
    document = read_toml(path, "chip")
    core = document.get("core")
    if isinstance(core, str):
        if core not in CORES:
            raise ContentError(f"{path}: unknown core {core!r}; known: {', '.join(CORES)}", hint=nearest(core, CORES))
        document["core"] = asdict(CORES[core])
    statement = {"name": path.stem, **document, "file": str(path)}
    for kind in (Core, Repetitions):
        strict_json(kind)  # refuse unknown fields
    return read_as(strict_json(Chip), json.dumps(statement, default=str), str(path))


class _CallbackType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    name = "function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not callable(value):
            self.fail(f"a value of type {type(value).__name__} cannot be called")
        return value


class _FunctionName(click.types.StringParamType):
    """A name, or a function as a text, by which worker processes import the function."""

    name = "text; a function is stated as MODULE:FUNCTION"


class _StartNetworksType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from harness.searching.start_networks import StartNetworks

        if isinstance(value, StartNetworks):
            return value
        if not isinstance(value, str):
            self.fail(f"a value of type {type(value).__name__} is not the name of a study")
        return StartNetworks.read(value, workspace())


class _SamplerName(_FunctionName):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A user's function is called once, to check the sampler."""
        name = super().convert(value, param, ctx)
        if name not in ("auto", "surrogate"):
            from harness.searching.samplers import check_sampler

            check_sampler(name)
        return name


_ADDRESS = Parsed("local|auto|HOST:PORT", _address)
_CHIP = Parsed("name", _chip)
_CONDITIONS = Parsed("METRIC<=N", _conditions, between=",")


# No slots: ``Option.__set__`` writes to ``__dict__``.
@dataclass(frozen=True)
class SearchRequest:
    """Checked arguments of a search; construction raises UsageError if a value is not allowed."""

    # fmt: off
    dataset: Option[str | Path | Dataset, str] = Option(
        "auto", "Data set: auto, mnist, fashion-mnist, kmnist, mnist-5k, or a path ('harness data describe'); auto is "
        "the data set of a recorded network, else mnist, or mnist-5k if MNIST is not available.",
        option_types.DATASET, group=Group.DATA, known_values=_known_datasets)
    _: KW_ONLY
    budget: Option[int, int] = Option(
        20_000, "Parameter budget: networks with more parameters are rejected.",
        _CountType(1, 10**9), group=Group.GOAL)
    limits: Option[str | Sequence[str] | Mapping[str, int] | None, tuple[Condition, ...] | None] = Option(
        None, "Constraints on every network, such as 'macs<=1000000,receptive_field>=20'; may be repeated.",
        _CONDITIONS, group=Group.GOAL, flags=("--limit",))
    # The limits of a chip are part of the text of the space.
    chip: Option[str | Chip | None, Chip | None] = Option(
        None, f"Chip whose flash and RAM must hold the network as exported C: {', '.join(CHIPS)}, or @FILE.toml.",
        _CHIP, group=Group.GOAL, known_values=lambda: CHIPS, source_key=None)
    target_pct: Option[float | None, float | None] = Option(
        None, "Target test accuracy, in per cent [default: target of the leaderboard row or the data set].",
        option_types.PER_CENT, group=Group.GOAL, flags=("--target",), source_key="target")
    minimise: Option[str | Sequence[str], tuple[str, ...]] = Option(
        ("parameters",),
        "Objective to minimise; bytes and instructions refer to an int8 deployment. Two give a Pareto front.",
        click.Choice(list(map(str, OBJECTIVES))), group=Group.GOAL, flags=("--minimise", "--minimize"), multiple=True)
    data: Option[str | Path | None, Path | None] = Option(
        None, "Folder of the data, in the layout of torchvision [env HARNESS_DATA; default: the user's cache].",
        option_types.FILE, group=Group.DATA, envvar="HARNESS_DATA", source_key="folder")
    space: Option[str, str] = Option(
        "auto", "Search space: a name, or @FILE; auto selects a space by the shape of the images.",
        group=Group.METHOD, known_values=lambda: ("auto", *SPACES))
    sampler: Option[str, str] = Option(
        "auto", "Sampler: auto (same as surrogate), surrogate, evolution, tpe, nsga2, random, or MODULE:FUNCTION, a "
        "function that returns an Optuna sampler for a seed.",
        _SamplerName(), group=Group.METHOD, metavar="TEXT", known_values=_known_samplers)
    recipe: Option[str, str] = Option(
        "auto", "Training recipe: a name, or @FILE.toml; auto selects a recipe for the data set.",
        group=Group.METHOD, known_values=_known_recipes)
    trainer: Option[str | None, str | None] = Option(
        None, "Train with your own function instead of a recipe; the module may be in the current folder.",
        _FunctionName(), group=Group.METHOD, metavar="MODULE:FUNCTION")
    epochs: Option[int | str | Sequence[int] | None, tuple[int, ...] | None] = Option(
        None, "Allowed numbers of epochs, such as 5,10,30; may be repeated "
        "[default: 5,8,12,20,30,60, or the number of the recipe].", option_types.EPOCHS, group=Group.METHOD)
    prior: Option[str, str] = Option(
        "shipped", "Prior observations: shipped with the package, own (shipped and your own studies), or none.",
        click.Choice(["shipped", "own", "none"]), group=Group.METHOD)
    start_from: Option[str | None, "StartNetworks | None"] = Option(
        None, "Start with the confirmed networks of a study, or with the networks of the 'leaderboard'.",
        _StartNetworksType(), group=Group.METHOD, flags=("--from",), metavar="STUDY", known_values=_known_studies)
    seed: Option[int, int] = Option(0, "Random seed of the search.", click.IntRange(0, 2**32 - 1), group=Group.METHOD)
    time: Option[str | float, float] = Option(
        "57m", "Time budget, verification included.", DURATION, group=Group.EFFORT, source_key="seconds")
    trials: Option[int | None, int | None] = Option(
        None, "Maximum number of trials, without the baselines [default: unlimited].",
        click.IntRange(1), group=Group.EFFORT)
    trial_time: Option[str | float, float] = Option("30m", "Time limit per run.", DURATION, group=Group.EFFORT)
    trial_memory: Option[int, int] = Option(
        4096, "Memory limit per worker in MiB, without mapped files.",
        _CountType(64, 10**9), group=Group.EFFORT)
    workers: Option[int | str, int | None] = Option(
        "auto", "Number of training processes [auto: one per core on a CPU, one on a GPU].",
        option_types.WORKERS, group=Group.EFFORT)
    cluster: Option[str | None, str | None] = Option(
        None, "Train on the nodes of a Ray cluster: local starts a cluster, auto uses the cluster of this machine, "
        "HOST:PORT names the head node; --workers then counts per node (docs/use/cluster.md). NAME://ADDRESS selects a "
        "cluster of a package (docs/use/extending.md).",
        _ADDRESS, group=Group.EFFORT)
    device: Option[str, str] = Option("auto", "Device: auto, cpu, cuda or cuda:N.", group=Group.EFFORT)
    engine: Option[str, str] = Option(
        "auto", "Engine: native (compiled, for CPUs), torch, or auto (native if possible for the recipe).",
        group=Group.EFFORT, known_values=lambda: ("auto", "native", "torch"))
    study: Option[str | None, str | None] = Option(
        None, "Name of the study [default: derived from the configuration].", known_values=_known_studies)
    storage: Option[str | None, str | None] = Option(
        None, "Mirror the study in this database, for optuna-dashboard: postgresql://..., sqlite:///FILE.",
        metavar="URL", source_key=None)
    log: Option[str | Sequence[str] | None, tuple[str, ...]] = Option(
        (), "Log runs to tensorboard (in the folder of the study), mlflow, or an observer of a package "
        "(docs/use/extending.md); requires the extra 'logs'; may be repeated.",
        metavar="NAME", multiple=True, source_key=None, known_values=lambda: doors.names(Door.OBSERVERS) - {"storage"})
    on_event: Option[Callable[["Event"], object] | None, Callable[["Event"], object] | None] = Option(
        None, "Function called with each event of the study (``harness.studies.events.Event``) on a separate thread. "
        "If the function raises, the error is reported and the function is not called again.",
        _CallbackType(), group=None, source_key=None)
    # fmt: on

    def __post_init__(self) -> None:
        sources = {}
        for option in options_of(type(self)).values():
            is_default = getattr(self, option.name) == option.checked(None)
            sources[option] = "default" if is_default else "call"
        vars(self)["_sources"] = sources

    @classmethod
    def of_command(cls, context: click.Context, arguments: Mapping[str, Any]) -> Self:
        """Return the request of a command line; the sources are names of Click, such as ``commandline``."""
        request = cls(**arguments)
        for option in request.sources:
            source = context.get_parameter_source(option.name)
            request.sources[option] = "default" if source is None else source.name.lower()
        return request

    @property
    def sources(self) -> dict[Option[Any, Any], str]:
        """Source of each value by option: ``call``, ``commandline``, ``environment`` or ``default``."""
        sources: dict[Option[Any, Any], str] = vars(self)["_sources"]
        return sources
