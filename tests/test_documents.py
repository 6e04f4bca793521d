"""README and docs: all commands parse, quick commands print the documented output, figures equal the records."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest

from harness.cli import cli, run
from harness.evidence import ledger, record
from harness.evidence.bounds import certifying_confidence, image_effects
from harness.evidence.leaderboard_table import LeaderboardRow, read
from harness.publication.consistency import faults
from harness.spaces.catalog import network_names
from harness.spaces.network import MNIST, analyse
from harness.studies.standing import Standing
from harness.system.files import Workspace
from tests.conftest import REPOSITORY

# Commands that take less than a second, and whose output depends on the code only.
QUICK = {"explain", "spaces"}
PAGES = (
    REPOSITORY / "README.md",
    *(path for name in ("docs", "examples") for path in sorted((REPOSITORY / name).rglob("*.md"))),
)
README, RESULTS = (
    (REPOSITORY / name).read_text(encoding="utf-8") for name in ("README.md", "docs/evidence/results.md")
)
ROWS = [row for row in read(REPOSITORY / "leaderboard.csv") if row.dataset == "mnist"]


@cache
def all_records() -> list[record.Record]:
    return record.read_all(REPOSITORY / "records")


def harness_commands(*pages: Path) -> list[tuple[list[str], str]]:
    """Return the arguments and the documented output of each call of the program; the output may be empty."""
    calls = []
    for page in pages:
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                line, _, output = part.partition("\n")
                words = shlex.split(line, comments=True)
                if words and words[0] in ("./scripts/harness", "harness"):
                    calls.append((words[1:], output))
    return calls


CALLS = harness_commands(*PAGES)


@pytest.mark.parametrize("words", [words for words, _ in CALLS], ids=" ".join)
def test_documented_command_parses(words: list[str]) -> None:
    command: click.Command = cli
    rest = words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        known = command.get_command(click.Context(command), rest[0])
        assert known is not None, f"{rest[0]} is not a command"
        command, rest = known, rest[1:]
    command.make_parser(click.Context(command, **cli.context_settings)).parse_args(list(rest))


@pytest.mark.parametrize(
    ("words", "output"),
    [pytest.param(words, output, id=" ".join(words)) for words, output in CALLS if words[0] in QUICK and output],
)
def test_quick_command_prints_documented_output(
    words: list[str], output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("HARNESS_WORKSPACE", str(REPOSITORY))
    assert run(words) == 0
    assert capsys.readouterr().out == output


def cells(text: str, head: str) -> list[list[str]]:
    lines = text.partition(head)[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def smallest_by_target() -> list[LeaderboardRow]:
    proven = [row for row in ROWS if row.tier in (Standing.CERTIFIED, Standing.VERIFIED)]
    targets = sorted({row.target_pct for row in proven})
    return [min((row for row in proven if row.target_pct == each), key=lambda row: row.parameters) for each in targets]


def headline() -> tuple[LeaderboardRow, record.Record]:
    certified = [row for row in ROWS if row.tier is Standing.CERTIFIED and row.target_pct == 99.4]
    row = min(certified, key=lambda row: row.parameters)
    key = (row.hash, row.recipe_hash, row.target_pct)
    [evidence] = [each for each in all_records() if (each.hash, each.recipe_hash, each.target_pct) == key]
    return row, evidence


def test_readme_table_equals_leaderboard() -> None:
    rows = [row for row in smallest_by_target() if row.target_pct != 99.2]  # five of the six targets
    names = network_names((row.architecture, row.parameters) for row in rows)
    assert cells(README, "| target |") == [
        [
            f"{row.target_pct:g} %",
            f"{row.parameters:,}",
            f"{row.mean_test_accuracy_pct:.3f} ± {row.std_test_accuracy_pct:.3f}",
            f"{row.seeds_at_target} of {row.seeds}",
            str(row.tier),
            f"`{names[row.hash]}` (`{row.hash[:6]}`)",
        ]
        for row in rows
    ]


def test_results_table_equals_leaderboard() -> None:
    assert cells(RESULTS, "| target | learned |") == [
        [
            f"{row.target_pct:g} %",
            f"{row.parameters:,}",
            f"{row.stored_numbers:,}",
            str(row.tier),
            f"{row.mean_test_accuracy_pct:.3f}",
            f"{row.std_test_accuracy_pct:.3f}",
            f"{row.lower_bound_pct:.3f}",
            f"{100 * (row.confidence or 0):g}",
            f"{row.lower_bound_images_pct:.3f}",
            str(row.seeds),
            f"`{row.hash[:6]}`",
        ]
        for row in smallest_by_target()
    ]


def test_figures_of_certified_network_equal_record() -> None:
    row, evidence = headline()
    parts = image_effects([[image for image, _ in run.wrong] for run in evidence.seeds], 10_000)
    assert parts is not None
    assert [value for _, value in cells(RESULTS, f"| `{row.hash[:6]}`, recipe `{row.recipe}` |")] == [
        f"{row.parameters:,}; {row.stored_numbers:,}",
        f"{row.mean_test_accuracy_pct:.3f}",
        f"{row.std_test_accuracy_pct:.3f}",
        f"{row.min_test_accuracy_pct:.2f}",
        f"{sum(run.accuracy_pct >= 99.4 - 1e-9 for run in evidence.seeds)} of {len(evidence.seeds)}",
        f"{row.lower_bound_pct:.3f}",
        f"{row.lower_bound_images_pct:.3f}",
        f"{parts.seeds_error_pct:.3f}; {parts.images_error_pct:.3f}",
    ]
    for figure in (f"{row.parameters:,}", f"{row.hash[:6]}"):
        assert figure in README


def test_documented_numbers_of_stored_weights_are_correct() -> None:
    stored_runs = [
        (run, record.read_recorded(REPOSITORY / "records", evidence, index).sha256)
        for evidence in all_records()
        for index in evidence.kept_indices(REPOSITORY / "records")
        if (run := evidence.seed(index))
    ]
    matches = sum(run.weights_sha256 == sha for run, sha in stored_runs)
    assert f"{len(stored_runs)} of {sum(len(each.seeds) for each in all_records())} recorded runs" in RESULTS
    assert f"{matches} have the recorded bits" in RESULTS
    assert len(headline()[1].kept_indices(REPOSITORY / "records")) == 20


def test_documented_number_of_calibrated_scales_equals_weights() -> None:
    [evidence] = [each for each in all_records() if each.hash.startswith("561d35")]
    records = REPOSITORY / "records"
    arrays = record.read_recorded(records, evidence, evidence.kept_indices(records)[0]).arrays
    scales = analyse(evidence.architecture, MNIST).plan.sizes["calibrated_scales"]
    assert scales == len(arrays["map_scales"])
    numbers = sum(array.size for array in arrays.values())
    assert f"{scales} for `561d35`, whose file of weights has {numbers} numbers" in RESULTS


def test_table_of_certifications_equals_ledger() -> None:
    attempts = ledger.read(REPOSITORY / "records" / "ledger.jsonl").attempts
    parameters = {row.hash: f"{row.parameters:,}" for row in ROWS}
    assert cells(RESULTS, "| no. |") == [
        [
            str(attempt.number),
            f"`{attempt.hash[:6]}`",
            parameters[attempt.hash],
            f"{attempt.target_pct:g} %",
            str(attempt.seeds),
            f"{100 * attempt.confidence:g}",
            "none" if attempt.lower_bound_pct is None else f"{attempt.lower_bound_pct:.3f}",
            str(attempt.outcome),
        ]
        for attempt in attempts
    ]
    assert f"{100 * certifying_confidence(ledger.next_alpha(attempts, 'mnist')):g} % confidence" in RESULTS


def test_leaderboard_columns_are_documented_in_order() -> None:
    table = RESULTS.partition("## The columns of leaderboard.csv")[2]
    assert re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE) == [item.name for item in fields(LeaderboardRow)]


def test_records_have_leaderboard_rows_and_evidence_is_consistent() -> None:
    keys = {(row.hash, row.recipe_hash, row.dataset, row.target_pct) for row in read(REPOSITORY / "leaderboard.csv")}
    assert {(each.hash, each.recipe_hash, each.dataset, each.target_pct) for each in all_records()} <= keys
    assert faults(Workspace(REPOSITORY)) == []


def first_comment(script: Path) -> str:
    """Return the first line of a script of findings/, and the paragraph of versions in italics."""
    lines = [line.removeprefix("#").strip() for line in script.read_text(encoding="utf-8").splitlines()[1:]]
    start = next(number for number, line in enumerate(lines) if line.startswith("Versions: "))
    end = next(number for number in range(start, len(lines)) if lines[number].endswith("."))
    versions = " ".join(lines[start : end + 1]).removeprefix("Versions: ")
    return f"{lines[0]} *{versions}*"


def test_index_of_findings_has_the_first_comment_of_each_script() -> None:
    folder = REPOSITORY / "findings"
    lines = [line for line in (folder / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("- ")]
    assert sorted(lines) == [
        f"- [{path.stem}]({path.name}): {first_comment(path)}" for path in sorted(folder.glob("*.sh"))
    ]


def test_documented_speeds_equal_measurements() -> None:
    document = json.loads((REPOSITORY / "measurements" / "results" / "throughput.json").read_text(encoding="utf-8"))
    page = (REPOSITORY / "docs" / "evidence" / "measurements.md").read_text(encoding="utf-8")
    assert [row[1:] for row in cells(page, "| training, images a second")] == [
        [
            f"{row['harness_native']:,}",
            f"{row['harness_torch']:,}",
            f"{row['seed_style']:,}",
            f"{row['ratio']:.1f} ({row['ratio_least']:.1f} to {row['ratio_most']:.1f})",
            f"{row['ratio_to_torch']:.1f}",
        ]
        for row in document["rows"]
    ]


def test_page_of_commands_equals_help() -> None:
    """If this fails, run ``python scripts/write_commands.py``."""
    # In a separate process, because click caches the help option of a command at the first use.
    program = "import runpy; print(runpy.run_path('scripts/write_commands.py')['page'](), end='')"
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert (REPOSITORY / "docs" / "use" / "commands.md").read_text(encoding="utf-8") == run.stdout
