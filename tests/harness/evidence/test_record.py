from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.record import Found, Record
from harness.system.errors import ContentError
from harness.training.result import Epoch, Purpose, Result, Status

NewRecord = Callable[..., Record]


def test_a_record_is_read_as_it_was_written(tmp_path: Path, new_record: NewRecord, new_found: Callable[..., Found]):
    made = new_record([55, 60], name="a 'name', \u05d0", found=new_found(), assumed=("momentum",))

    record.write(tmp_path, made)

    assert record.read_all(tmp_path) == [made]


def test_a_seed_stands_on_a_line_of_its_own(tmp_path: Path, new_record: NewRecord):
    made = new_record([55, 60, 61])
    record.write(tmp_path, made)

    lines = record.path_of(tmp_path, made).read_text(encoding="utf-8").splitlines()

    assert sum('"test_errors"' in line for line in lines) == 3


def test_a_new_seed_joins_those_of_the_file(tmp_path: Path, new_record: NewRecord, new_found: Callable[..., Found]):
    record.write(tmp_path, new_record([55, 60], found=new_found(), name="first"))
    record.write(tmp_path, new_record([70], first=5))

    [there] = record.read_all(tmp_path)

    assert [(run.index, run.test_errors) for run in there.seeds] == [(0, 55), (1, 60), (5, 70)]
    assert (there.found, there.name) == (new_found(), "first")


def test_a_seed_stays_as_it_was_first_measured(tmp_path: Path, new_record: NewRecord):
    record.write(tmp_path, new_record([55]))
    record.write(tmp_path, new_record([40]))

    [there] = record.read_all(tmp_path)

    assert there.seeds[0].test_errors == 55
    assert record.with_seed(there, new_record([40]).seeds[0]) == there


def test_seeds_that_are_written_at_once_all_survive(tmp_path: Path, new_record: NewRecord):
    records = [new_record([50 + index], first=index) for index in range(12)]

    # The lock is one of open files, so threads stand for processes.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda made: record.write(tmp_path, made), records))

    [there] = record.read_all(tmp_path)
    assert [run.index for run in there.seeds] == list(range(12))
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == [".lock"]


def test_rows_with_different_keys_have_different_files(tmp_path: Path, new_record: NewRecord):
    made = [
        new_record([50]),
        new_record([50], target_pct=99.0),
        new_record([50], target_pct=99.40001),
        new_record([50], dataset="kmnist"),
        new_record([50], "conv3x3(9) bn relu | gap | conv1x1(10)"),
    ]
    for item in made:
        record.write(tmp_path, item)

    assert len({record.path_of(tmp_path, item) for item in made}) == len(made)
    assert {item.key for item in record.read_all(tmp_path)} == {item.key for item in made}
    assert record.path_of(tmp_path, made[0]).name.endswith("-mnist-99_4.json")


def test_a_row_of_another_protocol_is_not_written_over(tmp_path: Path, new_record: NewRecord):
    record.write(tmp_path, new_record([50]))

    with pytest.raises(ContentError, match="holds the row"):
        record.write(tmp_path, new_record([50], protocol_version=2))


