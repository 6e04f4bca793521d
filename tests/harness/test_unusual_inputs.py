"""Unusual inputs: the result equals the result of NumPy, Pillow, csv, json or tomllib, or is an error in one line.

The inputs follow docs/use/data.md and published bug reports; they were written without knowledge of the readers.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.lib import format as npy
from PIL import Image, ImageOps

import harness
from harness.cli import run
from harness.data import user
from harness.evidence.record import read_weights
from harness.studies.config import open_study
from harness.system.errors import HarnessError
from harness.training.recipe import named_recipe
from tests import searches
from tests.conftest import REPOSITORY
from tests.factories import make_result
from tests.harness.data.user.pictures import all_images, as_idx
from tests.harness.evidence.test_certificate import certificate
from tests.study_logs import write_runs

RANDOM = np.random.default_rng(68)
GREY = RANDOM.integers(0, 256, (60, 9, 8), np.uint8)
COLOUR = RANDOM.integers(0, 256, (60, 9, 8, 3), np.uint8)
FRACTIONS = GREY / 255
SIGNED = GREY.astype(np.int16) * 100 - 9000
WIDE = GREY.astype(np.uint16) * 257
WITH_GAP = np.where(np.arange(60)[:, None, None] == 31, np.nan, FRACTIONS)
# Clipped, so that all parts contain the extremes of the range.
STEPS = np.clip(np.round(RANDOM.normal(0, 50, (60, 12)), 3), -60, 60)
PAIRS = np.clip(np.round(RANDOM.normal(0, 50, (60, 12, 2)), 3), -60, 60)
KINDS = np.repeat([0, 1, 2], 20)
TEXTS = np.array(["ant", "bee", "cow"])[KINDS]
HALVES = {"x_train": GREY[::2], "y_train": KINDS[::2], "x_test": GREY[1::2], "y_test": KINDS[1::2]}
REFUSED = None
REFUSALS = (2, 4, 5)  # exit codes of usage, content and data
Images = list[tuple[int, bytes]]


@dataclass(frozen=True)
class Source:
    """Data of a user; ``expected`` holds the images that an independent program reads, or None for a refusal."""

    write: Callable[[Path], Any]
    expected: Images | None = REFUSED
    name: str = "data.npz"
    options: dict[str, str] = field(default_factory=dict)


def scaled(numbers: np.ndarray) -> np.ndarray:
    """Return the pixels of images x rows x columns x channels by the rule of docs/use/data.md."""
    values = np.asarray(numbers, np.float64)
    is_whole = bool((values == np.rint(values)).all())
    if is_whole and values.min() >= 0 and 127 < values.max() <= 255:
        return values.astype(np.uint8)
    low = np.zeros(values.shape[-1])
    high = np.ones(values.shape[-1])
    if values.min() < 0 or not 0.5 < values.max() <= 1:
        low = values.min(axis=(0, 1, 2))
        high = values.max(axis=(0, 1, 2))
    return np.rint(255 * (values - low) / (high - low)).astype(np.uint8)


def images_of(numbers: Any, kinds: Any = KINDS) -> Images:
    """Return class and pixels (channels x rows x columns) of every image, sorted."""
    array = np.asarray(numbers)
    pixels = scaled(array[..., None] if array.ndim == 3 else array).transpose(0, 3, 1, 2)
    return sorted((int(kind), image.tobytes()) for image, kind in zip(pixels, kinds, strict=True))


def series_of(numbers: Any) -> Images:
    """Return class and pixels of series x steps [x dimensions]: pictures with a single row."""
    array = np.asarray(numbers, np.float64)
    return images_of(array.reshape(len(array), 1, array.shape[1], -1))


def assert_one_line(capsys: pytest.CaptureFixture[str], code: int) -> None:
    """Check the documented exit code, a single line of error with at most a hint, and no raw control character."""
    output = capsys.readouterr()
    lines = output.err.splitlines()
    printed = re.sub(r"\n", "", output.out + output.err)
    assert code in REFUSALS, output
    assert len([line for line in lines if line.startswith("error: ")]) == 1, output
    assert "Traceback" not in output.err
    assert printed.isprintable(), output


# Arrays ----------------------------------------------------------------------------------------------------------


def npz(expected: Images | None, options: dict[str, str] | None = None, **arrays: Any) -> Source:
    return Source(lambda path: np.savez(path, allow_pickle=True, **arrays), expected, options=options or {})


def raw(name: str, content: str | bytes, expected: Images | None = REFUSED) -> Source:
    octets = content.encode() if isinstance(content, str) else content
    return Source(lambda path: path.write_bytes(octets), expected, name)


def npy_bytes(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(expected: Images | None = REFUSED, **members: bytes) -> Source:
    """Return an ``.npz`` file of X and y with added or replaced members."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ({"X": npy_bytes(GREY), "y": npy_bytes(KINDS)} | members).items():
            archive.writestr(f"{name}.npy", content)
    return raw("data.npz", file.getvalue(), expected)


