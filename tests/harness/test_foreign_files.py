"""Foreign and damaged files: each reader returns a result or raises an error of this program."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.bench.table import read_table, write_table
from harness.data.datasets import dataset
from harness.data.user.sources import source_at
from harness.data.user.stored import descriptions
from harness.evidence import certificate, leaderboard_table, ledger, record
from harness.interface.lookup import network_argument
from harness.searching import request
from harness.searching.surrogate.prior import read_prior
from harness.spaces.catalog import space
from harness.spaces.network import MNIST
from harness.spaces.space_errors import SearchSpaceError
from harness.studies.config import open_study, read_config
from harness.studies.log import read_state
from harness.system.document import document_of, read_toml
from harness.system.errors import ContentError, DataError, HarnessError
from harness.system.files import Workspace, write_json
from harness.training.recipe import named_recipe
from harness.training.result import Inspection, Miss, inspection_path, packed, read_inspections
from tests import searches
from tests.conftest import REPOSITORY
from tests.factories import make_record, make_result
from tests.harness.bench import made_up
from tests.harness.evidence.test_certificate import certificate as make_certificate
from tests.study_logs import write_runs

# Tokens that a mutation inserts: brackets, digits, and bytes that are not allowed in text.
TOKENS = (b"[" * 200, b"{", b"9" * 400, b"1e999", b"NaN", b"null", b'"', b"\\", b"\x00", b"\xff", b"\n", b"-", b",")


@dataclass(frozen=True)
class Reader:
    """A function that writes a valid file, and the function that reads such files."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def write_study(folder: Path) -> Path:
    open_study(folder, searches.config(), {})
    write_runs(folder, make_result(), make_result(errors=70))
    return folder


def write_ledger(folder: Path) -> Path:
    key = make_record([60] * 5).key
    ledger.close(
        folder / "l",
        ledger.declare_attempt(folder / "l", key, 0, 20),
        outcome=ledger.AttemptResult.FAILED,
        lower_bound_pct=1,
    )
    ledger.declare_seeds(folder / "l", key, [3, 4])
    return folder / "l"


def write_record(folder: Path) -> Path:
    evidence = make_record([60, 61, 62])
    record.write(folder, evidence)
    return evidence.path(folder)


def write_certificate(folder: Path) -> Path:
    make_certificate((2, 4, 3, 3) * 5).save(folder / "certificate.json")
    return folder / "certificate.json"


