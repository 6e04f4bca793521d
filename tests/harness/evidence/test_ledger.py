"""Ledger: attempts, looks, certificates and registrations, and the error probability that each entry spends."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness.data.datasets import DATASETS
from harness.evidence import ledger
from harness.evidence.ledger import Attempt, AttemptResult, Declaration, Registration
from harness.evidence.record import RowKey
from harness.system import files
from harness.system.errors import ContentError

KEY = RowKey("0123456789ab", "ba9876543210", "mnist", 99.4, 1)
OTHER = KEY._replace(hash="ffffffffffff")
ATTEMPT = Attempt(
    number=1, hash=KEY.hash, recipe_hash=KEY.recipe_hash, dataset="mnist", target_pct=99.4, protocol_version=1,
    first_index=0, seeds=30, declared_utc="2026-11-20T07:00:00+00:00",
)  # fmt: skip
REGISTRATION = Registration(
    hash=KEY.hash, recipe_hash=KEY.recipe_hash, dataset="mnist", protocol_version=1, on="my digits",
    on_sha256="ab" * 32, images=100, indices=(0, 1), declared_utc="",
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def declare_certificate(path: Path, key: RowKey, test_sketch: tuple[str, ...] = ()) -> Declaration:
    return ledger.declare_seeds(path, key, range(20), None, test_sketch, DATASETS["mnist"])


def write_old_attempts(path: Path, count: int) -> None:
    """Write attempts in the format of versions without alpha, commit and rules."""
    for number in range(1, count + 1):
        entry = asdict(replace(ATTEMPT, number=number))
        del entry["alpha"], entry["commit"], entry["rules"]
        files.append_line(path, json.dumps(entry))


def test_attempts_are_numbered_across_rows_and_selected_by_row(path: Path):
    first = ledger.declare_attempt(path, KEY, 0, 30)
    ledger.close(path, first, outcome=AttemptResult.FAILED, lower_bound_pct=None)
    ledger.declare_attempt(path, OTHER, 0, 30)
    third = ledger.declare_attempt(path, KEY, 30, 30)

    assert [attempt.number for attempt in ledger.read(path).attempts] == [1, 2, 3]
    assert [attempt.number for attempt in ledger.read(path).attempts if attempt.key == KEY] == [1, 3]
    assert ledger.read(path).open_attempt(KEY) == third


def test_attempts_with_equal_number_from_two_clones_both_count(tmp_path: Path):
    first_clone, second_clone, merged = (tmp_path / name for name in ("mine", "theirs", "merged"))
    for path, key in ((first_clone, KEY), (second_clone, OTHER)):
        attempt = ledger.declare_attempt(path, key, 0, 30)
        ledger.close(path, attempt, outcome=AttemptResult.FAILED, lower_bound_pct=None)
    merged.write_bytes(first_clone.read_bytes() + second_clone.read_bytes())

    attempts = [(attempt.number, attempt.hash, attempt.outcome) for attempt in ledger.read(merged).attempts]
    assert attempts == [(1, KEY.hash, AttemptResult.FAILED), (1, OTHER.hash, AttemptResult.FAILED)]
    assert ledger.declare_attempt(merged, KEY, 30, 30).number == 2


def test_failed_attempt_cannot_become_certified(path: Path):
    declared = ledger.declare_attempt(path, KEY, 0, 30)
    ledger.close(path, declared, outcome=AttemptResult.FAILED, lower_bound_pct=99.3)
    ledger.close(path, declared, outcome=AttemptResult.CERTIFIED, lower_bound_pct=99.5)

    damage: list[ContentError] = []
    assert [attempt.outcome for attempt in ledger.read(path, damage).attempts] == [AttemptResult.FAILED]
    assert len(damage) == 1


def test_concurrent_attempts_get_different_numbers(path: Path):
    # The lock belongs to an open file, so threads behave as processes.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: ledger.declare_attempt(path, KEY, 0, 30), range(12)))

    assert [attempt.number for attempt in ledger.read(path).attempts] == list(range(1, 13))


def test_damaged_line_is_skipped_and_reported_once(path: Path, capsys: pytest.CaptureFixture[str]):
    first, second = ledger.declare_attempt(path, KEY, 0, 30), ledger.declare_attempt(path, OTHER, 0, 30)
    ledger.close(path, first, outcome=AttemptResult.FAILED, lower_bound_pct=99.1)
    path.write_text(path.read_text(encoding="utf-8")[:-50], encoding="utf-8")

    damage: list[ContentError] = []
    assert ledger.read(path, damage).attempts == [first, second]
    assert [f"{path}, line 3: " in each.message for each in damage] == [True]
    assert ledger.read(path) == ledger.read(path)
    [warning] = capsys.readouterr().err.splitlines()
    assert f"{path}, line 3: " in warning


def test_damaged_line_counts_as_look_and_attempt_on_all_data_sets(path: Path):
    declare_certificate(path, KEY)
    alphas = ledger.next_look_alpha(path, "kmnist"), ledger.next_alpha(ledger.read(path).spending_entries, "kmnist")
    with path.open("a", encoding="utf-8") as file:
        file.write("{\n")

    entry = declare_certificate(path, KEY._replace(dataset="kmnist"))

    assert alphas == (0.02, 0.01)
    assert (entry.look_alpha, entry.alpha) == (0.016, 0.008)


# The probability of a false success -------------------------------------------------------------------------------


def test_each_attempt_spends_a_fifth_of_remaining_alpha(path: Path):
    alphas = [ledger.declare_attempt(path, key, 0, 30).alpha for key in (KEY, OTHER, KEY, OTHER, KEY)]

    assert alphas == [0.01, 0.008, 0.0064, 0.00512, 0.004096]
    assert [attempt.alpha for attempt in ledger.read(path).attempts] == alphas


def test_attempts_end_before_all_alpha_is_spent():
    attempts: list[Attempt] = []
    while alpha := ledger.next_alpha(attempts, "mnist"):
        attempts.append(replace(ATTEMPT, number=len(attempts) + 1, alpha=alpha))

    assert sum(attempt.alpha for attempt in attempts) < ledger.ALPHA
    assert len(attempts) > 50
    assert all(next_.alpha < attempt.alpha for attempt, next_ in itertools.pairwise(attempts[:50]))


@pytest.mark.parametrize(("old", "alpha"), [(1, 0.008), (2, 0.006), (4, 0.002)])
def test_attempts_without_alpha_count_one_per_cent(path: Path, old: int, alpha: float):
    write_old_attempts(path, old)

    assert [attempt.alpha for attempt in ledger.read(path).attempts] == [0.01] * old
    assert ledger.declare_attempt(path, KEY, 0, 30).alpha == alpha


@pytest.mark.parametrize(
    ("key", "alpha"),
    [
        (KEY, 0.008),
        (KEY._replace(hash="0" * 12, recipe_hash="1" * 12), 0.008),
        (KEY._replace(target_pct=99.4001), 0.008),
        (KEY._replace(dataset="kmnist"), 0.01),
    ],
)
def test_all_rows_of_a_data_set_share_alpha(path: Path, key: RowKey, alpha: float):
    ledger.declare_attempt(path, KEY, 0, 30)

    assert ledger.declare_attempt(path, key, 30, 30).alpha == alpha


# Sketches of two overlapping test parts.
A, B = tuple("abcd"), tuple("defg")


def test_looks_at_overlapping_test_images_share_alpha(path: Path):
    target = KEY._replace(target_pct=99.5)
    overlapping = KEY._replace(dataset="digits-1")
    disjoint = KEY._replace(dataset="digits-2")
    for key, test_sketch in ((KEY, A), (KEY, A), (target, A), (overlapping, B), (disjoint, ("x", "y"))):
        ledger.declare_seeds(path, key, [len(ledger.read(path).declarations)], test_sketch=test_sketch)

    # Further seeds of a row spend nothing; disjoint test images have a separate alpha.
    declarations = ledger.read(path).declarations
    assert [item.look_alpha for item in declarations] == pytest.approx([0.02, 0, 0.016, 0.0128, 0.02])
    assert ledger.read(path).look_alpha(target) == 0.016
    assert ledger.confidence_of_next_look(path, overlapping) == pytest.approx(1 - 0.2 * (0.1 - 0.0488))


def test_looks_spend_at_most_a_tenth(path: Path):
    def look(number: int) -> None:
        ledger.declare_seeds(path, KEY._replace(hash=f"{number:012d}"), [0])

    for number in range(30):
        look(number)
    assert sum(item.look_alpha or 0 for item in ledger.read(path).declarations) < ledger.LOOK_ALPHA

    for number in range(30, 400):
        if not ledger.next_look_alpha(path, "mnist"):
            break
        look(number)
    with pytest.raises(ContentError, match="test images of mnist"):
        look(400)


def test_look_without_alpha_counts_two_per_cent(path: Path):
    ledger.declare_seeds(path, KEY, [0])
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    entry = {name: value for name, value in lines[0].items() if name not in ("look_alpha", "test_sketch")}
    # Seven declarations of single seeds of a network count as a single look.
    path.write_text("".join(json.dumps(entry | {"indices": [seed]}) + "\n" for seed in range(7)), encoding="utf-8")

    assert ledger.read(path).look_alpha(KEY) == 0.02
    ledger.declare_seeds(path, OTHER, [0])
    assert ledger.read(path).look_alpha(OTHER) == 0.016


def test_attempt_counts_as_look(path: Path):
    ledger.declare_seeds(path, KEY, [0])
    ledger.declare_attempt(path, OTHER, 0, 20)

    assert ledger.read(path).look_alpha(OTHER) == 0.016
    assert ledger.confidence_of_next_look(path, OTHER) == pytest.approx(1 - 0.0128)


@pytest.mark.parametrize("look_alpha", [-0.01, 0.021, 0.9, 2])
def test_invalid_look_alpha_is_refused(path: Path, look_alpha: float):
    ledger.declare_seeds(path, KEY, [0])
    entry = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(entry | {"look_alpha": look_alpha}) + "\n", encoding="utf-8")

    damage: list[ContentError] = []
    assert ledger.read(path, damage).declarations == []
    assert "look_alpha" in damage[0].message


def test_certificates_of_overlapping_test_parts_share_alpha(path: Path):
    digits = KEY._replace(dataset="digits-1")
    alphas = [declare_certificate(path, key, A).alpha for key in (KEY, digits)]
    keys = [KEY._replace(dataset=name) for name in "xy"]
    alphas += [declare_certificate(path, key, B).alpha for key in keys]

    assert alphas == [0.01, 0.008, 0.0064, 0.00512]


# Registrations and declarations ------------------------------------------------------------------------------------


def test_registration_is_entered_once_and_ends_once(path: Path):
    registration = ledger.register(path, REGISTRATION)
    assert ledger.register(path, REGISTRATION) == registration
    ledger.close(path, registration, errors=(3, 4), lower_bound_pct=95.0)
    [entry] = ledger.read(path).registrations
    ledger.close(path, registration, errors=(0, 0), lower_bound_pct=100.0)

    assert ledger.read(path).registrations == [entry]
    assert (entry.errors, entry.lower_bound_pct, entry.lower_bound_images_pct) == ((3, 4), 95.0, None)
    assert ledger.register(path, REGISTRATION) == entry
    assert ledger.register(path, replace(REGISTRATION, on_sha256="cd" * 32)).errors == ()
    assert ledger.register(path, replace(REGISTRATION, indices=(0, 1, 2))).errors == ()
    assert len(path.read_text(encoding="utf-8").splitlines()) == 5


def test_is_declaration_accepts_only_declaring_line(path: Path):
    attempt = ledger.declare_attempt(path, KEY, 0, 30)
    ended_attempt = ledger.close(path, attempt, outcome=AttemptResult.FAILED, lower_bound_pct=99.3)
    declaration, end = path.read_text(encoding="utf-8").splitlines()

    assert attempt.is_declared_in(declaration)
    assert ended_attempt.is_declared_in(declaration)
    assert not attempt.is_declared_in(end)
    assert not replace(attempt, seeds=31).is_declared_in(declaration)
    assert not attempt.is_declared_in("no entry")