def array_with_shape(shape: tuple[int, ...]) -> bytes:
    """Return an array file whose header states a shape, followed by ten bytes."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(10)


class Harmful:
    """An object that creates a folder when unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


OBJECTS = np.array([Harmful()] * 60, object)
NEXT_64_BITS = KINDS.astype(np.uint64) + np.uint64(2**64 - 9)
LARGE = GREY.astype(np.uint64) << np.uint64(55)
BRACKETS = b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"[" * 9000
ARRAYS: dict[str, Source] = {
    "signed numbers": npz(images_of(SIGNED), X=SIGNED, y=KINDS),
    "big-endian numbers": npz(images_of(WIDE), X=WIDE.astype(">u2"), y=KINDS),
    "columns first": npz(images_of(COLOUR), {"channels": "last"}, X=np.asfortranarray(COLOUR), y=TEXTS),
    "truth values": npz(images_of(GREY > 99), X=GREY > 99, y=KINDS),
    "floats of 16 bits": npz(images_of(FRACTIONS.astype(np.float16)), X=FRACTIONS.astype(np.float16), y=KINDS),
    "floats of 128 bits": npz(images_of(FRACTIONS), X=FRACTIONS.astype(np.longdouble), y=KINDS),
    "integers above 2^53": npz(images_of(LARGE), X=LARGE, y=KINDS),
    "a single channel": npz(images_of(GREY), {"channels": "last"}, X=GREY[..., None], y=KINDS),
    "objects as labels": npz(REFUSED, X=GREY, y=OBJECTS),
    "infinite numbers": npz(REFUSED, X=np.where(np.isnan(WITH_GAP), np.inf, WITH_GAP), y=KINDS),
    "complex numbers": npz(REFUSED, X=GREY * 1j, y=KINDS),
    "dates": npz(REFUSED, X=GREY.astype("datetime64[s]"), y=KINDS),
    "records": npz(REFUSED, X=np.zeros((60, 9, 8), [("r", "u1"), ("g", "u1")]), y=KINDS),
    "one-hot labels": npz(REFUSED, X=GREY, y=np.eye(3)[KINDS]),
    "labels with a gap": npz(REFUSED, X=GREY, y=np.where(KINDS == 2, np.nan, KINDS)),
    "labels as floats": npz(images_of(GREY), X=GREY, y=KINDS.astype(float)),
    "negative labels": npz(images_of(GREY), X=GREY, y=KINDS - 7),
    "labels of 64 bits": npz(images_of(GREY), X=GREY, y=NEXT_64_BITS),
    "labels with zeros in front": npz(images_of(GREY), X=GREY, y=np.repeat(["01", "1", "NA"], 20)),
    "labels in two normal forms": npz(
        images_of(GREY, np.repeat([1, 0, 1], 20)), X=GREY, y=np.repeat(["\u00e9", "a", "e\u0301"], 20)
    ),
    "labels of bytes": npz(REFUSED, X=GREY, y=TEXTS.astype("S3")),
    "channels first or last": npz(REFUSED, X=RANDOM.integers(0, 256, (60, 3, 9, 16), np.uint8), y=KINDS),
    "seventeen channels": npz(REFUSED, X=RANDOM.integers(0, 256, (60, 18, 19, 17), np.uint8), y=KINDS),
    "one axis": npz(REFUSED, X=GREY[:, 0, 0], y=KINDS),
    "no images": npz(REFUSED, X=GREY[:0], y=KINDS[:0]),
    "no rows": npz(REFUSED, X=GREY[:, :0], y=KINDS),
    "long and narrow": npz(REFUSED, X=PAIRS, y=KINDS),
    "long and narrow series": npz(series_of(PAIRS), {"channels": "last"}, X=PAIRS, y=KINDS),
    "a test part of another scale": npz(REFUSED, None, **{**HALVES, "x_test": GREY[1::2] / 255}),
    "a test part without labels": npz(images_of(GREY), x_train=GREY, y_train=KINDS, x_test=255 - GREY),
    "a group too few": npz(REFUSED, {"group_by": "who"}, X=GREY, y=KINDS, who=np.arange(59)),
    "a single group": npz(REFUSED, {"group_by": "who"}, X=GREY, y=KINDS, who=np.zeros(60)),
    "a name with control characters": zipped(images_of(GREY), **{"\x1b[31m\n": npy_bytes(KINDS)}),
    "a header of a petabyte": zipped(X=array_with_shape((2**20, 2**15, 2**15))),
    "a header of a negative length": zipped(X=array_with_shape((-60, 9, 8))),
    "a header of brackets": zipped(X=BRACKETS),
    "an empty file": raw("data.npz", b""),
}


