"""``harness data``: fetch, check, describe and list data sets, including data sets of the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.data import datasets
from harness.interface import options
from harness.searching.option_types import DATASET, SHAPE
from harness.spaces.ops import shape_text
from harness.system import files
from harness.system.document import parse_json
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.system.terminal import Column, console, say, show_table


@click.group("data", short_help="Fetch and check the images.")
def data() -> None:
    """Fetch and check the images.

    \b
    harness data fetch                          fetch MNIST into the user's cache
    harness data check --data FOLDER            check every file by its hash
    harness data path fashion-mnist             print the folder of the files
    harness data describe pictures/             describe your own data
    harness data list                           list your own data sets

    The licence of MNIST is not stated at its source; catalogues list CC BY-SA 3.0
    (Y. LeCun and C. Cortes).
    """


def _dataset(command: Callable[..., None]) -> Callable[..., None]:
    help_text = f"Data set: {', '.join(datasets.DATASETS)}, or a path."
    return options.dataset_as_argument(
        click.option("--dataset", default="mnist", type=DATASET, help=help_text)(command)
    )


_SECONDS = click.FloatRange(min=0, max=86_400, min_open=True)


@data.command("fetch")
@_dataset
@options.json_and("data")
@click.option("--mirror-seconds", type=_SECONDS, default=20.0, help="Time limit of a mirror, in seconds.")
def _fetch(dataset: str, data: Path | None, as_json: bool, mirror_seconds: float) -> None:
    """Fetch missing and damaged files into --data or the cache."""
    from harness.data import training_images

    spec = datasets.dataset(dataset)
    names = training_images.fetch(spec, data, mirror_seconds)
    _show(training_images.check_files(spec, data) | {"fetched": names}, as_json)


@data.command("check", short_help="Check every file by its hash.")
@_dataset
@options.json_and("data")
def _check_files(dataset: str, data: Path | None, as_json: bool) -> None:
    """Check every file by its hash; exit code 5 if a file is missing or damaged."""
    from harness.data import training_images, user

    spec = datasets.dataset(dataset)
    document = training_images.check_files(spec, data)
    if spec.sha256:
        user.check_facts(spec)
    _show(document, as_json)


def _use_counts(workspace: Workspace) -> dict[str, Counter[str]]:

    def dataset_in(path: Path) -> str:
        try:
            return str(parse_json(path.read_text("utf-8"))["dataset"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    records = map(dataset_in, workspace.records.glob("*-*.json"))
    studies = (dataset_in(folder / "config.json") for folder in workspace.studies())
    return {"records": Counter(records), "studies": Counter(studies)}


@data.command("list")
@options.as_json
def _list(as_json: bool) -> None:
    """List your own data sets: sizes, numbers of records and studies, and bytes on disk."""
    workspace = files.workspace()
    use_counts = _use_counts(workspace)
    rows = []
    for folder in workspace.data_sets():
        spec = datasets.dataset(folder.name)
        sizes = {name: getattr(spec, name) for name in ("classes", "train_size", "validation_size", "test_size")}
        counts = {kind: count[spec.name] for kind, count in use_counts.items()}
        size_bytes = sum(size for size, _ in filter(None, map(files.file_state, folder.glob("*"))))
        rows.append({"name": spec.name, "shape": shape_text(spec.image_shape), **sizes, **counts, "bytes": size_bytes})
    if as_json:
        options.print_json({"datasets": rows})
        return
    if not rows:
        say("no data sets of your own; --dataset PATH adds a data set")
        return
    columns = [Column(name.removesuffix("_size"), is_numeric=name not in ("name", "shape")) for name in rows[0]]
    cells = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()] for row in rows]
    show_table(console(), cells, [""] * len(cells), columns)


@data.command("remove")
@click.argument("name")
@click.option("--force", is_flag=True, help="Remove a data set in use; leaderboard rows are then left out.")
def _remove(name: str, force: bool) -> None:
    """Remove one of your own data sets from the workspace; records and studies stay."""
    if not datasets.dataset(name).sha256:
        raise UsageError(f"{name} is a built-in data set and cannot be removed")
    workspace = files.workspace()
    uses = ", ".join(f"{kind}: {count[name]}" for kind, count in _use_counts(workspace).items() if count[name])
    if uses and not force:
        hint = "--force removes the data set; leaderboard rows are then left out"
        raise UsageError(f"the data set {name} is in use ({uses})", hint=hint)
    files.remove_folder(workspace.data(name))
    say(f"removed {name}")


@data.command("describe", short_help="Describe a data set, with the provable accuracies.")
@click.argument("source", metavar="DATASET")
@options.json_and("data")
@click.option("--input", "shape", type=SHAPE, help="Resize your own pictures: channels x rows x columns.")
@click.option("--group-by", help="Groups that are not split: an array of the .npz, or _ for file names up to _.")
@click.option(
    "--channels",
    type=click.Choice(["first", "last", "none"]),
    help="Position of the channel axis in an array of the .npz; none for pictures without channels.",
)
@click.option("--name", default="", help="Name of the data set, without hash [default: from the path].")
@click.option(
    "--allow-overlap", is_flag=True, help="Accept parts with common images or groups; the overlap is reported."
)
@click.option(
    "--score",
    type=click.Choice(["accuracy", "balanced"]),
    default="accuracy",
    help="Accuracy of your own data: over all images, or the mean over the accuracies of the classes.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Page to write, with examples of each class.")
def _describe(
    source: str, data: Path | None, name: str, score: str, html: Path | None, as_json: bool, **user_options: Any
) -> None:
    """Describe a data set, with the accuracies that the test part can prove.

    DATASET is a name, or the path of your own data: a folder of pictures with a folder for each class, below or above
    folders such as train, validation and test if there are parts; a folder of IDX files; .npz with the keys of Keras or
    MedMNIST or X, y, X_test, y_test; series as .ts or UCR's .tsv. The data are read once and stored in the workspace,
    under a name with a hash, with the options given here. Commands take this name. Commands also take the path, and
    read the data as described before; if a path was described in several ways, the name is required.

    \b
    harness data describe pictures/ --input 1x32x32
    harness data describe fashion-mnist --html fashion.html
    """
    from harness.data.description import description, description_lines
    from harness.data.training_images import load
    from harness.data.user import SourceOptions, data_name, descriptions

    source_options = SourceOptions(balanced=score == "balanced", **user_options)
    if source in datasets.DATASETS:
        if source_options != SourceOptions() or name:
            option = "--name" if name else source_options  # printed as options
            raise UsageError(f"{option} applies only to your own data, not to {source}")
        images = load(source, data)
    else:
        images = load(data_name(source, source_options, name), data)
        names = descriptions(source)
        if len(names) > 1:
            say(f"{source} has several descriptions, so commands require a name: {', '.join(names)}", "warning")
    document = description(images)
    lines = description_lines(images, document)
    if html is not None:
        from harness.pages.data_page import data_page

        files.write_text(html, data_page(images, document, lines))
    options.print_result(as_json, document, "\n".join(lines))


@data.command("path", short_help="Print the folder that holds the files.")
@_dataset
@options.json_and("data")
def _path(dataset: str, data: Path | None, as_json: bool) -> None:
    """Print the folder that holds the files of a data set; the files are not read.

    If DATASET is a path, its data are first read and stored in the workspace.
    """
    from harness.data import training_images

    folder = str(training_images.find(datasets.dataset(dataset), data))
    options.print_result(as_json, {"dataset": dataset, "path": folder}, folder)


def _show(document: dict[str, Any], as_json: bool) -> None:
    lines = [
        "{dataset} in {source}: all files are correct, data hash {data_hash}",
        "{train:,} training, {validation:,} validation and {test:,} test images",
        *(f"{file['sha256']}  {file['name']}" for file in document["files"]),
        *(f"fetched {name}" for name in document.get("fetched", ())),
        "{licence}",
    ]
    options.print_result(as_json, document, "\n".join(lines).format(**document))
