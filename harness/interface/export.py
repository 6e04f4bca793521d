"""The export of a trained network, for ``harness.export`` and for the command."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.data import datasets, training_images
from harness.interface.formats import Format, format_of
from harness.interface.lookup import network_argument
from harness.interface.results import Exported
from harness.interface.weights import NetworkSeed, TrainedNetwork, network_seed, trained_network
from harness.spaces.chips import Chip, Fit, fastest, fitting
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.network import analyse
from harness.system import files
from harness.system.doors import Door, guests
from harness.system.errors import ContentError, UsageError, as_command, option_words, require
from harness.system.files import check_file, check_writable, write_together
from harness.system.user_code import guarding_user_code
from harness.training.recipe import check_network


def export_network(
    network: object,
    paths: Mapping[str, str | Path | None],
    *,
    chip: Chip | None,
    optimise: str | None,
    dataset: str,
    device: str,
    engine: str,
    data: str | Path | None,
    **selection: Any,
) -> Exported:
    """Write a network in the formats of ``paths``, as ``harness.export`` does; all files are written, or none.

    ``paths`` has a file or folder by name of the format, or None. ``optimise`` None stands for the fastest code that
    fits ``chip``, else for size. ``selection`` has arguments of ``network_seed``.
    """
    targets = {name: Path(path) for name, path in paths.items() if path is not None}
    if not targets:
        raise UsageError(f"no file to export: set one of the options {', '.join(paths)}")
    if len({path.absolute() for path in targets.values()}) < len(targets):
        raise UsageError("two options name the same file")
    formats = {name: format_of(name) for name in targets}
    for name, path in targets.items():
        _check_path(name, path, formats[name])
    _check_options(chip, optimise, targets)

    workspace = files.workspace()
    argument = network_argument(network, workspace, datasets.dataset_of_option(dataset).task)
    seed = network_seed(argument, workspace, dataset=dataset, **selection)
    task = datasets.dataset_of_option(seed.dataset).task
    recipe = seed.recipe.recipe
    for name, format_ in formats.items():
        require("" if name in guests(Door.FORMATS) else "export", format_.libraries, f"--{name}")
        format_.check(argument.architecture, task, recipe)
    fit = None if chip is None else _fit_on(chip, seed, optimise, selection["recipe"])
    images = training_images.load(seed.dataset, Path(data) if data else None)
    recipe.check_batch(len(images.train_labels))
    check_network(recipe, argument.architecture, images.dataset.task)
    if "pytorch" in targets and not images.dataset.folder:
        # The read of the test images is logged.
        check_writable(workspace.test_log.parent, make=False)
    trained = trained_network(seed, images, workspace, device=device, engine=engine)
    names = argument.tensor_names
    for format_ in formats.values():
        names = format_.tensor_names(trained) or names
    variant = Optimisation(optimise or Optimisation.SIZE) if fit is None else fit.optimise
    return _written(replace(trained, fit=fit, optimise=variant, names=names), formats, targets)


def _check_path(option: str, path: Path, format_: Format) -> None:
    if not format_.is_folder:
        check_file(option, path)
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} exists and is not an empty folder; choose a new folder")
    check_writable(path.parent, make=False)


def _check_options(chip: Chip | None, optimise: str | None, targets: Mapping[str, Path]) -> None:
    if chip is not None and "c" not in targets:
        raise UsageError("the option chip requires the option c: only the C code runs on chips")
    if optimise is not None and "c" not in targets:
        raise UsageError("the option optimise requires the option c: only the C code has variants for size and speed")
    if chip is not None and optimise == Optimisation.SPEED and chip.core.speed is None:
        raise UsageError(f"the core of {chip} has no table speed, which optimise speed requires")


def _fit_on(chip: Chip, seed: NetworkSeed, optimise: str | None, recipe: str | None) -> Fit:
    """Return the needs of a network on a chip, in the variant ``optimise``; None selects the fastest that fits."""
    analysis = analyse(seed.argument.architecture, datasets.dataset_of_option(seed.dataset).task)
    analysis = replace(analysis, weight_bits=seed.recipe.recipe.weight_bits)
    fit = fastest(chip, analysis) if optimise is None else Fit(chip, analysis, Optimisation(optimise))
    if fit.lack:
        chips = ", ".join(map(str, fitting(analysis, fit.optimise)))
        hint = f"chips with enough memory: {chips}; " if chips else ""
        if not Fit(chip, analysis).lack:
            hint = f"optimised for size, it fits; {hint}"
        target = None if seed.record is None else f"{seed.record.target_pct:g}"
        search_options = option_words({"--dataset": seed.dataset, "--target": target, "--recipe": recipe})
        message = f"the network optimised for {fit.optimise} does not fit {chip}: {fit.lack} too many"
        command = as_command("search", "--chip", str(chip), *search_options)
        raise ContentError(message, hint=f"{hint}'{command}' searches for networks that fit")
    return fit


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
