"""The fingerprint of a search's defaults: what code does counts, what is written about it does not."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from benchmarks.search_defaults import BESIDES, code_hash, defaults, differences, sources
from harness.commands.search import search

CODE = '''"""A module."""

import math


def area(radius: float, *, exact: bool = True) -> float:
    """Return an area."""
    return math.pi * radius**2 if exact else 3 * radius * radius


class Circle:
    """A circle."""

    radius = None
    """Its radius."""
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another word for it."""'),
        ('    """Return an area."""\n', ""),
        ('    """Its radius."""\n', ""),
        ("import math", "import math  # for pi"),
        ("radius: float, *, exact: bool = True", "radius: float,\n    *,\n    exact: bool = True,\n"),
        ("3 * radius * radius", "(3 * radius) * radius"),
    ],
)
def test_what_is_written_about_code_is_no_part_of_its_hash(old: str, new: str):
    assert old in CODE

    assert code_hash(CODE.replace(old, new)) == code_hash(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("3 *", "4 *"),
        ("3 *", "3.0 *"),
        ("3 * radius * radius", "3 * (radius * radius)"),
        ("radius**2 if exact", "radius**2 if not exact"),
        ("exact: bool = True", "exact: bool = False"),
        ("*, exact", "exact"),
        ("radius = None", "radius = 'None'"),
        ("radius = None", "diameter = None"),
        ("import math", "import cmath as math"),
    ],
)
def test_what_code_does_is_part_of_its_hash(old: str, new: str):
    assert old in CODE

    assert code_hash(CODE.replace(old, new)) != code_hash(CODE)


def test_the_hash_is_the_same_under_every_python():
    # Taken with Python 3.11, 3.12 and 3.13, whose trees of such a format differ.
    assert code_hash('text = f"{name:<{width}} {share:.{digits}f}"\n').startswith("9a1bb7e73ecf")


def test_sources_are_the_search_with_its_data_and_the_offsets(tmp_path: Path):
    for name in ("search/race.py", "search/priors/forms.json", "evidence/verify.py", *BESIDES):
        path = tmp_path / name if name in BESIDES else tmp_path / "harness" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("[1]\n")
    (tmp_path / "harness" / "search" / "__pycache__").mkdir()
    (tmp_path / "harness" / "search" / "__pycache__" / "race.pyc").write_bytes(b"compiled")

    before = sources(tmp_path)
    (tmp_path / "harness" / "search" / "race.py").write_text("[1]  # as it was\n")
    (tmp_path / "harness" / "search" / "priors" / "forms.json").write_text("[2]\n")

    assert list(before) == sorted([*BESIDES, "harness/search/priors/forms.json", "harness/search/race.py"])
    assert {"search_spaces/draw.py", "harness/evidence/error-ratios.json"} < set(BESIDES)
    assert [line.partition(":")[0] for line in differences(before, sources(tmp_path))] == [
        "harness/search/priors/forms.json"
    ]


def test_the_defaults_are_plain_and_those_of_the_command():
    found = defaults()

    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["options"]["budget"], found["options"]["target"]) == (20_000, None)
    # 99.4 % and 0.850 test errors for each on validation.
    assert found["threshold_pct"] == pytest.approx(99.2944, abs=0.0006)
    assert "harness/search/race.py" in found["sources"]
    assert not found["options"].keys() & {"name", "plan_only", "as_json", "folder", "seed"}


def test_a_new_option_of_the_command_is_another_configuration(monkeypatch: pytest.MonkeyPatch):
    before = defaults()
    manner = click.Option(["--manner"], default="careful")
    open_ended = click.Option(["--depth"], type=int)
    flag = click.Option(["--bold"], is_flag=True)
    monkeypatch.setattr(search, "params", [*search.params, manner, flag, open_ended])

    assert list(differences(before, defaults())) == [
        "options.bold: 'not there' then, False now",
        "options.depth: 'not there' then, None now",
        "options.manner: 'not there' then, 'careful' now",
    ]