# Folders of pictures, and IDX files ------------------------------------------------------------------------------


def encoded(picture: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form)
    return file.getvalue()


def file_writer(name: bytes, content: bytes) -> Callable[[Path], Any]:
    """Return a step that writes a file into a folder."""

    def step(folder: Path) -> None:
        target = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    return step


def save_all(folder: Path, pictures: Any = GREY, names: Any = TEXTS, ending: str = ".png", **options: Any) -> None:
    for index, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        (folder / str(name)).mkdir(parents=True, exist_ok=True)
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(folder / str(name) / f"{index:02}{ending}", **options)


def folder(expected: Images | None, step: Callable[[Path], Any] = lambda path: None, **options: Any) -> Source:
    """Return a folder ``CLASS/*`` that a step changes."""

    def write(path: Path) -> None:
        save_all(path, **options)
        step(path)

    return Source(write, expected, "pictures")


def png_of_size(edge: int) -> bytes:
    """Return a PNG whose header states a size, with ten bytes of pixels."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(bytes(10)), b"IEND"]
    framed = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def upright(picture: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", exif=ON_ITS_SIDE)
    with Image.open(file) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def idx(content: bytes, kinds: Any = KINDS, expected: Images | None = REFUSED) -> Source:
    """Return a folder of IDX files whose images are replaced."""

    def write(path: Path) -> None:
        as_idx(path, GREY, kinds, "train", "{}-{}-{}-ubyte")
        (path / "train-images-idx3-ubyte").write_bytes(content)

    return Source(write, expected, "files")


ON_ITS_SIDE = Image.Exif()
ON_ITS_SIDE[0x0112] = 6  # the first row is the right side (Exif 2.3, table 6)
PALETTES = [Image.fromarray(each).convert("P", palette=Image.Palette.ADAPTIVE, colors=16) for each in COLOUR]
DARKER = GREY[0] // 2 + 3
WITH_DARKER = images_of(np.concatenate([GREY, DARKER[None]]), [*KINDS, 0])
ESCAPES = np.array(["\x1b[31mred", "two\nlines", "\u202eback"])[KINDS]
IDX_HEADER = struct.pack(">HBBIII", 0, 8, 3, 60, 9, 8)
FOLDERS: dict[str, Source] = {
    "palettes": folder(images_of([np.asarray(each.convert("RGB")) for each in PALETTES]), pictures=PALETTES),
    "16 bits": folder(images_of(WIDE), pictures=WIDE),
    "pictures on their side": folder(images_of([upright(each) for each in GREY]), exif=ON_ITS_SIDE),
    "one bit": folder(images_of(GREY > 99), pictures=GREY > 99),
    "floats": folder(images_of(FRACTIONS.astype(np.float32)), pictures=FRACTIONS.astype(np.float32), ending=".tif"),
    "a picture cut off": folder(REFUSED, file_writer(b"ant/x.png", encoded(DARKER)[:-30])),
    "a picture of gigapixels": folder(REFUSED, file_writer(b"ant/x.png", png_of_size(60_000))),
    "a picture of a hundred megapixels": folder(REFUSED, file_writer(b"ant/x.png", png_of_size(10_000))),
    "a picture of the largest size": folder(REFUSED, file_writer(b"ant/x.png", png_of_size(2**31 - 1))),
    "files that are no pictures": folder(images_of(GREY), file_writer(b"ant/notes.txt", b"x")),
    "a subfolder": folder(WITH_DARKER, file_writer(b"ant/deep/deeper/x.png", encoded(DARKER))),
    "a loop of links": folder(images_of(GREY), lambda path: (path / "ant" / "again").symlink_to(path / "ant")),
    "a pipe": folder(images_of(GREY), lambda path: os.mkfifo(path / "ant" / "x.png")),
    "control characters in classes": folder(REFUSED, names=ESCAPES),
    "a class without an encoding": folder(REFUSED, file_writer(b"\xff\xfe/x.png", encoded(DARKER))),
    "no pictures": Source(Path.mkdir, REFUSED, "pictures"),
    "IDX of 32 bits": idx(
        IDX_HEADER[:2] + b"\x0c" + IDX_HEADER[3:] + SIGNED.astype(">i4").tobytes(), expected=images_of(SIGNED)
    ),
    "IDX with fewer images": idx(IDX_HEADER + GREY.tobytes()[:-9]),
    "IDX with further bytes": idx(IDX_HEADER + GREY.tobytes() + b"x"),
    "IDX of 255 axes": idx(b"\x00\x00\x08\xff" + IDX_HEADER[4:] + GREY.tobytes()),
}


# Series ------------------------------------------------------------------------------------------------------------


def tsv(rows: Any = STEPS, separator: str = "\t", end: str = "\n") -> str:
    lines = [separator.join([str(kind), *map(str, row)]) for kind, row in zip(KINDS, rows, strict=True)]
    return end.join(lines) + end


def ts(rows: Any = STEPS, head: str = "@problemName x\n@classLabel true 0 1 2\n@data\n") -> str:
    """Return series x steps [x dimensions] in sktime's form."""
    lines = []
    for kind, row in zip(KINDS, np.asarray(rows, object), strict=True):
        dimensions = row[:, None] if row.ndim == 1 else row
        lines.append(":".join([*(",".join(map(str, each)) for each in dimensions.T), str(kind)]))
    return head + "\n".join(lines) + "\n"


