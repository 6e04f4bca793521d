"""Committed evidence behind a row of the leaderboard: a network, a recipe, every seed ever run, and the weights.

This module does not import torch, so a check of all files builds no network. Two seeds were trained again on a
processor that rounds differently: the weights reproduce the recorded errors image by image, and a line of
``repeats.jsonl`` states that the bits differ.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.data.datasets import Dataset, dataset, dataset_of
from harness.data.groups import GroupErrors
from harness.spaces.network import analyse
from harness.spaces.notation import parse_notation
from harness.spaces.space_errors import NotationError, SearchSpaceError
from harness.system import files
from harness.system.document import BRING_BACK, WrittenNetwork, document_of, parse_json, read_as, read_each, strict_json
from harness.system.errors import ContentError, as_command, reason
from harness.system.terminal import say_once
from harness.training.recipe import Recipe, catalog_hash
from harness.training.result import PROTOCOL_VERSION, Environment, Errors, Purpose, Result, Status, derive_seed


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """A recorded seed of a verification.

    Attributes:
        wrong: (index of the test image, predicted class) of each wrong test image.
        best_test_errors: Fewest test errors after any epoch; None unless the recipe tests each epoch.
        beacon: Commit that declared the attempt, on which ``seed`` depends; None also in the first four attempts.
    """

    index: int
    seed: int
    status: Status
    test_errors: int
    test_size: int
    wrong: tuple[tuple[int, int], ...]
    weights_sha256: str | None
    train_seconds: float
    started_utc: str
    environment: Environment
    best_test_errors: int | None = None
    attempt: int | None = None
    beacon: str | None = None

    @classmethod
    def of(cls, result: Result, attempt: int | None = None, beacon: str | None = None) -> SeedRun:
        """Return the run of a verification result."""
        facts = (result.test_errors, result.test_size, result.environment)
        assert None not in facts, "a verification reads the test set"
        epoch_errors = [epoch.test_errors for epoch in result.history if epoch.test_errors is not None]
        values = {item.name: getattr(result, item.name) for item in fields(cls) if hasattr(result, item.name)}
        fewest_errors = min(epoch_errors, default=None)
        return cls(**values, index=result.seed_index, best_test_errors=fewest_errors, attempt=attempt, beacon=beacon)

    @property
    def accuracy_pct(self) -> float:
        """Test accuracy, per cent."""
        return Errors(self.test_errors, self.test_size).accuracy_pct


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSummary:
    """Search that found the network.

    Attributes:
        validation_accuracy_pct: Mean over the fresh validation seeds.
        trained: Number of networks with a finished run.
        rejected: Draws and proposals rejected before a training.
        search_seconds: Wall-clock time of the whole search.
        attempt: 1 for the first verified network of the study, 2 for the second, and so on.
    """

    study: str
    study_seed: int
    space: str
    sampler: str
    trial: int
    validation_accuracy_pct: float
    validation_seeds: int
    trained: int
    rejected: int
    search_seconds: float
    workers: int
    attempt: int = 1


class RowKey(NamedTuple):
    """Identity of a row of the leaderboard and of its record."""

    hash: str
    recipe_hash: str
    dataset: str
    target_pct: float
    protocol_version: int

    @classmethod
    def of(cls, item: Any) -> RowKey:
        """Return the identity of the row of an object with these fields."""
        return cls(*(getattr(item, name) for name in cls._fields))

    def arguments(self, command: str, recipe_name: str, *further: str) -> tuple[str, ...]:
        """Return the arguments of a command for the network, with options that select this row in each workspace.

        Args:
            command: ``verify``, ``evaluate`` or ``export``; only ``verify`` depends on the target.
            recipe_name: Name of the recipe; the hash replaces the name if the catalog has no equal recipe of this name.
        """
        words = [command, self.hash]
        if self.recipe_hash:
            is_in_catalog = catalog_hash(recipe_name) == self.recipe_hash
            words += ["--recipe", recipe_name if is_in_catalog else self.recipe_hash]
        words += ["--dataset", self.dataset]
        if command == "verify":
            words += ["--target", f"{self.target_pct:.12g}"]
        return (*words, *further)


@strict_json
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Evidence of a row.

    Attributes:
        assumed: Recipe fields that the source document does not state.
        seeds: Recorded seeds in the order of the indices, each index once.
        search_summary: Search that found the network, or None; the document key is ``found``.
        teacher_seconds: Always 0; a key of schema 1.
    """

    name: str
    architecture: WrittenNetwork
    hash: str
    parameters: int
    macs: int
    recipe: Recipe
    recipe_name: str
    recipe_hash: str
    assumed: tuple[str, ...]
    dataset: str
    target_pct: float
    seeds: tuple[SeedRun, ...]
    search_summary: SearchSummary | None = field(default=None, metadata={"alias": "found"})
    teacher_seconds: float = 0.0
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1

    @property
    def key(self) -> RowKey:
        """Identity of the row: network, recipe, data set, target and protocol."""
        return RowKey.of(self)

    @property
    def stem(self) -> str:
        """Name of the file without the ending: each part of the key except the protocol."""
        target = f"{self.target_pct:.12g}".replace(".", "_")
        return f"{self.hash}-{self.recipe_hash}-{self.dataset}-{target}"

    def path(self, folder: Path) -> Path:
        """Return the path of the record in a folder of records."""
        return folder / f"{self.stem}.json"

    def weights_path(self, records: Path, index: int) -> Path:
        """Return the path of the weights of a seed, which does not depend on the target."""
        row = f"{self.hash}-{self.recipe_hash}-{self.dataset}"
        return records / "weights" / row / f"seed-{index:04d}.safetensors"

    def kept_weights(self, records_folder: Path, index: int) -> Path | None:
        """Return the existing weight file of a seed, shipped or in ``records_folder``, or None."""
        paths = (self.weights_path(folder, index) for folder in (files.SHIPPED / "records", records_folder))
        return next((path for path in paths if path.exists()), None)

    def kept_indices(self, records_folder: Path) -> list[int]:
        """Return the recorded seeds that have weight files, in order."""
        return [run.index for run in self.seeds if self.kept_weights(records_folder, run.index)]

    @property
    def group_errors(self) -> GroupErrors:
        """Errors by group of the test images.

        Data sets of earlier versions lack the group of each test image. The errors are then assumed to lie in the
        largest groups.
        """
        spec = dataset(self.dataset)
        sizes = spec.test_group_sizes
        if not sizes:
            return GroupErrors()
        largest_first = sorted(range(len(sizes)), key=lambda group: -sizes[group])
        group_of = spec.test_groups or [group for group in largest_first for _ in range(sizes[group])]
        errors = {}
        for run in self.seeds:
            images = [image for image, _ in run.wrong] if spec.test_groups else range(run.test_errors)
            counts = Counter(group_of[image] for image in images)
            errors[run.index] = [counts[group] for group in range(len(sizes))]
        return GroupErrors(sizes, errors, spec.test_pictures)

    @property
    def accuracies_pct(self) -> tuple[float, ...]:
        """Test accuracy of every seed, per cent."""
        return tuple(run.accuracy_pct for run in self.seeds)

    def seed(self, index: int) -> SeedRun | None:
        """Return the run of a seed index, or None."""
        return next((run for run in self.seeds if run.index == index), None)

    def with_seeds(self, *runs: SeedRun) -> Record:
        """Return the record with more seeds; a recorded seed keeps its first result."""
        seeds = {run.index: run for run in (*runs, *self.seeds)}
        return replace(self, seeds=tuple(seeds[index] for index in sorted(seeds)))


