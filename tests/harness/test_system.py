"""Files, locks, documents, the machine, statistics, tables and durations."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import math
import os
import re
import statistics as standard
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.system import files, machine
from harness.system.document import WrittenNetwork, csv_text, document_of, documented, read_as
from harness.system.errors import ContentError, StorageError, UsageError, refused
from harness.system.files import Workspace, check_writable, workspace
from harness.system.statistics import (
    chance_that_lower,
    lower_bound,
    mean,
    pooled_deviation,
    reaches,
    standard_deviation,
    student_share,
)
from harness.system.terminal import (
    DURATION,
    console,
    duration_option,
    duration_text,
    show_table,
)
from search_spaces.network import Architecture

# Files ------------------------------------------------------------------------------------------------------------


def locked_once(path: Path) -> None:
    with files.locked(path):
        pass


def full(*arguments: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, "new"),
    "together": lambda path: files.write_together({path.parent / "other": b"new", path: b"new"}),
}
LINES: dict[str, Callable[[Path], None]] = {"line": lambda path: files.append_line(path, "x"), "lock": locked_once}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def test_a_device_or_a_pipe_is_not_replaced_by_a_file_nor_read(tmp_path: Path):
    place = tmp_path / "special"
    os.mkfifo(place)

    with pytest.raises(StorageError):
        files.write_text(place, "text")
    with pytest.raises(ContentError):
        files.log_text(place)

    assert not place.is_file()


def test_a_log_is_read_whatever_its_bytes_are_and_may_be_absent(tmp_path: Path):
    (tmp_path / "log").write_bytes(b"one\n\xff\n")
    assert files.log_text(tmp_path / "log") == "one\n\N{REPLACEMENT CHARACTER}\n"
    assert files.log_text(tmp_path / "none") == ""
    with pytest.raises(ContentError):
        files.log_text(tmp_path)


def test_what_is_written_is_what_was_given_and_others_may_read_it(tmp_path: Path):
    place = tmp_path / "a" / "b"
    files.write_bytes(place / "a", b"\0\r\n\xff")
    files.write_text(place / "b", "é\r\n\u2028")
    files.write_json(place / "c", {"name": "é", "list": [1]})

    assert (place / "a").read_bytes() == b"\0\r\n\xff"
    assert (place / "b").read_bytes() == b"\xc3\xa9\r\n\xe2\x80\xa8"
    assert (place / "c").read_bytes() == b'{\n "name": "\xc3\xa9",\n "list": [\n  1\n ]\n}\n'
    assert {path.name: path.stat().st_mode & 0o777 for path in place.iterdir()} == dict.fromkeys("abc", 0o644)


@each_writer
@pytest.mark.parametrize("step", ["fsync", "interrupt", "second fsync"])
def test_a_failed_write_leaves_the_old_files_and_nothing_else(
    step: str, write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "file"
    for name in ("file", "other"):
        (tmp_path / name).write_bytes(b"old")
    sync, synced = os.fsync, []

    def fail(*arguments: Any) -> None:
        synced.append(arguments)
        if step == "second fsync" and len(synced) == 1 and write is WRITERS["together"]:
            sync(*arguments)
        elif step == "interrupt":
            raise KeyboardInterrupt
        else:
            full()

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt if step == "interrupt" else StorageError):
        write(path)

    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == {"file": b"old", "other": b"old"}


def test_the_content_is_on_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    steps: list[tuple[str, bytes | None]] = []
    path = tmp_path / "file"
    sync, replace = os.fsync, os.replace

    def seen(step: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            function(*arguments)
            steps.append((step, path.read_bytes() if path.exists() else None))

        return call

    monkeypatch.setattr(os, "fsync", seen("fsync", sync))
    monkeypatch.setattr(os, "replace", seen("replace", replace))
    files.write_bytes(path, b"new")

    assert steps == [("fsync", None), ("replace", b"new")]


@pytest.mark.parametrize("write", (WRITERS | LINES).values(), ids=WRITERS | LINES)
def test_what_cannot_be_written_is_named(write: Callable[[Path], None], tmp_path: Path):
    (tmp_path / "blocked").write_text("a file")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "blocked" / "file", tmp_path / "folder"):
        with pytest.raises(StorageError):
            write(place)
    assert sorted(os.listdir(tmp_path)) == ["blocked", "folder"]


# Lines ----------------------------------------------------------------------------------------------------------------


def test_a_line_after_a_torn_one_begins_a_line_of_its_own(tmp_path: Path):
    path = tmp_path / "new" / "log.jsonl"
    files.append_line(path, "é")
    path.write_bytes(path.read_bytes() + b'{"torn')
    files.append_line(path, "third")
    assert path.read_text(encoding="utf-8").splitlines() == ["é", '{"torn', "third"]


@pytest.mark.parametrize("has_room", [True, False])
def test_a_line_that_the_disk_takes_in_parts_is_whole_or_taken_back(
    has_room: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "log"
    files.append_line(path, "before")
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda handle, content: write(handle, content[:3]) if has_room or len(content) > 4 else full()
    )

    if has_room:
        files.append_line(path, "12345678")
    else:
        with pytest.raises(StorageError):
            files.append_line(path, "12345678")

    assert path.read_bytes() == (b"before\n12345678\n" if has_room else b"before\n")


APPEND = """
import os, sys
from pathlib import Path
from harness.system import files
os.fsync = lambda handle: None
for number in range(50):
    files.append_line(Path(sys.argv[1]), sys.argv[2] * 20_000)
