from __future__ import annotations

import re
from typing import Any

import pytest

from harness.evidence import record
from harness.system.files import Workspace
from reports.comparison.comparison_networks import network_comparison, read_networks
from reports.comparison.comparison_page import read_studies
from reports.extracts import _MOST_NETWORKS, code, networks_summary, sentence, studies_summary, study_summary
from reports.study.study_files import read_study
from reports.study.study_info import study_info
from search_spaces.catalog import PRESETS
from search_spaces.notation import parse_network


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of each table, as GitHub parts them: at bars that no backslash stands before."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_the_summary_says_what_won_and_how_to_check_it(realistic_study: Any, place: Workspace):
    info = study_info(read_study(realistic_study.folder, place))

    text = study_summary(info)

    assert info.answer is not None
    assert text.startswith(
        f"### Reached: `{realistic_study.name}`\n\nReached: network plain-3127 {info.answer.hash[:6]} with "
    )
    facts, networks = tables(text)
    values = dict(facts[2:])
    assert values["network"] == f"`{info.answer.hash}`"
    assert values["tier"] == "verified"
    # Errors 55, 58, 52, 61, 57, 54: deviation 3.189; 99.43833 - 3.36493 (t of 0.99, 5 degrees) * 0.03189 / sqrt(6).
    assert values["mean test accuracy"].startswith("99.438 \u00b1 0.032 % over 6 seeds, 99 % lower bound 99.395 %")
    assert len(networks) == 2 + _MOST_NETWORKS
    assert f"```console\nharness search --budget 20000\nharness verify {info.answer.hash} --seeds 6\n```" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_head(realistic_study: Any, new_study: Any, place: Workspace):
    other = new_study(name="a | b \\| c").write()
    texts = [
        study_summary(study_info(read_study(realistic_study.folder, place))),
        studies_summary(read_studies([realistic_study.folder, other], place)),
    ]
    for text in texts:
        for table in tables(text):
            assert {len(row) for row in table} == {len(table[0])}


def test_a_study_of_which_nothing_is_known_has_a_summary(new_study: Any, place: Workspace):
    text = study_summary(study_info(read_study(new_study().folder, place)))

    assert text.startswith("### No result yet: ")
    assert "| parameters | \u2013 |" in text
    assert "console" not in text


def test_a_comparison_of_networks_has_ratios(place: Workspace, synthetic: Any):
    network = synthetic.network(4, 6, 8)
    record.write(place.records, synthetic.evidence(network, [60, 61]))
    named = [("seed4", parse_network(PRESETS["seed4"].text)), ("", network)]

    text = networks_summary(network_comparison(read_networks(named, place)))

    [table] = tables(text)
    assert table[0] == ["", "`seed4`", "`plain-1880`"]
    [parameters] = [row for row in table if row[0] == "parameters"]
    assert re.fullmatch(r"[\d,]+ \(\u00d70\.\d+\)", parameters[2])
    # Outside a table a bar is a bar.
    assert f"- `plain-1880`: `{network}`" in text


def test_a_comparison_of_studies_names_what_was_set_differently(realistic_study: Any, new_study: Any, place: Workspace):
    other = new_study(name="other").write()

    text = studies_summary(read_studies([realistic_study.folder, other], place))

    assert f"- `{realistic_study.name}`: Reached: network " in text
    assert "- `other`: No result yet: " in text
    assert text.endswith("finds another network.\n")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("a``b`", "``` a``b` ```"),
        ("two\nlines\t\x00here", "`two lines here`"),
        ("x" * 400, f"`{'x' * 300}\u2026`"),
        ("", "\u2013"),
        ("\udcff", "\u2013"),
        ("@user #1 <b>", "`@user #1 <b>`"),
    ],
)
def test_foreign_words_stand_in_a_code_span(words: str, shown: str):
    assert code(words) == shown


@pytest.mark.parametrize("words", ["<script>", "*bold*", "_x_", "[a](http://b)", "# head", "`x`", "a\nb", "~~x~~"])
def test_markup_in_a_sentence_is_text(words: str):
    shown = sentence(words)

    assert not re.search(r"(?<!\\)[<*_\[\]`#~]|\n", shown)
    assert re.sub(r"\\(.)", r"\1", shown) == words.replace("\n", " ")


def test_nobody_is_called_by_a_sentence():
    assert sentence("mail @somebody") == "mail &#64;somebody"