def match(result: Result, recorded_run: SeedRun | None) -> str:
    """Return how trained weights compare with the recorded weights of the seed.

    ``identical``, ``different``, ``made elsewhere`` (the weights differ, but the other machine need not give the same
    bits) or ``not on record``.
    """
    if recorded_run is None or recorded_run.weights_sha256 is None or result.environment is None:
        return "not on record"
    if recorded_run.weights_sha256 == result.weights_sha256:
        return "identical"
    return "different" if result.environment.gives_bits_of(recorded_run.environment) else "made elsewhere"


def write(folder: Path, record: Record) -> None:
    """Write a record, merged with the file; a recorded seed keeps its first result.

    Raises:
        ContentError: The file is damaged, or contains a different row.
        StorageError: The file cannot be written.
    """
    path = record.path(folder)
    with files.locked(folder / ".lock"):
        if path.exists():
            old_record = read(path)
            if old_record.key != record.key:
                raise ContentError(
                    f"{path} contains the row {(*old_record.key,)}; cannot write the row {(*record.key,)} to this file"
                )
            record = _joined(old_record, record)
        files.write_text(path, _text(document_of(record) | {"recipe": record.recipe.document}))


def _joined(old_record: Record, record: Record) -> Record:
    return replace(
        record,
        seeds=old_record.with_seeds(*record.seeds).seeds,
        search_summary=record.search_summary or old_record.search_summary,
        name=record.name or old_record.name,
    )