"""


def test_lines_of_several_processes_stay_whole(tmp_path: Path):
    path = tmp_path / "log"
    processes = [subprocess.Popen([sys.executable, "-c", APPEND, str(path), letter]) for letter in "abc"]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(path.read_text().splitlines()) == [letter * 20_000 for letter in "abc" for _ in range(50)]


# Locks ----------------------------------------------------------------------------------------------------------------


def is_free(path: Path) -> bool:
    """Whether nobody holds the kernel's lock alone."""
    handle = os.open(path, os.O_WRONLY)
    try:
        # Shared, so that a lock which is only shared does not count as held.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def test_a_lock_excludes_others_until_the_end_of_the_block(tmp_path: Path):
    path = tmp_path / "new" / "lock"

    with files.locked(path):
        assert not is_free(path)
        with pytest.raises(files.Held):
            files.locked(path, seconds=0.05).__enter__()
    assert is_free(path)

    with pytest.raises(RuntimeError), files.locked(path):
        raise RuntimeError
    assert is_free(path)


def test_a_lock_falls_with_its_holder(tmp_path: Path):
    path = tmp_path / "lock"
    hold = "import sys, time\nfrom pathlib import Path\nfrom harness.system import files\n"
    hold += "with files.locked(Path(sys.argv[1])):\n    print(flush=True)\n    time.sleep(60)"

    with subprocess.Popen([sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = not is_free(path)
        process.kill()

    assert held
    assert is_free(path)


# The workspace --------------------------------------------------------------------------------------------------------


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_WORKSPACE", "/some/where")
    assert workspace().root == Path("/some/where")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_WORKSPACE", "")
    assert workspace().root == tmp_path
    monkeypatch.delenv("HARNESS_WORKSPACE")
    assert workspace().root == tmp_path

    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_WORKSPACE", str(tmp_path / "file"))
    with pytest.raises(UsageError):
        workspace()


@pytest.mark.parametrize("name", ["a", "with blank", "a...", "ä" * 100, "😀"])
def test_a_study_is_a_folder_of_its_name(name: str, tmp_path: Path):
    Workspace(tmp_path).study(name).mkdir(parents=True)
    assert os.listdir(tmp_path / "runs") == [name]


@pytest.mark.parametrize(
    "name", ["", "..", ".teachers", "../x", "a/b", "/etc", "a\\b", "a\nb", "a\0b", "x" * 201, "ä" * 101, "\udcff"]
)
def test_another_name_is_refused_in_one_line(name: str, tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        Workspace(tmp_path).study(name)
    assert "\n" not in caught.value.message


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("kept")
    for folder in (blocked, blocked / "x", tmp_path / ("x" * 300)):
        with pytest.raises(StorageError):
            check_writable(folder)
    assert blocked.read_text() == "kept"


@pytest.mark.parametrize(("number", "is_storage"), [(errno.ENOSPC, True), (errno.EROFS, True), (errno.ENOLCK, False)])
def test_storage_that_is_refused_is_told_from_other_errors_also_as_a_cause(number: int, is_storage: bool):
    outer = RuntimeError("a run failed")
    outer.__cause__ = OSError(number, os.strerror(number), "file")
    assert isinstance(refused(outer), StorageError) == is_storage


# Document ---------------------------------------------------------------------------------------------------------


class Colour(StrEnum):
    """Two words."""

    RED = "red"
    BLUE = "blue"


@documented
@dataclass(frozen=True, slots=True)
class Part:
    """What a document holds several of."""

    length: float
    colour: Colour = Colour.RED


@documented
@dataclass(frozen=True, slots=True)
class Whole:
    """A document."""

    count: int
    parts: tuple[Part, ...]
    pair: tuple[int, int] | None = None


parts = st.builds(Part, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(Colour))
wholes = st.builds(
    Whole,
    st.integers(-(2**60), 2**60),
    st.lists(parts, max_size=3).map(tuple),
    st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


@given(wholes)
def test_what_was_written_is_read_back(whole: Whole):
    assert read_as(Whole, json.dumps(asdict(whole)), "here") == whole


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "Invalid JSON"),
        ("[]", "[]"),
        ('{"parts": []}', "count"),
        ('{"count": "1", "parts": []}', "count is '1'"),
        ('{"count": true, "parts": []}', "count is True"),
        ('{"count": 1.5, "parts": []}', "count is 1.5"),
        ('{"count": 1, "parts": [{"length": 1}, {"length": NaN}]}', "parts.1.length is nan"),
        ('{"count": 1, "parts": [{"length": 1e999}]}', "parts.0.length is inf"),
        ('{"count": 1, "parts": [{"length": 1, "colour": "green"}]}', "parts.0.colour is 'green'"),
        ('{"count": 1, "parts": [{"length": 1, "size": 2}]}', "parts.0.size is 2"),
        ('{"count": 1, "parts": [], "pair": [1, 2, 3]}', "pair is [1, 2, 3]"),
        ('{"count": 1, "parts": "' + "x" * 500 + '"}', "x..."),
    ],
)
def test_a_document_of_another_content_is_refused_in_one_line(text: str, named: str):
    with pytest.raises(ContentError) as caught:
        read_as(Whole, text, "the file f")
    assert caught.value.message.startswith("the file f: ")
    assert named in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@documented
@dataclass(frozen=True, slots=True)
class Trained:
    """A document with a network."""

    architecture: WrittenNetwork
    others: tuple[WrittenNetwork | None, ...] = ()


@given(network=st.from_type(Architecture))
def test_a_network_stands_in_a_document_as_its_text(network: Architecture):
    trained = Trained(network, (None, network))
    written = document_of(trained)
    assert written == {"architecture": str(network), "others": [None, str(network)]}
    assert read_as(Trained, json.dumps(written), "it") == trained


def test_a_damaged_network_is_named_with_its_place_and_the_position_in_its_text():
    text = "conv3x3(8) bn nn | gap"
    with pytest.raises(ContentError) as caught:
        read_as(Trained, json.dumps({"architecture": text}), "the file x")
    assert "architecture" in caught.value.message
    assert (caught.value.position, caught.value.text) == (text.index("nn"), text)


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_numbers_are_raw_and_what_is_missing_is_empty():
    text = csv_text(("a", "b", "c", "d"), [(1_000, 99.41000000000001, None, True), (-1, 1e-05, "", False)])
    assert text == "a,b,c,d\n1000,99.41000000000001,,true\n-1,1e-05,,false\n"


# Machine ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "flags", "name"),
    [
        ("flags\t\t: fpu avx2\nmodel name\t: A 9 @ 2GHz\nflags\t: fpu\n", "fpu avx2", "A 9 @ 2GHz"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", "fp asimd", "unknown"),
        ("model name\t: flagship\n", "", "flagship"),
        (None, "", "unknown"),
    ],
)
def test_flags_and_model_are_those_that_the_system_names(
    text: str | None, flags: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "_INFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert machine.processor_flags() == set(flags.split())
    assert machine.processor_name() == name


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("350000 100000", 3), ("50000 100000", 1), ("1600000 100000", 8), ("", 8), (None, 8)],
)
def test_no_more_cores_are_used_than_a_container_s_quota_pays_for(
    quota: str | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setattr(machine, "_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota, encoding="utf-8")
    assert machine.core_count() == cores


# Statistics -------------------------------------------------------------------------------------------------------


ACCURACIES = st.lists(st.integers(9_000, 10_000).map(lambda right: right / 100), min_size=2, max_size=12)


@given(values=ACCURACIES)
def test_mean_and_deviation_are_those_of_the_standard_library(values: list[float]):
    assert mean(values) == pytest.approx(standard.mean(values))
    assert standard_deviation(values) == pytest.approx(standard.stdev(values), abs=1e-9)


@pytest.mark.parametrize(
    ("confidence", "count", "quantile"),
    # Student's t, one-sided, to three places, as every printed table has it.
    [(0.95, 5, 2.132), (0.99, 5, 3.747), (0.99, 10, 2.821), (0.99, 20, 2.539), (0.99, 30, 2.462)],
)
def test_the_lower_bound_uses_the_quantiles_of_the_printed_tables(confidence: float, count: int, quantile: float):
    values = [99.4 + 0.05 * (-1) ** index for index in range(count)]
    distance = (mean(values) - lower_bound(values, confidence)) * math.sqrt(count)
    assert distance / standard_deviation(values) == pytest.approx(quantile, abs=0.0006)


def test_student_s_share_is_that_of_the_printed_tables():
    # Student's t, one-sided: 2.132 is the 95 % quantile with 4 degrees of freedom, 1.323 the 90 % quantile with 21.
    assert student_share(2.132, 4) == pytest.approx(0.95, abs=1e-4)
    assert student_share(1.323, 21) == pytest.approx(0.90, abs=1e-4)
    assert student_share(0.0, 5) == pytest.approx(0.5)


@given(values=ACCURACIES)
def test_the_lower_bound_is_that_of_scipy_s_interval(values: list[float]):
    alike = len(set(values)) == 1
    low = values[0] if alike else stats.t.interval(0.95, len(values) - 1, standard.mean(values), stats.sem(values))[0]
    assert lower_bound(values, 0.975) == pytest.approx(float(low))


def test_the_chance_of_a_worse_re_run_is_the_one_of_welch():
    fresh, recorded = [99.30, 99.35, 99.28, 99.41], [99.45, 99.47, 99.40, 99.44, 99.46, 99.39]
    # Welch's formulas give t = -3.1311 with 4.2904 degrees of freedom; Student's density was summed up to there.
    assert chance_that_lower(fresh, recorded) == pytest.approx(0.015967, abs=1e-6)
    assert chance_that_lower(recorded, fresh) == pytest.approx(1 - chance_that_lower(fresh, recorded))
    assert chance_that_lower(fresh, fresh) == pytest.approx(0.5)
    # Samples without spread are compared as they are.
    assert [chance_that_lower([value] * 3, [99.5] * 3) for value in (99.0, 99.5, 99.6)] == [0.0, 1.0, 1.0]


def test_the_pooled_deviation_weighs_groups_by_their_degrees_of_freedom():
    deviation, freedom = pooled_deviation([[1.0, 3.0], [10.0, 10.0, 13.0], [7.0]])
    # Squares within the groups: 2 over one degree, 6 over two; a group of one says nothing.
    assert deviation == pytest.approx(math.sqrt(8 / 3))
    assert freedom == 3
    assert math.isnan(pooled_deviation([[1.0], [2.0], []])[0])


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(0, 500))
def test_counts_of_errors_reach_a_target_exactly_when_their_mean_allows_it(errors: list[int], allowed: int):
    found = mean([100.0 * (10_000 - count) / 10_000 for count in errors])
    assert reaches(found, 100.0 * (10_000 - allowed) / 10_000) == (sum(errors) <= allowed * len(errors))


# Terminal ---------------------------------------------------------------------------------------------------------


COLUMNS = (("network", False), ("learned", True), ("recipe", False))
ROWS = [["posed-1462", "1,462", "small"], ["plain-5102", "5,102", "fast"]]
FACTS = [["space", "word " * 60], ["time", "short"]]
LOOKS = [["green", ""]] * 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(
    monkeypatch: pytest.MonkeyPatch, width: int | None, *, colours: bool = False, name: str = "stdout"
) -> io.StringIO:
    """Put a stream in the place of stdout or stderr: a terminal so wide, or a pipe where it is None."""
    stream = io.StringIO() if width is None else Terminal()
    monkeypatch.setattr(sys, name, stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    if colours:
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setenv("NO_COLOR", "1")
    return stream


def plain(text: str) -> str:
    """Return a text without looks."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_in_a_pipe_no_line_ends_in_blanks_none_is_folded_and_none_steers(monkeypatch: pytest.MonkeyPatch):
    stream = terminal(monkeypatch, None)
    show_table(console(), ROWS, ["", ""], COLUMNS)
    show_table(console(), FACTS, LOOKS)
    show_table(console(), [["name", "a\x1b[2Jb"]], LOOKS[:1])

    lines = stream.getvalue().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[1].split() == ROWS[0]
    assert lines[-1] == "name  a?[2Jb"
    assert len(lines) == 6


# Durations ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("45m", 2700.0),
        ("1h30m15s", 5415.0),
        ("1h5s", 3605.0),
        ("1.5h", 5400.0),
        ("0h1s", 1.0),
        (90, 90),
        ("5 m", 300.0),
        ("5min", 300.0),
        ("3 minutes", 180.0),
        ("1 hour 2 min", 3720.0),
        ("90 sec", 90.0),
    ],
)
def test_hours_minutes_and_seconds_add_up(text: str, seconds: float):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("45", "", "m", "0s", "0h0m", "-5m", "30m1h", "1m1m", "1e3s", ".5m", "5.m", "nan", "inf", "1d"),
        *("876001h", "9" * 400 + "h"),
    ],
)
def test_what_is_no_duration_or_more_than_a_century_is_refused(text: str):
    with pytest.raises(click.BadParameter):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (5415, "1 h 30 min")],
)
def test_durations_are_shown_in_their_two_largest_units(seconds: float, text: str):
    assert duration_text(seconds) == text


@given(st.one_of(st.integers(1, 10**9), st.floats(1e-6, 1e6)))
def test_an_option_is_read_as_the_whole_seconds_that_it_needs(seconds: float):
    assert DURATION.convert(duration_option(seconds), None, None) == math.ceil(seconds)
