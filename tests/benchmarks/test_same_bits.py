"""Tests of the comparison of two checkouts bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import same_bits
from tests.benchmarks.made_up import ask


def test_the_same_code_gives_the_same_digests_and_other_images_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(same_bits, "STEPS", 2)
    first, again = same_bits.digests(), same_bits.digests()

    trainings = {name for name in first if " recipe " in name}
    assert first == again
    assert len(trainings) == 3 * 2 * 2
    assert len({first[name] for name in trainings}) == 12
    assert {name.split()[-1] for name in trainings} == {"native", "torch"}

    real = same_bits.some_images
    monkeypatch.setattr(same_bits, "some_images", lambda count: real(count + 1))
    other = same_bits.digests()
    assert all(other[name] != first[name] for name in trainings)


@pytest.mark.parametrize(
    ("theirs", "code", "last"),
    [
        ({"a": "1", "b": "2"}, 0, ["a: 1", "b: 2", "all equal"]),
        ({"a": "1", "b": "3"}, 1, ["a: 1", "b: 2, but there 3", "1 differ"]),
        ({"a": "1"}, 1, ["a: 1", "b: 2, but there nothing", "1 differ"]),
    ],
)
def test_a_difference_is_named_and_ends_with_one(
    theirs: dict[str, str],
    code: int,
    last: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    answers = {same_bits.ROOT: {"a": "1", "b": "2"}, tmp_path.resolve(): theirs}
    monkeypatch.setattr(same_bits, "_asked", answers.__getitem__)

    with pytest.raises(SystemExit) as left:
        ask(monkeypatch, same_bits.main, str(tmp_path))

    assert left.value.code == code
    assert capsys.readouterr().out.splitlines() == last