def text_writer(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return make


def write_leaderboard(folder: Path) -> Path:
    return Path(shutil.copy(REPOSITORY / "leaderboard.csv", folder / "leaderboard.csv"))


def write_prior(folder: Path) -> Path:
    lines = (REPOSITORY / "harness" / "searching" / "trainings-mnist.csv").read_text("utf-8").splitlines(keepends=True)
    return text_writer("prior.csv", "".join(lines[:6]))(folder)


def write_data(folder: Path) -> Path:
    spec = replace(made_up.USER_DATA, validation_group_sizes=(600, 400), test_group_sizes=(9_000, 1_000))
    write_json(folder / "data.json", document_of(replace(spec, test_groups=(0,) * 9_000 + (1,) * 1_000)))
    return folder / "data.json"


def write_facts(folder: Path) -> Path:
    write_table(folder, made_up.table())
    return folder / "table.json"


def read_facts(path: Path) -> None:
    table = read_table(path.parent)
    table.summary()
    table.target_pct()


def write_weights(folder: Path) -> Path:
    arrays = {name: np.zeros(2, np.float32) for name in ("a", "b")}
    about = {"architecture": "gap linear(10)", "tied": {"c": "a"}, "state": ["a", "b", "c"]}
    save_file(arrays, folder / "w.safetensors", {"harness": json.dumps(about)})
    return folder / "w.safetensors"


def write_inspection(folder: Path) -> Path:
    miss = Miss(image=1, label=0, prediction=1, pixels=packed(bytes(4)))
    inspection = Inspection(seed_index=0, weights_sha256="", label_counts=(1,) * 10, image_shape=(2, 2), misses=(miss,))
    path = inspection_path(folder, "row", 0)
    write_json(path, document_of(inspection))
    return path


def write_descriptions(folder: Path) -> Path:
    entry = {"name": "own-00000000", "options": {"shape": [1, 8, 8], "group_by": "a", "balanced": True}}
    write_json(folder / "runs" / ".data" / "described.json", {"/a": [entry, entry]})
    return folder / "runs" / ".data" / "described.json"


def read_descriptions(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_WORKSPACE", str(path.parents[2]))
        descriptions("/a")


RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\n"
READERS = {
    "config": Reader(lambda folder: write_study(folder) / "config.json", lambda path: read_config(path.parent)),
    "log": Reader(lambda folder: write_study(folder) / "log.jsonl", lambda path: read_state(path.parent)),
    "ledger": Reader(write_ledger, ledger.read),
    "record": Reader(write_record, record.read),
    "certificate": Reader(write_certificate, certificate.recomputed),
    "leaderboard": Reader(write_leaderboard, leaderboard_table.read),
    "prior": Reader(write_prior, lambda path: read_prior(path.parent)),
    "recipe": Reader(text_writer("r.toml", RECIPE), lambda path: named_recipe(f"@{path}")),
    "table": Reader(text_writer("t.toml", RECIPE), lambda path: read_toml(path, "table")),
    "chip": Reader(
        text_writer("c.toml", 'core = "avr"\nflash_bytes = 32768\nram_bytes = 2048\nclock_hz = 16000000\n'),
        lambda path: request._chip(f"@{path}"),
    ),
    "data": Reader(write_data, lambda path: dataset(made_up.USER_DATA.name, path.parent)),
    "facts": Reader(write_facts, read_facts),
    "weights": Reader(write_weights, lambda path: record.read_weights(path).sha256),
    "inspection": Reader(write_inspection, lambda path: read_inspections(path.parents[2], "row")),
    "described": Reader(write_descriptions, read_descriptions),
    "space": Reader(
        text_writer("s.space", "w = {4, 8};\nnet = conv3x3(w) bn relu | gap | linear(10);\nwhere parameters <= 500;\n"),
        lambda path: space(f"@{path}"),
    ),
}


# Values that a mutation of a document inserts; null, true, lists and objects included.
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**12,
    1e308,
    math.nan,
    math.inf,
    "",
    "x",
    "\ud800",
    "a\nb",
    [],
    [0, None],
    {},
    {"": 1},
)


def changed_document(document: Any, rng: random.Random) -> Any:
    """Return a JSON document with a value replaced, removed, repeated or changed by a small step."""
    if isinstance(document, dict) and document and rng.random() < 0.9:
        key = rng.choice([*document])
        rest = {name: value for name, value in document.items() if name != key}
        return rest if rng.random() < 0.1 else document | {key: changed_document(document[key], rng)}
    if isinstance(document, list) and document and rng.random() < 0.6:
        index = rng.randrange(len(document))
        return [*document[:index], changed_document(document[index], rng), *document[index + 1 :]]
    if isinstance(document, list) and rng.random() < 0.5:
        return rng.choice([document * 2, document[:-1], document[::-1]])
    if isinstance(document, int | float) and rng.random() < 0.5:
        return rng.choice([document + 1, -document, document * 1000, document + 0.5])
    return rng.choice(VALUES)


def changed_fields(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON document, JSON lines or the header of a weights file with a changed value; else random changes."""
    try:
        if content[8:9] == b"{" and int.from_bytes(content[:8], "little") < len(content):
            end = 8 + int.from_bytes(content[:8], "little")
            header = json.loads(content[8:end])
            about = json.loads(header["__metadata__"]["harness"])
            header["__metadata__"]["harness"] = json.dumps(changed_document(about, rng))
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + content[end:]
        lines = content.splitlines(keepends=True)
        is_document = lines[0].strip() in (b"{", b"[") or len(lines) == 1
        parts = [content] if is_document else lines
        number = rng.randrange(len(parts))
        parts[number] = json.dumps(changed_document(json.loads(parts[number]), rng)).encode() + b"\n"
        return b"".join(parts)
    except ValueError:
        return changed_bytes(content, rng)


def mutate(content: bytes, rng: random.Random) -> bytes:
    return rng.choice([changed_fields, changed_bytes])(content, rng)


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return content with one to three random changes: bytes flipped, cut, doubled, reversed or replaced by a token."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 4, 40, 400)))
        part = content[start:end]
        flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in part)
        middle = rng.choice((b"", part + part, bytes(reversed(part)), rng.choice(TOKENS), flipped))
        content = content[:start] + middle + content[end:]
    return content


NIGHTLY, SLOW = pytest.mark.nightly, pytest.mark.slow


@pytest.mark.parametrize("start", [0, pytest.param(100, marks=NIGHTLY), pytest.param(500, marks=SLOW)])
@pytest.mark.parametrize("name", READERS)
def test_damaged_file_is_read_or_refused(name: str, start: int, tmp_path: Path):
    reader = READERS[name]
    path = reader.make(tmp_path)
    content = path.read_bytes()
    reader.read(path)
    for number in range(start, {0: 100, 100: 500, 500: 20_000}[start]):
        path.write_bytes(mutate(content, random.Random(f"{name} {number}")))
        try:
            reader.read(path)
        except (HarnessError, SearchSpaceError, click.BadParameter):
            pass
        except Exception as error:
            raise AssertionError(f"mutation {number} of {name}") from error


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("data", ["all_files"], []),
        ("data", ["sha256"], ""),
        ("data", ["folder"], "MNIST/raw"),
        ("data", ["all_files"], [{"name": "train.npz", "sha256": "", "gzip_md5": ""}]),
        ("data", ["mean"], [0.5]),
        ("data", ["std"], [0.25, 0.0, 0.25]),
        ("data", ["classes"], 0),
        ("data", ["class_names"], ["a"]),
        ("data", ["low"], [0.0]),
        ("data", ["test_groups"], [5]),
        ("data", ["folds"], 0),
        ("facts", ["facts", "rungs"], [1, 2, 3]),
        ("facts", ["facts", "rungs"], []),
        ("facts", ["facts", "machines"], []),
    ],
)
def test_field_that_contradicts_other_fields_is_refused(name: str, path: list[str], value: Any, tmp_path: Path):
    reader = READERS[name]
    file = reader.make(tmp_path)
    document = json.loads(file.read_bytes())
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    write_json(file, document)

    with pytest.raises((ContentError, DataError)):
        reader.read(file)


@pytest.mark.parametrize("kind", ["space", "recipe", "chip", "network"])
def test_too_long_file_is_refused_without_reading(kind: str, workspace: Path):
    path = workspace / "long"
    with path.open("wb") as file:
        file.truncate(2**40)
    readers: dict[str, Callable[[], Any]] = {
        "space": lambda: space(f"@{path}"),
        "recipe": lambda: named_recipe(f"@{path}"),
        "chip": lambda: request._chip(f"@{path}"),
        "network": lambda: network_argument(f"@{path}", Workspace(workspace), MNIST),
    }

    message = "the limit is 100,000" if kind == "space" else "more than 1,000,000 bytes"
    with pytest.raises((HarnessError, SearchSpaceError, click.BadParameter), match=message):
        readers[kind]()


def test_pipe_in_place_of_data_or_weights_is_refused(tmp_path: Path):
    (tmp_path / "X_TRAIN.tsv").write_text("".join(f"{row % 2}\t{row}\t{row * row}\n" for row in range(40)))
    os.mkfifo(tmp_path / "X_TEST.tsv")
    os.mkfifo(tmp_path / "seed-0.safetensors")

    with pytest.raises(DataError, match="not a file"):
        source_at(tmp_path / "X_TRAIN.tsv", None, None)
    with pytest.raises(ContentError, match="not a file"):
        record.read_weights(tmp_path / "seed-0.safetensors")