def series_with(row: int, step: int, value: str) -> np.ndarray:
    """Return the series with a text in place of a number."""
    rows = STEPS.astype(object)
    rows[row, step] = value
    return rows


UNEQUAL = [row[: 12 - index % 2] for index, row in enumerate(STEPS)]
ROWS: dict[str, Source] = {
    "lines of Windows": raw("x.tsv", b"\xef\xbb\xbf" + tsv(end="\r\n").encode(), series_of(STEPS)),
    "exponents": raw("x.tsv", tsv([[f"{value:.17e}" for value in row] for row in STEPS]), series_of(STEPS)),
    "a gap": raw("x.tsv", tsv(series_with(7, 3, "NaN"))),
    "a number above all floats": raw("x.tsv", tsv(series_with(7, 3, "9" * 400))),
    "a number with underscores": raw("x.tsv", tsv(series_with(7, 3, "1_000"))),
    "a number of another script": raw("x.tsv", tsv(series_with(7, 3, "\u0661"))),
    "lines of unequal length": raw("x.tsv", tsv(UNEQUAL)),
    "commas": raw("x.tsv", tsv(separator=",")),
    "bytes of Latin-1": raw("x.tsv", tsv(series_with(7, 3, "\u00e9")).encode("latin-1")),
    "a zero byte": raw("x.tsv", tsv(series_with(7, 3, "1\x002"))),
    "two dimensions": raw("x.ts", ts(PAIRS), series_of(PAIRS)),
    "a class missing in the header": raw("x.ts", ts(head="@classLabel true 0 1\n@data\n")),
    "no data": raw("x.ts", "@problemName x\n@classLabel true 0 1\n"),
    "time stamps": raw("x.ts", ts(head="@timeStamps true\n@classLabel true 0 1 2\n@data\n")),
    "a question mark": raw("x.ts", ts(series_with(7, 3, "?"))),
}
SOURCES = (
    {f"array: {name}": source for name, source in ARRAYS.items()}
    | {f"folder: {name}": source for name, source in FOLDERS.items()}
    | {f"series: {name}": source for name, source in ROWS.items()}
)


