"""From options to methods: which names there are, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.method import MAIN, EntryPoint
from harness.bench.setting import methods_of, table_task
from harness.errors import UsageError
from tests.harness.bench import made_up_table


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packages with entry points, as pip would leave them."""
    points = {
        "first": dict.fromkeys(("mine", "both", "agreed", "random", "../x"), "first:begin"),
        "second": {"both": "second:begin", "agreed": "first:begin"},
    }
    for package, begins in points.items():
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {begin}\n" for name, begin in begins.items())
        (info / "entry_points.txt").write_text(f"[harness.bench]\n{lines}")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("name", ["mine", "agreed"])
def test_an_installed_method_is_found_by_its_name(name: str):
    assert methods_of([name], [], ablations=False) == (EntryPoint(name=name),)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random", "method 'random' is ambiguous: it comes from the bench itself and from first:begin"),
        ("both", "method 'both' is ambiguous: it comes from first:begin and from second:begin"),
        ("../x", r"method '../x' of first:begin: a name has letters, digits, dots, - and _, a letter or digit first"),
        ("min", "unknown method 'min'; known are random, tpe, .*, mine"),
    ],
)
def test_a_name_that_leads_nowhere_or_to_two_places_is_refused(name: str, message: str):
    with pytest.raises(UsageError, match=f"^{message}"):
        methods_of([name], [], ablations=False)


def test_where_no_method_is_named_those_of_the_bench_are_meant():
    assert methods_of([], [], ablations=False) == tuple(MAIN.values())


def test_what_may_be_proposed_is_listed_within_the_budget():
    table = made_up_table.table(made_up_table.TINY)
    rows = {row.architecture: row.parameters for row in table.rows}
    budget = sorted(rows.values())[len(rows) // 2]
    given = {"budget": budget, "seconds": 9.0, "target": 97.0, "workers": 1}

    listed = table_task(table, given).networks

    assert listed is not None
    assert set(listed) == {text for text, size in rows.items() if size <= budget} != set(rows)
