"""Lookup of the network that an argument names: text, file, preset, notation, hash, name or PyTorch module.

Networks of records, studies, the leaderboard and claims are *known*: a known network has a hash, a name and rows with
recipe, data set and target.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.data.datasets import AUTO, dataset_of_option
from harness.evidence import leaderboard_table
from harness.evidence.leaderboard_table import LeaderboardRow
from harness.evidence.record import Record, read_all, report_damage
from harness.interface.results import Study, Trial
from harness.searching.start_networks import leaderboard_rows
from harness.spaces.catalog import PATTERN, PRESETS, is_named, network_name
from harness.spaces.network import Architecture, Task
from harness.spaces.notation import parse_network
from harness.spaces.ops.op import op_names
from harness.spaces.space_errors import NotationError, SearchSpaceError, nearest
from harness.studies.config import read_config
from harness.studies.log import read_state
from harness.studies.names import studies
from harness.studies.standing import Standing
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.document import read_each
from harness.system.errors import ContentError, UsageError, as_command, option_words, reason
from harness.system.files import Workspace
from harness.system.terminal import counted, say
from harness.training.recipe import (
    RECIPES,
    NamedRecipe,
    Recipe,
    catalog_hash,
    named_recipe,
    recipe_by_hash,
    recipe_named_like,
)
from harness.training.result import Result
from harness.training.user_modules.source import is_module, names_module, notebook_hint

if TYPE_CHECKING:
    from harness.training.user_modules.execution import ModulePart

_HASH = re.compile(r"[0-9a-f]{6,12}")
# PyTorch and Keras use different default slopes.
_LEAKY_WITHOUT_SLOPE = re.compile(r"\bleakyrelu\b(?!\s*\()", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KnownRow:
    """A recipe, data set and target for which a network is known in this workspace.

    Attributes:
        recipe: None if only the name is known.
        recipe_name: Empty for a claim.
        dataset: None for a claim.
        target_pct: Target of the record or the study; None for further rows.
    """

    recipe: Recipe | None
    recipe_name: str
    dataset: str | None
    target_pct: float | None

    @classmethod
    def of(cls, source: Record | Trial) -> KnownRow:
        """Return the row of a record, or of a network of a study."""
        return cls(source.recipe, source.recipe_name, source.dataset, source.target_pct)

    @property
    def recipe_hash(self) -> str:
        """The hash of the recipe, or the name of an unknown recipe."""
        return self.recipe.hash if self.recipe else self.recipe_name


@dataclass(frozen=True, slots=True)
class NetworkArgument:
    """A network named by the user.

    Attributes:
        name: Preset, or name of the record; else empty.
        rows: Rows of a hash, a name, a trial or a study; else empty.
        parts: Layers of a PyTorch module outside of the notation; else empty.
        translated_module: Name of the PyTorch module that was translated; else empty.
        tensor_names: Names of tensors in the user's module, by names in the state of the built network.
        records: All records of the workspace; None if the lookup has read no records (``records_in``).
    """

    architecture: Architecture
    name: str = ""
    rows: tuple[KnownRow, ...] = ()
    parts: tuple[ModulePart, ...] = ()
    translated_module: str = ""
    tensor_names: Mapping[str, str] = field(default_factory=dict, compare=False)
    records: Sequence[Record] | None = field(default=None, compare=False)

    def records_in(self, workspace: Workspace) -> list[Record]:
        """Return the records of the network, which are read if the lookup has not read them."""
        records = read_all(workspace.records) if self.records is None else self.records
        return [each for each in records if each.hash == self.architecture.hash]


def only_row(
    argument: NetworkArgument, *, dataset: str | None, target_pct: float | None, recipe: str | None
) -> KnownRow | None:
    """Return the row of a network that fits the options, or None; None and the data set ``auto`` accept all rows.

    If no row has the target, rows with different targets count; the target of the returned row is then None.

    Args:
        recipe: Name or hash of the recipe, or ``@FILE``; if no row has the recipe, other recipes count, and rows that
            differ only in the recipe count as equal.

    Raises:
        ContentError: Several different rows fit.
    """
    candidates = [row for row in argument.rows if dataset in (None, AUTO) or row.dataset in (None, dataset)]
    candidates = _with_recipe(candidates, recipe) or candidates
    at_target = [row for row in candidates if target_pct is None or row.target_pct in (None, target_pct)]
    rows = at_target or [replace(row, target_pct=None) for row in candidates]
    differing_rows = {(recipe or row.recipe_hash, row.dataset, row.target_pct): row for row in rows}
    _check_single(argument.architecture.hash, [*differing_rows.values()])
    return next(iter(differing_rows.values()), None)


_R = TypeVar("_R", "KnownRow", Record)


def _with_recipe(rows: Sequence[_R], recipe: str | None) -> list[_R]:
    """The recipe is a hash, or a name in the catalog or in the rows; None accepts all."""
    if recipe is None:
        return list(rows)
    hashes = (recipe, catalog_hash(recipe))
    return [row for row in rows if row.recipe_hash in hashes] or [row for row in rows if row.recipe_name == recipe]


def _check_single(network_hash: str, rows: Sequence[KnownRow]) -> None:
    """Raise ContentError, with the values that differ and the options that choose, if there are several rows."""
    values_by_option = {
        "--recipe": [f"recipe {row.recipe_name} ({row.recipe_hash})" for row in rows],
        "--dataset": [row.dataset or "any data set" for row in rows],
        "--target": ["no target" if row.target_pct is None else f"target {row.target_pct:.12g} %" for row in rows],
    }
    choices = {option: values for option, values in values_by_option.items() if len({*values}) > 1}
    if choices:
        texts = sorted({", ".join(values) for values in zip(*choices.values(), strict=True)})
        raise ContentError(
            f"{network_hash} has several rows: {'; '.join(texts)}",
            hint=f"choose by {' and '.join(choices)} (a recipe by name or hash)",
        )


def recipe_of(row: KnownRow | None, recipe: str | None, epochs: int | None, workspace: Workspace) -> NamedRecipe:
    """Return the named recipe (name, hash or ``@FILE.toml``), else the recipe of the row, else ``fast``.

    ``epochs`` replaces the number of epochs of a named recipe and of ``fast``.

    Raises:
        UsageError: The recipe is unknown, the recipe of the row is not defined here, or ``epochs`` would change the
            recipe of the row.
    """
    if recipe is not None and re.fullmatch(r"[0-9a-f]{12}", recipe):
        known_recipes = _recipes_of(workspace)
        if recipe not in known_recipes:
            raise UsageError(f"no recipe of this workspace has the hash {recipe}", hint="set a recipe by name or @FILE")
        row = KnownRow(*known_recipes[recipe], None, None)
    elif recipe is not None or row is None or not row.recipe_name:
        return named_recipe(recipe or "fast", epochs=epochs)
    if row.recipe is None:
        message = f"the row was trained with recipe {row.recipe_name!r}, which is not defined here"
        raise UsageError(message, hint="set a recipe, by name or as @FILE.toml")
    if epochs is not None:
        reason = f"the leaderboard row of the network fixes recipe and epochs ({row.recipe_name})"
        hint = f"set a recipe to train with this recipe for {counted(epochs, 'epoch')}"
        raise UsageError(f"the option epochs requires the option recipe: {reason}", hint=hint)
    return recipe_named_like(row.recipe, row.recipe_name)


def _recipes_of(workspace: Workspace) -> dict[str, tuple[Recipe, str]]:
    recipes = {each.recipe_hash: (each.recipe, each.recipe_name) for each in read_all(workspace.records)}
    for folder in workspace.studies():
        # A damaged study is reported elsewhere.
        with suppress(ContentError):
            config = read_config(folder).config
            choices = map(config.recipe_of, config.epoch_choices)
            recipes |= {recipe.hash: (recipe, name) for recipe, name in choices}
    return recipes


def may_be_known(argument: str) -> bool:
    """Return whether a text is a preset, or has the form of a hash or name."""
    return argument in PRESETS or bool(_HASH.fullmatch(argument) or PATTERN.fullmatch(argument))


def network_argument(
    network: object, workspace: Workspace, task: Task, *, only_notation: bool = False
) -> NetworkArgument:
    """Return the network of an argument: a text, an architecture, a PyTorch module, a trial, or the answer of a study.

    Args:
        only_notation: Refuse a PyTorch module that cannot be translated, before the module is examined.

    Raises:
        UsageError: The type of the value is wrong, the study has no answer, a file or module cannot be read, or
            ``only_notation`` refuses the module.
        ContentError: No network, or several networks, have this hash or name.
        SearchSpaceError: The notation is invalid, or the ops of a text do not fit together.
    """
    if isinstance(network, Study):
        answer = network.answer
        if answer is None or network.tier == Standing.MISSED:
            message = f"the study {network.name} has no answer: {network.outcome}"
            raise UsageError(message, hint="use a trial of study.trials")
        network = answer
    if isinstance(network, Trial):
        return NetworkArgument(network.architecture, rows=(KnownRow.of(network),))
    if isinstance(network, Architecture):
        return NetworkArgument(network)
    if isinstance(network, str):
        return _network_of_text(network, workspace, task, only_notation)
    if is_module(network):
        return _module_argument(network, "", task, only_notation)
    forms = "a notation, a preset, a hash, a name, an Architecture, a PyTorch module, a Study or a Trial"
    raise UsageError(f"network: a value of type {type(network).__name__} is not a network; allowed are {forms}")


def _network_of_text(text: str, workspace: Workspace, task: Task, only_notation: bool) -> NetworkArgument:
    if text == "-":
        return NetworkArgument(_parsed(sys.stdin.read(files.MAX_TYPED), task))
    if text.startswith("@"):
        try:
            content = files.read_typed(Path(text[1:]))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the network file {text[1:]}: {reason(error)}") from error
        return NetworkArgument(_parsed(content, task))
    if text in PRESETS:
        return NetworkArgument(parse_network(PRESETS[text], task), text)
    if names_module(text):
        from harness.training.user_modules.execution import load_value

        return _module_argument(load_value(text), text, task, only_notation)
    try:
        return NetworkArgument(_parsed(text, task))
    except SearchSpaceError as error:
        # A hash or a name; the name of a record may be any text.
        if known_networks := _known(text, workspace):
            return _only_network(text, known_networks, workspace)
        if may_be_known(text):
            message = f"no network of this workspace is named {text!r}"
            raise ContentError(message, hint=_hint_of_name(text, workspace)) from error
        if isinstance(error, NotationError):
            _raise_hint(text, workspace, error)
        raise


def _raise_hint(text: str, workspace: Workspace, error: NotationError) -> None:
    if os.path.isfile(text):  # False for text that cannot be a file name
        raise NotationError(f"{text!r} is a file", hint=_hint_of_file(text)) from error
    if re.fullmatch(r"[\w./~-]*\.[A-Za-z]\w*:?", text):
        hint = "a PyTorch module is FILE.py:NAME or package.module:NAME"
        raise UsageError(f"no file {text!r}", hint=hint) from error
    if re.fullmatch(r"[^#]+\.py:[A-Za-z_]\w*", text) and not text.startswith("module("):
        raise UsageError(f"{text}: the path of a module must not contain | ( ) {{ }} < > or '") from error
    if re.fullmatch(r"[0-9a-f]{1,5}", text):
        raise ContentError(f"{text!r} is too short for a hash: give at least 6 digits") from error
    if re.fullmatch(r"[\w-]+", text) and text not in op_names():
        message = f"{text!r} is not a preset, hash, name or op; presets are {', '.join(PRESETS)}"
        raise NotationError(message, hint=_hint_of_name(text, workspace, *op_names())) from error


def _hint_of_file(path: str) -> str:
    if path.endswith(".ipynb"):
        return notebook_hint(path)
    if path.endswith(".py"):
        names = _definitions(Path(path)) or ["NAME"]
        return f"PyTorch modules have a name: {' or '.join(f'{path}:{name}' for name in names)}"
    return f"@{path} reads the file"


def _definitions(path: Path) -> list[str]:
    with suppress(OSError, SyntaxError, ValueError):
        statements = ast.parse(path.read_bytes()).body
        names = [each.name for each in statements if isinstance(each, ast.ClassDef | ast.FunctionDef)]
        return [name for name in names if not name.startswith("_")]
    return []


def _module_argument(value: Any, argument: str, task: Task, only_notation: bool) -> NetworkArgument:
    """Return the network of a PyTorch module, and print the hash, or the reason why the module is not translated.

    Args:
        value: The module, or a class or function that makes the module.
        argument: Text that names the value; empty for a value of Python.
        only_notation: Raise UsageError instead of keeping the module as an op.
    """
    from harness.pytorch.module_graph import Untranslatable
    from harness.pytorch.translate import translate
    from harness.training.user_modules.execution import describe, made_module

    name = argument or (value if isinstance(value, type) else type(value)).__name__
    instance = made_module(value, name)
    try:
        translation = translate(instance, task, name)
    except Untranslatable as error:
        if only_notation:
            raise UsageError(f"{name} has no notation: {error.message}") from error
        description = describe(value, argument, task)
        say(f"{name} stays a PyTorch module, and the weights of the module are not used: {error.message}")
        say("train, verify, evaluate, report and exports as ONNX and safetensors accept modules; C and PyTorch do not")
        notes = description.notes
        names = {f"ops.0.module.{tensor}": tensor for tensor in instance.state_dict()}
        network = NetworkArgument(Architecture((description.op,)), parts=description.parts, tensor_names=names)
    else:
        notes = translation.notes
        names = translation.tensor_names
        network = NetworkArgument(translation.architecture, translated_module=name, tensor_names=names)
        say(f"{name} is {network.architecture.hash} in the notation, and the weights of the module are not used")
    for note in notes:
        say(f"{name}: {note}")
    return network


def _only_network(name: str, matches: Sequence[NetworkArgument], workspace: Workspace) -> NetworkArgument:
    """Return the network of ``matches``, which have this name or a hash that begins with this text, with all rows.

    Of several networks, the first on the leaderboard that reached the target is returned, or else the first, with a
    warning.
    """
    hashes = sorted({match.architecture.hash for match in matches})
    if len(hashes) > 1:
        if _HASH.fullmatch(name):
            raise ContentError(f"{name!r} is ambiguous: {', '.join(hashes)}", hint="give more digits")
        # Networks of the same family and size share a name.
        rows = [row for row in leaderboard_rows(workspace) if row.hash in hashes]
        best = next((row for row in rows if row.reached), None) or next(iter(rows), None)
        if best is None:
            raise ContentError(f"{name!r} is ambiguous: {', '.join(hashes)}", hint="give a hash")
        further = ", ".join(network_hash[:6] for network_hash in hashes if network_hash != best.hash)
        say(f"{name} refers to {best.hash[:6]}, the best network of this name; further networks: {further}", "warning")
        matches = [match for match in matches if match.architecture.hash == best.hash]
    return replace(matches[0], rows=tuple(row for match in matches for row in match.rows))


def _parsed(text: str, task: Task) -> Architecture:
    # A text passed on by a shell may begin with the byte order mark of a file.
    architecture = parse_network(text.removeprefix("\ufeff"), task)
    if _LEAKY_WITHOUT_SLOPE.search(text):
        say("LeakyReLU without a slope means leaky(0.1); the default is 0.01 in PyTorch and 0.3 in Keras", "warning")
    return architecture


def read_record(network: object, workspace: Workspace, dataset: str = AUTO, recipe: str | None = None) -> Record:
    """Return the record of a network (``network_argument``) with the most seeds; weights do not depend on the target.

    Args:
        dataset: Data set of the record; ``auto`` accepts all.
        recipe: Name or hash; None accepts all.

    Raises:
        ContentError: No record fits, or records with different recipes or data sets fit.
    """
    argument = network_argument(network, workspace, dataset_of_option(dataset).task)
    network_hash = argument.architecture.hash
    if isinstance(network, Study | Trial):
        [row] = argument.rows
        dataset = row.dataset or dataset
        recipe = recipe or row.recipe_hash
    records = argument.records_in(workspace)
    matches = _with_recipe([each for each in records if dataset in (AUTO, each.dataset)], recipe)
    if not matches:
        message = f"{network_hash} has no record"
        if records:
            rows = sorted({f"{each.recipe_name} on {each.dataset}" for each in records})
            message += f" for this recipe or data set; existing records: {'; '.join(rows)}"
        options = option_words({"--dataset": dataset, "--recipe": recipe})
        name = network if isinstance(network, str) else network_hash
        hint = f"recipes: {', '.join(RECIPES)}, or @FILE.toml"
        if recipe is None or catalog_hash(recipe) or recipe in _recipes_of(workspace):
            hint = f"{as_command('verify', name, *options)} trains the network (minutes) and keeps record and weights"
        raise ContentError(message, hint=hint)
    _check_single(network_hash, [replace(KnownRow.of(each), target_pct=None) for each in matches])
    return max(matches, key=lambda each: len(each.seeds))


def read_studies(workspace: Workspace) -> list[StudyState]:
    """Return all readable studies; damaged studies are left out and reported once."""
    states, damage = read_each(read_state, studies(workspace).values())
    report_damage(damage)
    return states


def known_names(workspace: Workspace) -> list[str]:
    """Return the names of the presets and of the networks on the leaderboard."""
    rows = leaderboard_rows(workspace)
    return [*dict.fromkeys([*PRESETS, *(network_name(row.architecture, row.parameters) for row in rows)])]


def _hint_of_name(name: str, workspace: Workspace, *further_names: str) -> str:
    similar_name = nearest(name, [*known_names(workspace), *further_names])
    return similar_name or f"'{as_command('leaderboard', '--all')}' lists hashes and names"


def _matches(name: str, row: Record | Result | LeaderboardRow) -> bool:
    if not isinstance(row, Result) and row.name and row.name == name:
        return True
    is_hash = _HASH.fullmatch(name) is not None and row.architecture.hash.startswith(name)
    return is_hash or is_named(row.architecture, row.parameters, name)


def _known(name: str, workspace: Workspace) -> list[NetworkArgument]:
    """Return the networks of records, else of all remaining sources, for a name or the beginning of a hash.

    A network is repeated for each row.
    """
    records = read_all(workspace.records)
    matches = [record for record in records if _matches(name, record)]
    if matches:
        return [NetworkArgument(row.architecture, row.name, (KnownRow.of(row),), records=records) for row in matches]
    return list(_without_record(name, workspace, {record.recipe_hash: record.recipe for record in records}))


def _without_record(name: str, workspace: Workspace, recipes: Mapping[str, Recipe]) -> Iterator[NetworkArgument]:
    """``recipes`` are recorded recipes by hash."""
    hashes = set[str]()
    for study in read_studies(workspace):
        for run in study.results:
            if _matches(name, run):
                hashes.add(run.hash)
                known_row = KnownRow(run.recipe, run.recipe_name, run.dataset, study.config.target_pct)
                yield NetworkArgument(run.architecture, rows=(known_row,))
    # Networks of studies are on the leaderboard too, or were claimed; a second row would make the argument ambiguous.
    recipe_rows = [row for row in leaderboard_rows(workspace) if row.recipe_hash]
    paths = leaderboard_table.claim_paths(workspace)
    claims = [row for path in paths for row in leaderboard_table.read_claims(path) if row.tier is Standing.CLAIMED]
    new_rows = [each for each in recipe_rows if each.hash not in hashes and _matches(name, each)]
    for entry in new_rows:
        recipe = recipes.get(entry.recipe_hash)
        if entry.epochs:
            recipe = recipe_by_hash(entry.recipe_hash, entry.epochs) or recipe
        yield NetworkArgument(entry.architecture, rows=(KnownRow(recipe, entry.recipe, entry.dataset, None),))
    hashes |= {entry.hash for entry in new_rows}
    for claim in claims:
        if claim.hash not in hashes and _matches(name, claim):
            yield NetworkArgument(claim.architecture, rows=(KnownRow(None, "", None, None),))