@pytest.mark.parametrize("name", SOURCES)
def test_data_are_read_like_independent_programs_or_refused(
    name: str, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    source = SOURCES[name]
    path = workspace / source.name
    source.write(path)
    options = [word for key, value in source.options.items() for word in (f"--{key.replace('_', '-')}", value)]

    code = run(["data", "describe", str(path), *options])

    if source.expected is REFUSED:
        assert_one_line(capsys, code)
    else:
        output = capsys.readouterr()
        assert code == 0, output.err
        assert (output.out + output.err).replace("\n", "").isprintable()
        assert (
            all_images(user.Data.read(path, channels=source.options.get("channels")), workspace / "reads.jsonl")
            == source.expected
        )
    assert not (workspace / "unpickled").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (npz(REFUSED, x_train=GREY, y_train=KINDS, x_test=255 - GREY[:20], y_test=KINDS[:20]), ("1', '2", "test part")),
        (npz(REFUSED, X=GREY, y=OBJECTS), ("astype(str)",)),
        (
            raw("data.ts", "@problemName a\n@timeStamps false\n@classLabel true a b\n@data\n1,2,3:a\n4,5,6,7:b\n"),
            ("1x1x3", "1x1x4 (train 1)"),
        ),
    ],
)
def test_error_messages_name_classes_shapes_and_remedy(
    source: Source, words: tuple[str, ...], workspace: Path, capsys: pytest.CaptureFixture[str]
):
    source.write(workspace / source.name)
    run(["data", "describe", str(workspace / source.name)])
    error = capsys.readouterr().err

    assert [word for word in words if word not in error] == []


# Arguments of Python -----------------------------------------------------------------------------------------------

