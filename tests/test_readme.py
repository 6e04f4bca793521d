"""Every command of README and docs is one that the program understands; quick ones print what is shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from harness.cli import cli, run
from harness.evidence import record
from harness.evidence.leaderboard_csv import LeaderboardRow, Tier, read
from search_spaces.network_name import network_names

ROOT = Path(__file__).resolve().parent.parent
# Commands that answer at once and depend on nothing but the code.
QUICK = {"explain", "spaces"}
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return (command line, output shown) of every console block; an empty output where none is shown."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


def harness_commands(*pages: Path) -> list[tuple[list[str], str]]:
    """Return the arguments and the output of every call of the program."""
    calls = []
    for line, output in (found for page in pages for found in blocks(page)):
        words = shlex.split(line, comments=True)
        if words and words[0] in ("./scripts/harness", "harness"):
            calls.append((words[1:], output))
    return calls


def test_the_readme_shows_the_main_commands() -> None:
    shown = {words[0] for words, _ in harness_commands(ROOT / "README.md")}

    assert {"search", "verify", "evaluate", "explain", "spaces", "leaderboard"} <= shown


@pytest.mark.parametrize("words", [words for words, _ in harness_commands(*PAGES)], ids=" ".join)
def test_every_command_shown_is_understood(words: list[str]) -> None:
    command: click.Command = cli
    rest = words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        known = command.get_command(click.Context(command), rest[0])
        assert known is not None, f"{rest[0]} is not a command"
        command, rest = known, rest[1:]

    command.make_parser(click.Context(command)).parse_args(list(rest))


@pytest.mark.parametrize(
    ("words", "output"),
    [
        pytest.param(words, output, id=" ".join(words))
        for words, output in harness_commands(*PAGES)
        if words[0] in QUICK and output
    ],
)
def test_quick_commands_print_what_is_shown(
    words: list[str], output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HARNESS_WORKSPACE", str(ROOT))

    assert run(words) == 0

    printed = capsys.readouterr().out
    if output.rstrip().endswith("..."):
        assert printed.startswith(output.rstrip().removesuffix("..."))
    else:
        assert printed == output


def test_the_smallest_networks_shown_are_those_of_the_leaderboard() -> None:
    """A line for each target and tier, the smallest network that reaches it, unless a certified one is smaller."""
    smallest: dict[tuple[float, str], LeaderboardRow] = {}
    for row in read(ROOT / "leaderboard.csv"):
        key = (row.target_pct, row.tier.value)
        if row.tier in (Tier.CERTIFIED, Tier.VERIFIED) and row.reached and row.dataset == "mnist":
            smallest[key] = min(smallest.get(key, row), row, key=lambda each: each.parameters)
    for target in {target for target, _ in smallest}:
        proven, seen = smallest.get((target, Tier.CERTIFIED.value)), smallest.get((target, Tier.VERIFIED.value))
        if proven and seen and proven.parameters <= seen.parameters:
            del smallest[target, Tier.VERIFIED.value]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("| target | errors allowed |")[2].partition("\n\n")[0]
    names = network_names((row.architecture, row.parameters) for row in smallest.values())
    weights = ROOT / "records" / "weights"

    def kept(row: LeaderboardRow) -> int:
        return len(list((weights / f"{row.hash}-{row.recipe_hash}-{row.dataset}").glob("*.safetensors")))

    assert table.splitlines()[2:] == [
        f"| {target:g} % | {10_000 - 100 * target:.0f} | {row.parameters:,} "
        f"| {10_000 - 100 * (row.mean_test_accuracy_pct or 0):.1f} | {100 * (row.std_test_accuracy_pct or 0):.1f} "
        f"| {row.seeds_at_target} of {row.seeds} | {kept(row)} of {row.seeds} "
        f"| {tier} | `{names[row.hash]}` (`{row.hash[:6]}`) |"
        for (target, tier), row in sorted(smallest.items(), key=lambda item: (item[0][0], item[1].parameters))
    ]


def test_every_record_has_its_row() -> None:
    """An attempt that missed stays on the leaderboard too."""
    rows = {(row.hash, row.recipe_hash, row.dataset, row.target_pct) for row in read(ROOT / "leaderboard.csv")}

    for evidence in record.read_all(ROOT / "records"):
        assert (evidence.hash, evidence.recipe_hash, evidence.dataset, evidence.target_pct) in rows


def test_the_speeds_shown_are_those_that_were_measured() -> None:
    speeds = json.loads((ROOT / "benchmarks" / "results" / "throughput.json").read_text(encoding="utf-8"))
    ratios = {row["network"]: f"{row['ratio']:.1f} times" for row in speeds["rows"]}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"trained `seed4` {ratios['seed4']}, " in text
    assert f"the network of 1,462 parameters {ratios['1,462 parameters, in poses']}, " in text
    assert f"a plain network of 1,502 parameters {ratios['1,502 parameters']} as fast as" in text
    over_torch = {row["network"]: f"{row['ratio_to_torch']:.1f}" for row in speeds["rows"]}
    shown = [over_torch[name] for name in ("seed4", "1,462 parameters, in poses", "1,502 parameters")]
    assert "slower than its engine by factors of {}, {} and {}".format(*shown) in text
    assert f"medians of {['no', 'one', 'two', 'three', 'four', 'five'][speeds['rounds']]} rounds" in text
    assert f"{speeds['machine']['processor']} with AVX-512" in text