def read_all(records_folder: Path, damage: list[ContentError] | None = None) -> list[Record]:
    """Return the shipped records joined with the records in ``records_folder``, in the order of the file names.

    Damaged records and records of a missing data set are left out: added to ``damage``, or else reported once.
    """
    by_name: dict[str, Record] = {}
    for folder in (files.SHIPPED / "records", records_folder):
        records, faults = read_each(read, sorted(folder.glob("*-*.json")))
        report_damage(faults, damage)
        for record in records:
            name = record.path(folder).name
            by_name[name] = _joined(by_name[name], record) if name in by_name else record
    return [by_name[name] for name in sorted(by_name)]


def report_damage(faults: Iterable[ContentError], damage: list[ContentError] | None = None) -> None:
    """Append faults of documents that are left out to ``damage``, or report each on stderr once per process."""
    if damage is not None:
        damage.extend(faults)
        return
    for fault in faults:
        say_once(f"left out: {fault.message}", "warning")


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        ContentError: The file cannot be read, or a field is invalid or does not follow from the other fields.
        MissingSubject: The data set is missing or damaged.
    """
    try:
        content = files.read_bytes(path)
    except OSError as error:
        raise ContentError(f"cannot read the record {path}: {reason(error)}") from error
    record = _checked(path, content)
    # The result is cached, and the data set may have been removed since.
    dataset_of(record.dataset, path)
    return record


# A search reads all records before each proposal.
@lru_cache(4096)
def _checked(path: Path, content: bytes) -> Record:
    """Return the record in ``content``; raise ContentError if a stated fact does not follow from the record."""
    record = read_as(Record, content, f"the record {path}", BRING_BACK)
    # Edited records are rejected.
    spec = dataset_of(record.dataset, path)
    try:
        analysis = analyse(record.architecture, spec.task)
    except SearchSpaceError as error:
        raise ContentError(f"{path}: architecture is not a network: {error.message}") from error
    facts: _Facts = {
        "architecture": (parse_json(content)["architecture"], str(record.architecture)),
        "hash": (record.hash, record.architecture.hash),
        "parameters": (record.parameters, analysis.parameters),
        "macs": (record.macs, analysis.macs),
        "recipe_hash": (record.recipe_hash, record.recipe.hash),
        "order of seeds": ([run.index for run in record.seeds], sorted({run.index for run in record.seeds})),
        "file name": (path.name, record.path(path.parent).name),
    }
    # Diverged networks may have no finite number left, and so equal weights.
    complete = [run for run in record.seeds if run.status is Status.COMPLETE]
    digests = [run.weights_sha256 for run in complete if run.weights_sha256 is not None]
    facts["number of different weights of complete seeds"] = (len(set(digests)), len(digests))
    for run in record.seeds:
        facts |= _facts_of_seed(run, record, spec)
    for name, (stated_value, computed_value) in facts.items():
        if stated_value != computed_value:
            raise ContentError(f"{path}: {name}: {stated_value} stated, {computed_value} computed", hint=BRING_BACK)
    return record


# (stated value, computed value) by name.
_Facts = dict[str, tuple[object, object]]


def _facts_of_seed(run: SeedRun, record: Record, spec: Dataset) -> _Facts:
    images = [index for index, _ in run.wrong]
    classes = sorted({answer for _, answer in run.wrong})
    possible_images = sorted({index for index in images if 0 <= index < run.test_size})
    possible_classes = [answer for answer in classes if answer in range(spec.classes)]
    facts: _Facts = {
        f"test_size of seed {run.index}": (run.test_size, spec.test_size),
        f"test_errors of seed {run.index}": (run.test_errors, len(run.wrong)),
        f"wrong images of seed {run.index}": (images, possible_images),
        f"predicted classes of seed {run.index}": (classes, possible_classes),
    }
    if run.status is Status.COMPLETE and run.best_test_errors is not None:
        # The last epoch was tested too.
        best = min(run.best_test_errors, run.test_errors)
        facts[f"best_test_errors of seed {run.index}"] = (run.best_test_errors, best)
    if record.protocol_version == PROTOCOL_VERSION:
        seed = derive_seed(record.hash, record.recipe_hash, Purpose.VERIFY, run.index, beacon=run.beacon or "")
        facts[f"value of seed {run.index}"] = (run.seed, seed)
    return facts


def _text(document: dict[str, Any]) -> str:
    """Return JSON with a line per field and per seed, so that a diff shows the seeds that were added."""

    def as_json(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    lines = {name: as_json(value) for name, value in document.items()}
    # The lines of older seeds stay unchanged.
    seeds = [
        {name: value for name, value in run.items() if (name, value) != ("beacon", None)} for run in document["seeds"]
    ]
    lines["seeds"] = "[\n  " + ",\n  ".join(map(as_json, seeds)) + "\n ]" if seeds else "[]"
    return "{\n" + ",\n".join(f' "{name}": {value}' for name, value in lines.items()) + "\n}\n"


# Weights -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class WeightFile:
    """Weights and BN statistics of a trained network.

    Attributes:
        arrays: float32 arrays by torch's names; a tied kernel has the name of its first user.
        about: Metadata in the file (``harness.training.run.properties``).
        tied: Stored name by each further name of a tied kernel.
        state: All names in the order of torch's ``state_dict``.
    """

    path: Path
    arrays: Mapping[str, Any]
    about: Mapping[str, str]
    tied: Mapping[str, str]
    state: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of all weights and statistics, equal to ``Training.weights_digest``."""
        digest = hashlib.sha256()
        for name in self.state:
            digest.update(self.arrays[self.tied.get(name, name)].tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class _StoredNames:
    tied: dict[str, str]
    state: tuple[str, ...]


def read_weights(path: Path) -> WeightFile:
    """Read a weight file.

    Raises:
        ContentError: The file cannot be read, or its arrays do not match the names in its metadata.
    """
    # numpy takes longer to import than a command that only names a record takes.
    from safetensors import SafetensorError, safe_open

    try:
        files.refuse_device(path)
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # ``file`` is not a mapping
            text = (file.metadata() or {})["harness"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ContentError(f"cannot read the weights {path}: {reason(error)}", hint=BRING_BACK) from error
    about = read_as(dict[str, str | dict[str, str] | tuple[str, ...]], text, f"the weights {path}", BRING_BACK)
    names = read_as(_StoredNames, text, f"the weights {path}", BRING_BACK)
    unmatched_names = {names.tied.get(name, name) for name in names.state} ^ arrays.keys()
    if unmatched_names:
        listing = ", ".join(sorted(unmatched_names))
        raise ContentError(f"the weights {path} do not match the list of names: {listing}", hint=BRING_BACK)
    properties = {name: value for name, value in about.items() if isinstance(value, str)}
    return WeightFile(path, arrays, properties, names.tied, names.state)


def read_recorded(records_folder: Path, record: Record, index: int) -> WeightFile:
    """Read the weights of a recorded seed and check the file against the record.

    Raises:
        ContentError: There is no weight file, or the file is damaged or not the file of this seed.
    """
    run = record.seed(index)
    path = record.kept_weights(records_folder, index)
    if run is None or path is None:
        indices = ", ".join(map(str, record.kept_indices(records_folder)))
        note = f"stored seeds: {indices}" if indices else "no weights are stored"
        verify = as_command(*record.key.arguments("verify", record.recipe_name, "--seeds", str(index + 1)))
        hint = f"{verify} trains and tests the seed again"
        raise ContentError(
            f"no weights of seed {index} of {record.hash} with recipe {record.recipe_name}: {note}",
            hint=None if indices else hint,
        )
    weights = read_weights(path)
    repeats = path.parents[1] / "repeats.jsonl"
    repetition = None if weights.sha256 == run.weights_sha256 else _repeat_of(repeats, record, run)
    expected_facts = {
        "weights": repetition or run.weights_sha256,
        # The digest covers only the numbers, and in another order of ops the same numbers are a different network.
        "architecture": record.hash,
        "hash": record.hash,
        "recipe_hash": record.recipe_hash,
        "dataset": record.dataset,
        "seed_index": str(run.index),
        "seed": str(run.seed),
        "parameters": str(record.parameters),
        "weights_sha256": weights.sha256,
        **dataset_of(record.dataset, path).pixel_properties,
    }
    properties = {**dict.fromkeys(expected_facts, None), **weights.about, "weights": weights.sha256}
    with suppress(NotationError):
        # Bars and the name of a module may differ.
        properties["architecture"] = parse_notation(str(properties["architecture"])).hash
    for name, recorded_value in expected_facts.items():
        # Older files lack some of the metadata, but not weights and architecture.
        if properties[name] != recorded_value and (properties[name] is not None or name in ("weights", "architecture")):
            raise ContentError(f"{path}: {name}: {properties[name]} stated, {recorded_value} in the record")
    return weights


def _repeat_of(path: Path, record: Record, run: SeedRun) -> str | None:
    """Return the digest of a repeat of a seed with the recorded errors but other last bits; None without a repeat."""
    identity = {"seed_index": run.index, "recorded_sha256": run.weights_sha256}
    identity |= {name: getattr(record, name) for name in ("hash", "recipe_hash", "dataset")}
    for line in files.log_text(path).splitlines():
        try:
            repeat = parse_json(line)
            if identity.items() <= repeat.items():
                return str(repeat["weights_sha256"])
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            report_damage([ContentError(f"{path}: a line is not a repeat: {reason(error)}")])
    return None