SPARSE_LABELS = pd.array([0, 1, None] * 20, dtype="Int64")
ARGUMENTS: dict[str, tuple[Any, Any, Images | None]] = {
    "nested lists": (GREY.tolist(), KINDS.tolist(), images_of(GREY)),
    "a tensor with gradients": (torch.tensor(FRACTIONS, requires_grad=True), torch.tensor(KINDS), images_of(FRACTIONS)),
    "a categorical column": (GREY, pd.Series(TEXTS, dtype="category"), images_of(GREY)),
    "labels with a missing value": (GREY, SPARSE_LABELS, REFUSED),
    "lists of unequal length": ([[[1, 2], [3]]] * 60, KINDS, REFUSED),
    "a masked array": (np.ma.masked_equal(GREY, 7), KINDS, REFUSED),
    "labels of two types": (GREY, [0, "a", 2.5] * 20, REFUSED),
    "no labels": (GREY, None, REFUSED),
    "objects of unequal length": (np.array([[1, 2], [3]] * 30 + [None], object)[:60], KINDS, REFUSED),
    "a generator": ((each for each in GREY), KINDS, REFUSED),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_python_arguments_are_read_like_numpy_or_refused(name: str, workspace: Path):
    x, y, expected = ARGUMENTS[name]
    if expected is REFUSED:
        with pytest.raises(HarnessError) as refusal:
            harness.Data.from_arrays("mine", x, y)
        assert refusal.value.exit_code in REFUSALS
        assert len(refusal.value.one_line.splitlines()) == 1
    else:
        assert all_images(harness.Data.from_arrays("mine", x, y), workspace / "reads.jsonl") == expected


# Documents ---------------------------------------------------------------------------------------------------------

NETWORK = "conv3x3(4) bn relu | gap | linear(10)"
NESTED = "[" * 20_000 + "]" * 20_000
TRAIN = ["train", NETWORK, "--dataset", "mnist-5k", "--recipe"]
CHIP = ["explain", NETWORK, "--chip"]


def saved_certificate(folder: Path) -> str:
    certificate((2, 4, 3, 3) * 5).save(folder / "certificate.json")
    return (folder / "certificate.json").read_text(encoding="utf-8")


def with_field(key: str, value: str) -> Callable[[str], str]:
    """Return a function that replaces the value of a key of a JSON document by a text."""
    return lambda text: json.dumps(json.loads(text) | {key: "VALUE"}).replace('"VALUE"', value)


DOCUMENTS: dict[str, tuple[list[str], str | bytes | Callable[[str], str | bytes]]] = {
    "certificate in UTF-16": (["check"], lambda text: text.encode("utf-16")),
    "certificate as a list": (["check"], lambda text: f"[{text}]"),
    "certificate with a half of a surrogate pair": (["check"], with_field("verdict", '"\\ud800"')),
    "certificate with escapes": (["check"], with_field("verdict", '"\\u001b[31m\\u0000"')),
    "certificate without a number": (["check"], with_field("mean_pct", "NaN")),
    "certificate with a truth value as a number": (["check"], with_field("test_size", "true")),
    "certificate with a negative size": (["check"], with_field("test_size", "-200")),
    "certificate with an empty list of seeds": (["check"], with_field("seeds", "[]")),
    "certificate with a second document": (["check"], lambda text: text + text),
    "recipe with a field twice": (TRAIN, "epochs = 5\nepochs = 5\n"),
    "recipe with an infinite rate": (TRAIN, "learning_rate = inf\n"),
    "recipe without a number": (TRAIN, "learning_rate = nan\n"),
    "recipe with a date": (TRAIN, "epochs = 2026-11-27\n"),
    "recipe with a table": (TRAIN, "[epochs]\na = 1\n"),
    "recipe with escapes in a name": (TRAIN, '"\\u001b[31m" = 1\n'),
    "recipe in UTF-16": (TRAIN, "epochs = 5\n".encode("utf-16")),
    "recipe with a zero byte": (TRAIN, "epochs = 5\n\x00"),
    "recipe with lines of old Macs": (TRAIN, "epochs = 5\rbatch_size = 32\r"),
    "space of brackets": (["spaces", "check"], "net = " + "<" * 20_000),
    "space without a network": (["spaces", "check"], "\x1b[31m"),
    "space with many digits": (["spaces", "check"], f"net = conv3x3({'9' * 5000}) | gap | linear(10);"),
    "network of brackets": (["explain"], "res(" * 20_000),
    "network in UTF-16": (["explain"], NETWORK.encode("utf-16")),
    "chip of negative size": (CHIP, 'core = "avr"\nflash_bytes = -1\nram_bytes = 9\nclock_hz = 1\n'),
    "chip of infinite size": (CHIP, 'core = "avr"\nflash_bytes = inf\nram_bytes = 9\nclock_hz = 1\n'),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_invalid_documents_are_refused_in_one_line(name: str, workspace: Path, capsys: pytest.CaptureFixture[str]):
    words, content = DOCUMENTS[name]
    if callable(content):
        content = content(saved_certificate(workspace))
    path = workspace / "mine"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reads_typed = words[0] in ("train", "explain")

    assert_one_line(capsys, run([*words, f"@{path}" if reads_typed else str(path)]))


def test_certificate_in_another_layout_and_recipe_in_other_spellings_are_read(workspace: Path):
    layout = json.dumps(json.loads(saved_certificate(workspace)), indent=7, sort_keys=True)
    (workspace / "certificate.json").write_text(layout, encoding="utf-8")
    (workspace / "mine.toml").write_text('epochs = 0x5\n"learning_rate" = 5e-2\n', encoding="utf-8")
    recipe = named_recipe(f"@{workspace / 'mine.toml'}").recipe

    assert run(["check", str(workspace / "certificate.json")]) == 0
    assert (recipe.epochs, recipe.learning_rate) == (5, 0.05)


LINES = {
    "thousands of brackets": NESTED.encode(),
    "hundreds of digits": b'{"event": "rung", "elapsed": ' + b"9" * 5000 + b"}",
    "zero bytes": bytes(4096),
    "a list": b"[1, 2]",
    "a line of a megabyte": b'{"event": "' + b"x" * 2**20 + b'"}',
    "escapes": b'{"event": "\\u001b[31m\\n", "elapsed": 0}',
}


@pytest.mark.parametrize("name", LINES)
def test_damaged_log_hides_only_damaged_study(name: str, workspace: Path, capsys: pytest.CaptureFixture[str]):
    for study in ("whole", "damaged"):
        open_study(workspace / "runs" / study, searches.config(), {})
        write_runs(workspace / "runs" / study, make_result(), make_result(errors=70))
    log = workspace / "runs" / "damaged" / "log.jsonl"
    first, *further_lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(first + LINES[name] + b"\n" + b"".join(further_lines))

    assert run(["studies", "--json"]) == 0
    output = capsys.readouterr()
    assert [each["study"] for each in json.loads(output.out)["studies"] if each["study"] == "whole"] == ["whole"]
    assert len(output.err.splitlines()) <= 2
    assert output.err.replace("\n", "").isprintable()


Row = dict[str, str]


def csv_of(rows: list[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


TABLES: dict[str, tuple[Callable[[list[Row]], str], bool]] = {
    "quotes around every field": (csv_of, True),
    "columns in another order": (lambda rows: csv_of([dict(sorted(row.items())) for row in rows]), True),
    "a missing column": (lambda rows: csv_of([{k: v for k, v in row.items() if k != "seed"} for row in rows]), False),
    "hundreds of digits": (lambda rows: csv_of([{**rows[0], "parameters": "9" * 5000}, *rows[1:]]), False),
    "no number": (lambda rows: csv_of([{**rows[0], "validation_accuracy_pct": "nan"}, *rows[1:]]), False),
    "an open quote": (lambda rows: csv_of(rows) + '"', False),
    "a zero byte": (lambda rows: csv_of([{**rows[0], "status": "complete\x00"}, *rows[1:]]), False),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_like_csv_or_refused(name: str, workspace: Path, capsys: pytest.CaptureFixture[str]):
    change, is_valid = TABLES[name]
    shutil.copytree(REPOSITORY / "measurements" / "tables" / "digits-all-40", workspace / "mine")
    assert run(["bench", "table", "./mine", "--json"]) == 0
    expected = capsys.readouterr().out
    path = workspace / "mine" / "table.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    path.write_text(change(rows), encoding="utf-8", newline="")
    facts = json.loads((workspace / "mine" / "table.json").read_text(encoding="utf-8"))
    facts["rows_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (workspace / "mine" / "table.json").write_text(json.dumps(facts), encoding="utf-8")

    if is_valid:
        assert run(["bench", "table", "./mine", "--json"]) == 0
        assert capsys.readouterr().out == expected
    else:
        assert_one_line(capsys, run(["bench", "table", "./mine"]))


def weights_file(metadata: Any, tensors: str = "{}", content: bytes = b"") -> bytes:
    """Return a safetensors file with this metadata and description of tensors."""
    text = json.dumps({"__metadata__": {"harness": metadata}})
    header = (text[:-1] + ", " + tensors[1:-1] + "}").encode() if tensors != "{}" else text.encode()
    return struct.pack("<Q", len(header)) + header + content


WEIGHTS = {
    "thousands of brackets": weights_file(NESTED),
    "hundreds of digits": weights_file('{"tied": {}, "state": [], "seed": ' + "9" * 5000 + "}"),
    "a list as metadata": weights_file("[]"),
    "a text as names": weights_file('{"tied": {}, "state": 5}'),
    "a header of an exabyte": struct.pack("<Q", 2**60) + b"{}",
    "tensors beyond the end": weights_file(
        '{"tied": {}, "state": ["a"]}', '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(4)
    ),
    "a shape of other bytes": weights_file(
        '{"tied": {}, "state": ["a"]}', '{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}', bytes(8)
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_damaged_weights_are_refused_in_one_line(name: str, tmp_path: Path):
    path = tmp_path / "seed-0000.safetensors"
    path.write_bytes(WEIGHTS[name])

    with pytest.raises(HarnessError) as refusal:
        read_weights(path)
    assert refusal.value.exit_code == 4
    assert len(refusal.value.one_line.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["explain", "examples/missing.py"], "a PyTorch module is FILE.py:NAME or package.module:NAME"),
        (["search", "--accuracy", "99"], "did you mean '--target'?"),
        (["search", "--acuracy", "99"], "did you mean '--target'?"),
        (["search", "--max-params", "99"], "did you mean '--budget'?"),
        (["explain", "torchvision.models.resnet18"], "a PyTorch module is FILE.py:NAME or package.module:NAME"),
        (["explain", "net.onnx"], "a PyTorch module is FILE.py:NAME or package.module:NAME"),
        (["studies", "--accuracy", "99"], "see 'harness studies --help'"),
    ],
)
def test_missing_file_and_option_of_other_tools_are_named(
    arguments: list[str], hint: str, workspace: Path, capsys: pytest.CaptureFixture[str]
):
    assert run([*arguments, "--json"]) == 2

    error = json.loads(capsys.readouterr().out)["error"]
    assert arguments[1] in error["message"]
    assert error["hint"] == hint
