"""From options to methods and to the task of a table: what is chosen, and what is refused; torn traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.comparison import TRACES, _read_traces, append_trace
from harness.bench.methods import ABLATIONS, MAIN, EntryPoint, Program
from harness.bench.scores import Answer, Trace
from harness.bench.setting import _source_sha256, check_whole, methods_of, table_task
from harness.bench.table import Sample, Table
from harness.system.errors import ContentError, UsageError
from search_spaces.notation import parse_network
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


@pytest.mark.parametrize("name", ["random", "both", "../x", "min"])
def test_a_name_that_leads_nowhere_or_to_two_places_is_refused(name: str):
    with pytest.raises(UsageError):
        methods_of([name], [], ablations=False)


def test_where_no_method_is_named_those_of_the_bench_are_meant():
    assert methods_of([], [], ablations=False) == tuple(MAIN.values())


@pytest.mark.parametrize(
    ("names", "before"), [([], list(MAIN)), (["tpe"], ["tpe", "default"]), (["default"], ["default"])]
)
def test_the_default_is_among_the_methods_where_its_parts_are_asked_for(names: list[str], before: list[str]):
    found = methods_of(names, [], ablations=True)

    assert [method.name for method in found] == [*before, *ABLATIONS]


# The task of a table ----------------------------------------------------------------------------------------

TABLE = made_up_table.table(made_up_table.TINY)
LARGEST = max(row.parameters for row in TABLE.rows)
GIVEN = {"budget": None, "seconds": None, "target": None, "workers": 2}


def test_what_may_be_proposed_is_listed_within_the_budget():
    rows = {row.architecture: row.parameters for row in TABLE.rows}
    budget = sorted(rows.values())[len(rows) // 2]

    listed = table_task(TABLE, GIVEN | {"budget": budget}).networks

    assert listed is not None
    assert set(listed) == {text for text, size in rows.items() if size <= budget} != set(rows)


def _sampled(*taken: tuple[int, int | None]) -> Table:
    """Return the table as if its networks had been chosen in so many bands, below a budget."""
    samples = tuple(Sample(seed=0, networks=8, bands=bands, budget=budget) for bands, budget in taken)
    return Table(replace(TABLE.facts, samples=samples), TABLE.rows)


@pytest.mark.parametrize(("taken", "budget"), [([(8, None)], None), ([(8, None), (0, 500)], None), ([(0, 500)], 501)])
def test_a_table_that_lacks_networks_of_the_budget_is_not_replayed(
    taken: list[tuple[int, int | None]], budget: int | None
):
    table = _sampled(*taken)

    with pytest.raises(ContentError):
        check_whole(table, table_task(table, GIVEN | {"budget": budget}))


@pytest.mark.parametrize(("taken", "budget"), [([(0, 500), (0, 400)], 500), ([(0, 500), (8, None), (0, None)], None)])
def test_a_table_that_has_all_networks_of_the_budget_is_replayed(
    taken: list[tuple[int, int | None]], budget: int | None
):
    table = _sampled(*taken)

    check_whole(table, table_task(table, GIVEN | {"budget": budget}))


def timed(factor: float) -> Table:
    """Return the table with other seconds."""
    return Table(TABLE.facts, tuple(replace(row, seconds=factor * row.seconds) for row in TABLE.rows))


def test_trainings_of_a_moment_have_a_time_too():
    wholes = [row.seconds for row in TABLE.rows if row.rung == 8]

    # An eighth of eight networks on two workers.
    assert table_task(timed(1e-3), GIVEN).seconds == pytest.approx(1e-3 * sum(wholes) / len(wholes) / 2)
    assert table_task(timed(1.0), GIVEN).seconds == round(sum(wholes) / len(wholes) / 2, 1)


def test_trainings_of_no_time_are_told_to_be_given_one():
    with pytest.raises(ContentError, match="the trainings of the table 'made-up' took no time") as caught:
        table_task(timed(0.0), GIVEN)

    assert caught.value.hint == "give --time"
    assert table_task(timed(0.0), GIVEN | {"seconds": 9.0}).seconds == 9.0


def test_a_method_is_another_where_the_files_change_that_its_command_names(tmp_path: Path):
    script, other = tmp_path / "mine.py", tmp_path / "other.py"
    script.write_text("1")
    mine = Program(name="mine", command=("python3", str(script)))
    before = _source_sha256(mine)

    other.write_text("2")
    assert _source_sha256(mine) == before
    script.write_text("2")
    assert _source_sha256(mine) != before
    assert _source_sha256(MAIN["random"]) is None


def trace(repeat: int) -> Trace:
    answers = (
        Answer(seconds=1.0, hash="a", architecture=parse_network("gap linear(10)"), parameters=9),
        Answer(seconds=2.0, hash="b", architecture=parse_network("gap linear(10)"), parameters=8),
    )
    return Trace(method="random", repeat=repeat, seed=1, answers=answers, networks=2, runs=3, rejected=0, ended=5.0)


def test_a_line_torn_at_the_brace_of_an_answer_is_passed_over(tmp_path: Path):
    append_trace(tmp_path, trace(0))
    append_trace(tmp_path, trace(1))
    path = tmp_path / TRACES
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("}]") + 1])

    assert _read_traces(tmp_path) == [trace(0)]


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", ".x", "-x", " x", "a\nb"])
def test_the_name_of_a_program_cannot_lead_out_of_a_folder(name: str):
    with pytest.raises(UsageError, match="a name has letters"):
        methods_of(["tpe"], [f"{name}=python3 mine.py"], ablations=False)
