"""Files that somebody else wrote, or that were damaged: each reader answers or refuses, whatever the bytes are."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from harness.data.own.sources import source_at
from harness.evidence import certificate, leaderboard_table, ledger, record
from harness.interface.lookup import read_network
from harness.searching import option_types
from harness.searching.surrogate.past import read_prior
from harness.studies.config import open_study, read_config
from harness.studies.log import read_state
from harness.system.document import read_toml
from harness.system.errors import ContentError, DataError, HarnessError
from harness.system.files import Workspace
from harness.training.recipe import named_recipe
from search_spaces.catalog import space
from search_spaces.network import MNIST
from search_spaces.space_errors import SearchSpaceError
from tests import searches
from tests.conftest import REPOSITORY
from tests.factories import make_record, make_result
from tests.harness.evidence.test_certificate import certificate as make_certificate
from tests.study_logs import write_runs

# What a mutation may put in: brackets, digits and bytes that no text has.
TOKENS = (b"[" * 200, b"{", b"9" * 400, b"1e999", b"NaN", b"null", b'"', b"\\", b"\x00", b"\xff", b"\n", b"-", b",")


@dataclass(frozen=True)
class Reader:
    """A valid file, and who reads it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]


def study_of(folder: Path) -> Path:
    open_study(folder, searches.config(), {})
    write_runs(folder, make_result(), make_result(errors=70))
    return folder


def ledger_of(folder: Path) -> Path:
    key = make_record([60] * 5).key
    ledger.close(
        folder / "l",
        ledger.declare_attempt(folder / "l", key, 0, 20),
        outcome=ledger.AttemptOutcome.FAILED,
        lower_bound_pct=1,
    )
    ledger.declare_verification(folder / "l", key, [3, 4])
    return folder / "l"


def record_of(folder: Path) -> Path:
    written = make_record([60, 61, 62])
    record.write(folder, written)
    return record.path_of(folder, written)


def certificate_file(folder: Path) -> Path:
    make_certificate((2, 4, 3, 3) * 5).save(folder / "certificate.json")
    return folder / "certificate.json"


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return make


def table_of(folder: Path) -> Path:
    return Path(shutil.copy(REPOSITORY / "leaderboard.csv", folder / "leaderboard.csv"))


def prior_of(folder: Path) -> Path:
    lines = (REPOSITORY / "harness" / "searching" / "trainings-mnist.csv").read_text("utf-8").splitlines(keepends=True)
    return text_file("prior.csv", "".join(lines[:6]))(folder)


RECIPE = "epochs = 4\nbatch_size = 500\naugmented_share = 0.0\nlearning_rate = 0.2\n"
READERS = {
    "config": Reader(lambda folder: study_of(folder) / "config.json", lambda path: read_config(path.parent)),
    "log": Reader(lambda folder: study_of(folder) / "log.jsonl", lambda path: read_state(path.parent)),
    "ledger": Reader(ledger_of, ledger.read),
    "record": Reader(record_of, record.read),
    "certificate": Reader(certificate_file, certificate.check),
    "leaderboard": Reader(table_of, leaderboard_table.read),
    "prior": Reader(prior_of, lambda path: read_prior(path.parent)),
    "recipe": Reader(text_file("r.toml", RECIPE), lambda path: named_recipe(f"@{path}")),
    "table": Reader(text_file("t.toml", RECIPE), lambda path: read_toml(path, "table")),
    "space": Reader(
        text_file("s.space", "w = {4, 8};\nnet = conv3x3(w) bn relu | gap | linear(10);\nwhere parameters <= 500;\n"),
        lambda path: space(f"@{path}"),
    ),
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a file with one to three changes: bytes flipped, cut, doubled, moved, or tokens put in."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(content) + 1)
        end = min(len(content), start + rng.choice((1, 1, 4, 40, 400)))
        part = content[start:end]
        flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in part)
        middle = rng.choice((b"", part + part, bytes(reversed(part)), rng.choice(TOKENS), flipped))
        content = content[:start] + middle + content[end:]
    return content


def check_reader(name: str, folder: Path, count: int) -> None:
    """Read so many mutations of a file; raise what is no refusal in one line."""
    reader = READERS[name]
    path = reader.make(folder)
    whole = path.read_bytes()
    reader.read(path)
    for number in range(count):
        path.write_bytes(mutated(whole, random.Random(f"{name} {number}")))
        try:
            reader.read(path)
        except (HarnessError, SearchSpaceError):
            pass
        except Exception as error:
            raise AssertionError(f"mutation {number} of {name}") from error


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_a_line(name: str, tmp_path: Path):
    check_reader(name, tmp_path, 100)


@pytest.mark.parametrize(
    "count", [pytest.param(500, marks=pytest.mark.nightly), pytest.param(20_000, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", READERS)
def test_thousands_of_damaged_files_are_read_or_refused_in_a_line(name: str, count: int, tmp_path: Path):
    check_reader(name, tmp_path, count)


@pytest.mark.parametrize("kind", ["space", "recipe", "chip", "network"])
def test_a_typed_file_that_is_far_too_long_is_refused_unread(kind: str, workspace: Path):
    path = workspace / "long"
    with path.open("wb") as file:
        file.truncate(2**40)
    readers: dict[str, Callable[[], Any]] = {
        "space": lambda: space(f"@{path}"),
        "recipe": lambda: named_recipe(f"@{path}"),
        "chip": lambda: option_types._chip(f"@{path}"),
        "network": lambda: read_network(f"@{path}", Workspace(workspace), MNIST),
    }

    with pytest.raises((HarnessError, SearchSpaceError, click.BadParameter), match="more than 1,000,000 bytes"):
        readers[kind]()


def test_a_pipe_in_the_place_of_a_part_or_of_weights_is_refused(tmp_path: Path):
    (tmp_path / "X_TRAIN.tsv").write_text("".join(f"{row % 2}\t{row}\t{row * row}\n" for row in range(40)))
    os.mkfifo(tmp_path / "X_TEST.tsv")
    os.mkfifo(tmp_path / "seed-0.safetensors")

    with pytest.raises(DataError, match="not a file"):
        source_at(tmp_path / "X_TRAIN.tsv", None, None)
    with pytest.raises(ContentError, match="not a file"):
        record.read_weights(tmp_path / "seed-0.safetensors")
