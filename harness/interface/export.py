"""The export of a trained network, for ``harness.export`` and for the command."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data import datasets, training_images
from harness.interface.formats import Format, format_of
from harness.interface.lookup import network_argument
from harness.interface.results import Exported
from harness.interface.weights import TrainedNetwork, network_seed, trained_network
from harness.spaces.network import analyse
from harness.system import doors, files
from harness.system.doors import Door, guests
from harness.system.errors import DeviceError, UsageError, require
from harness.system.files import check_file, check_writable, write_together
from harness.system.user_code import guarding_user_code
from harness.training.recipe import check_network


def export_network(
    network: object,
    paths: Mapping[str, str | Path | None],
    *,
    options: Mapping[str, object],
    dataset: str,
    device: str,
    engine: str,
    data: str | Path | None,
    **selection: Any,
) -> Exported:
    """Write a network in the formats of ``paths``, as ``harness.export`` does; all files are written, or none.

    ``paths`` has a file or folder by name of the format, or None; ``options`` has the options of single formats.
    ``selection`` has arguments of ``network_seed``.
    """
    targets = {name: Path(path) for name, path in paths.items() if path is not None}
    if not targets:
        raise UsageError(f"no file to export: set one of the options {', '.join(paths)}")
    if len({path.absolute() for path in targets.values()}) < len(targets):
        raise UsageError("two options name the same file")
    formats = {name: format_of(name) for name in targets}
    for name, path in targets.items():
        _check_path(name, path, formats[name])
    _check_options(options, formats)

    workspace = files.workspace()
    argument = network_argument(network, workspace, datasets.dataset_of_option(dataset).task)
    seed = network_seed(argument, workspace, dataset=dataset, **selection)
    task = datasets.dataset_of_option(seed.dataset).task
    recipe = seed.recipe.recipe
    for name, format_ in formats.items():
        require("" if name in guests(Door.FORMATS) else "export", format_.libraries, f"--{name}")
        format_.check(argument.architecture, task, recipe)
    formats = {name: each.with_options(seed, task, selection["recipe"], **options) for name, each in formats.items()}
    images = training_images.load(seed.dataset, Path(data) if data else None)
    recipe.check_batch(len(images.train_labels))
    check_network(recipe, argument.architecture, images.dataset.task)
    if any(each.reads_test_set(images.dataset) for each in formats.values()):
        check_writable(workspace.test_log.parent, make=False)
    trained = trained_network(seed, images, workspace, device=device, engine=engine)
    names = argument.tensor_names
    for format_ in formats.values():
        names = format_.tensor_names(trained) or names
    return _written(replace(trained, names=names), formats, targets)


def _check_path(option: str, path: Path, format_: Format) -> None:
    if not format_.is_folder:
        check_file(option, path)
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not an empty folder; choose a new folder")
    check_writable(path.parent, make=False)


def _check_options(options: Mapping[str, object], formats: Mapping[str, Format]) -> None:
    """Raise UsageError for an option of a format that is not requested."""
    option_names = {name for format_ in formats.values() for name in format_.options}
    for option in [name for name, value in options.items() if value is not None and name not in option_names]:
        for name in doors.names(Door.FORMATS) - guests(Door.FORMATS).keys():
            with suppress(DeviceError):
                if reason := format_of(name).options.get(option):
                    raise UsageError(f"the option {option} requires the option {name}: {reason}")


def _written(network: TrainedNetwork, formats: Mapping[str, Format], targets: Mapping[str, Path]) -> Exported:
    contents: dict[Path, bytes] = {}
    facts_of_formats = []
    texts = []
    for name, path in targets.items():
        package = guests(Door.FORMATS).get(name)
        with guarding_user_code(f"the format {name} of the package {package}", seconds=0) if package else nullcontext():
            export_files = formats[name].files(network, path)
            contents |= {Path(file): bytes(content) for file, content in export_files.contents.items()}
        size_bytes = sum(map(len, export_files.contents.values()))
        facts_of_formats.append({"file": str(path), "format": name, **export_files.facts, "size_bytes": size_bytes})
        texts.append(export_files.text)
    write_together(contents)
    analysis = analyse(network.architecture, network.images.dataset.task)
    facts: dict[str, Any] = {"architecture": str(network.architecture), "hash": network.architecture.hash}
    facts |= {name: getattr(analysis, name) for name in ("parameters", "stored_numbers")}
    facts |= {"trained": network.epochs is not None, "match": network.match}
    if network.epochs is not None:
        facts["epochs"] = network.epochs
    facts |= {name: network.about[name] for name in ("recipe", "recipe_hash", "dataset", "weights_sha256")}
    facts |= {"seed_index": network.seed.index, "seed": network.run.seed, "train_seconds": network.run.train_seconds}
    recorded_run = network.seed.run
    facts["engine"] = network.run.environment.engine if network.run.environment else None
    facts["recorded_weights_sha256"] = recorded_run.weights_sha256 if recorded_run else None
    facts["recorded_engine"] = recorded_run.environment.engine if recorded_run else None
    return Exported(facts | {"files": facts_of_formats}, tuple(texts))