def edited(folder: Path, made: Record, change: Callable[[dict[str, Any]], None]) -> Path:
    record.write(folder, made)
    path = record.path_of(folder, made)
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(parameters=900), "parameters is stated as 900, but"),
        (lambda d: d.update(macs=1), "macs is stated as 1, but"),
        (lambda d: d.update(hash="0" * 12), "hash is stated as 000000000000, but"),
        (lambda d: d.update(recipe_hash="0" * 12), "recipe_hash is stated as 000000000000, but"),
        (lambda d: d["recipe"].update(epochs=99), "recipe_hash is stated as"),
        (lambda d: d.update(architecture="conv3x3(8) | gap | linear(10)"), "hash is stated as"),
        (lambda d: d.update(architecture=d["architecture"] + " "), "architecture is stated as"),
        (lambda d: d.update(architecture="conv3x3("), "its architecture is not a network"),
        (lambda d: d.update(target_pct=98.0), "file name is stated as"),
        (lambda d: d["seeds"][0].update(test_errors=40), "test_errors of seed 0 is stated as 40, but .* gives 55"),
        (lambda d: d["seeds"][0].update(wrong=d["seeds"][0]["wrong"][::-1]), "wrong images of seed 0"),
        (lambda d: d["seeds"][0]["wrong"].__setitem__(0, [99_999, 1]), "wrong images of seed 0"),
        (lambda d: d["seeds"][0]["wrong"][0].__setitem__(1, 99), r"classes said by seed 0 is stated as \[3, 99\], but"),
        (lambda d: d["seeds"][0]["wrong"][0].__setitem__(1, -1), r"classes said by seed 0 is stated as \[-1, 3\], but"),
        (lambda d: d["seeds"][0]["wrong"].pop(), "test_errors of seed 0 is stated as 55, but .* gives 54"),
        (
            lambda d: [seed.update(weights_sha256="ab" * 32) for seed in d["seeds"]],
            "number of different weights of complete seeds is stated as 1, but .* gives 2",
        ),
        (lambda d: d["seeds"][0].update(best_test_errors=56), "best_test_errors of seed 0 is stated as 56, but .* 55"),
        (lambda d: d["seeds"][1].update(seed=7), "value of seed 1 is stated as 7, but"),
        (lambda d: d["seeds"].reverse(), r"order of seeds is stated as \[1, 0\]"),
        (lambda d: d["seeds"].append(d["seeds"][0]), r"order of seeds is stated as \[0, 1, 0\]"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d.pop("macs"), "macs: Field required"),
        (lambda d: d["recipe"].update(learning_rte=1), "learning_rte"),
        (
            lambda d: d["seeds"][0].update(status="splendid"),
            "seeds.0.status is 'splendid'",
        ),
        (lambda d: d.update(schema_version=2), "schema_version is 2: Input should be 1"),
        (lambda d: d["seeds"][0].update(train_seconds="x"), "seeds.0.train_seconds is 'x'"),
        (lambda d: d.update(parameters="12088"), "parameters is '12088'"),
        (lambda d: d.update(found=[]), "found is"),
    ],
)
def test_an_edited_record_is_refused(
    tmp_path: Path, new_record: NewRecord, change: Callable[[dict[str, Any]], None], message: str
):
    path = edited(tmp_path, new_record([55, 60]), change)

    with pytest.raises(ContentError, match=message) as caught:
        record.read_all(tmp_path)
    assert str(path) in caught.value.message


def test_a_copy_of_a_record_is_refused(tmp_path: Path, new_record: NewRecord):
    made = new_record([55])
    record.write(tmp_path, made)
    path = record.path_of(tmp_path, made)
    (tmp_path / f"copy-{path.name}").write_bytes(path.read_bytes())

    with pytest.raises(ContentError, match="file name is stated as copy-"):
        record.read_all(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "null", "{", "\ufeff{}", '{"schema_version": 1}'])
def test_what_is_not_a_record_is_refused(tmp_path: Path, content: str):
    (tmp_path / "a-b.json").write_text(content, encoding="utf-8")

    with pytest.raises(ContentError, match=r"a-b\.json"):
        record.read_all(tmp_path)


def test_a_record_that_is_a_device_is_refused_unread(tmp_path: Path):
    (tmp_path / "a-b.json").symlink_to("/dev/zero")

    with pytest.raises(ContentError, match=r"cannot read the record .*a-b\.json: it is a device or a pipe"):
        record.read_all(tmp_path)


def test_a_run_of_a_document_keeps_its_best_epoch(new_result: Callable[..., Result]):
    history = tuple(Epoch(epoch, 0.1, None, 1.0, test_errors=count) for epoch, count in ((1, 80), (2, 58), (3, 61)))
    tested = new_result(
        purpose=Purpose.VERIFY,
        seed_index=4,
        status=Status.DIVERGED,
        test_errors=2,
        test_size=10_000,
        wrong=((5, 1), (9, 0)),
        history=history,
    )

    run = record.seed_run(tested, attempt=7)

    assert (run.index, run.test_errors, run.best_test_errors, run.attempt) == (4, 2, 58, 7)
    assert run.accuracy_pct == 99.98
    assert run.status is Status.DIVERGED


def test_a_run_that_did_not_read_the_test_set_is_no_seed(new_result: Callable[..., Result]):
    with pytest.raises(AssertionError, match="has read the test set"):
        record.seed_run(new_result())


def test_a_seed_is_found_by_its_index(new_record: NewRecord):
    made = new_record([55, 60])

    assert made.seed(1) == made.seeds[1]
    assert made.seed(2) is None
    assert replace(made, seeds=()).accuracies_pct == ()


def test_a_row_keeps_the_time_that_its_teacher_took_first(tmp_path: Path, new_record: NewRecord):
    for seconds in (0.0, 90.0, 120.0):
        record.write(tmp_path, new_record([55], teacher_seconds=seconds))

    [there] = record.read_all(tmp_path)
    assert there.teacher_seconds == 90.0


def test_committed_records_keep_their_recipes_when_they_are_written_again(tmp_path: Path):
    committed = sorted((Path(__file__).resolve().parents[3] / "records").glob("*-*.json"))

    for path in committed:
        record.write(tmp_path, record.read(path))

    assert len(committed) >= 7
    for path in committed:
        before, after = (
            [line for line in file.read_text().splitlines() if '"recipe' in line]
            for file in (path, tmp_path / path.name)
        )
        assert len(before) == 3
        assert after == before
