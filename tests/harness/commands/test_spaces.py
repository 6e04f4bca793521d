from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.commands.spaces import spaces
from harness.system.errors import ContentError
from search_spaces.catalog import SPACES, space
from search_spaces.draw import ByConfigurations, judge, replay
from search_spaces.notation import parse_network
from tests.wording import lacking


def run(*arguments: str) -> str:
    """The command's stdout; errors are raised, as the group ``harness`` wants them."""
    return CliRunner().invoke(spaces, list(arguments), catch_exceptions=False, standalone_mode=False).stdout


def run_json(*arguments: str) -> dict[str, Any]:
    output = run(*arguments, "--json")
    document: dict[str, Any] = json.loads(output)
    assert output.count("\n") == 1
    return document


def test_list_names_every_space_the_default_first():
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == list(SPACES)
    assert "63,218,880 configurations" in lines[list(SPACES).index("card")]
    assert "e42 configurations" in lines[list(SPACES).index("seeds")]
    found = run_json("list")["spaces"]
    assert [facts["name"] for facts in found] == list(SPACES)
    assert set(found[0]) == {"name", "hash", "derivations", "conditions", "unused", "description"}
    conditions = {facts["name"]: facts["conditions"] for facts in found}
    assert conditions["card"] == ["parameters <= 20000", "receptive_field >= 20"]


def test_show_prints_the_text_as_it_is():
    assert run("show", "tiny") == space("tiny").text
    assert run_json("show", "tiny")["text"] == space("tiny").text


def test_sample_draws_accepted_networks_and_repeats_with_its_seed():
    document = run_json("sample", "card", "--count", "4", "--seed", "7", "--budget", "6000")
    assert (document["space"], document["seed"], document["budget"]) == ("card", 7, 6000)
    assert len(document["networks"]) == 4
    for network in document["networks"]:
        parsed = parse_network(network["architecture"])
        assert parsed.hash == network["hash"]
        assert judge(space("card"), parsed).accepted
        again = replay(space("card"), network["decisions"], ByConfigurations(random.Random(0)))
        assert again.architecture == parsed
        assert network["parameters"] <= 6000
        assert network["receptive_field"] >= 20
        assert network["decisions"]["norm"] in (0, 1)
    assert run_json("sample", "card", "--count", "4", "--seed", "7", "--budget", "6000") == document


def test_count_is_exact_for_small_spaces(tmp_path: Path):
    file = tmp_path / "small.space"
    file.write_text("net = conv3x3({4, 8}) bn? gap linear(10); where parameters <= 100", encoding="utf-8")
    said = run("count", f"@{file}")
    assert lacking(said, "4 configurations", "accepted: 2 of 4", "rejected: 2", "conv3x3(8) gap linear(10)") == []
    feasible = run_json("count", f"@{file}", "--budget", "90")["feasible"]
    assert [(each["reason"], each["times"]) for each in feasible.pop("rejected")] == [("parameters", 3)]
    assert feasible == {
        "low": 1,
        "high": 1,
        "derivations": 4,
        "exact": True,
        "looked_at": 4,
        "accepted": 1,
        "confidence": 1.0,
        "median_macs": 28 * 28 * 9 * 4 + 40,
        # The maps of the convolution and of gap, and the outputs.
        "median_numbers": 28 * 28 * 4 + 4 + 10,
        "median_parameters": 9 * 4 + 50,
    }


def test_count_is_an_interval_for_large_spaces():
    assert lacking(run("count", "seeds", "--samples", "100"), "of 100 drawn at random", "95 % confidence") == []
    document = run_json("count", "card", "--samples", "200", "--seed", "3")
    assert document["feasible"]["exact"] is False
    assert 0 < document["feasible"]["low"] < document["feasible"]["high"] < document["derivations"]


def test_check_accepts_a_name_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert run_json("check", "posed")["derivations"] == 3360
    (tmp_path / "posed").write_text("net = bn? linear(10)", encoding="utf-8")
    assert run_json("check", "posed")["derivations"] == 2


def checked(file: Path) -> tuple[str, str]:
    """Return what the check of a space prints, and what it warns of."""
    found = CliRunner().invoke(spaces, ["check", str(file)], catch_exceptions=False, standalone_mode=False)
    return found.stdout, found.stderr


def test_check_refuses_a_small_space_that_holds_no_network(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linear(10); where parameters <= 50;", encoding="utf-8")

    with pytest.raises(ContentError):
        run("check", str(file))


def test_check_warns_where_no_draw_of_a_large_space_keeps_the_conditions(tmp_path: Path):
    file = tmp_path / "mine.space"
    net = "net = conv3x3(4..90) bn? | conv3x3(4..90) | gap | linear(10)"
    file.write_text(f"{net}; where parameters <= 50;", encoding="utf-8")

    printed, warned = checked(file)

    assert lacking(warned, "warning: none of 2,000 configurations", "parameters <= 50") == []
    assert printed.startswith("mine is a search space: ")


def test_check_names_what_net_does_not_use(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("old = bn; w = {4, 8}; let v = {1, 2}; net = conv3x3(w) gap linear(10)", encoding="utf-8")

    assert lacking(checked(file)[1], "'net' does not use 'old'", "'net' does not use 'v'") == []
    assert run_json("check", str(file))["unused"] == ["old", "v"]
