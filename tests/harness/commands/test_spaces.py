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
from search_spaces.errors import DrawError, NotationError, UnknownNameError
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


def test_sample_prints_a_line_a_network():
    lines = run("sample", "tiny", "--count", "3").splitlines()
    assert len(lines) == 3
    digest, parameters, text = lines[0].split(maxsplit=2)
    assert parse_network(text).hash == digest
    assert int(parameters.replace(",", "")) <= 5000


def test_sample_of_an_impossible_budget_says_why():
    with pytest.raises(DrawError, match=r"^none of 10,000 networks drawn from 'card' was accepted; rejected for "):
        run("sample", "card", "--budget", "1")


def test_count_is_exact_for_small_spaces(tmp_path: Path):
    file = tmp_path / "small.space"
    file.write_text("net = conv3x3({4, 8}) bn? gap linear(10); where parameters <= 100", encoding="utf-8")
    said = run("count", f"@{file}")
    assert lacking(said, "small: 4 configurations", "accepted: 2 of 4", "rejected: 2 of 4, for their parameters") == []
    assert lacking(said, "conv3x3(8) gap linear(10)", "parameters is 162") == []
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
    text = run("count", "seeds", "--samples", "100")
    assert " configurations\naccepted: " in text
    assert "with 95 % confidence" in text
    assert "of 100 drawn at random" in text
    document = run_json("count", "card", "--samples", "200", "--seed", "3")
    assert document["feasible"]["exact"] is False
    assert 0 < document["feasible"]["low"] < document["feasible"]["high"] < document["derivations"]


def test_check_accepts_a_file_that_is_a_space(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linear(10)", encoding="utf-8")
    assert run("check", str(file)).startswith("mine is a search space: 2 configurations, hash ")
    assert run_json("check", f"@{file}")["derivations"] == 2


def test_check_accepts_a_name_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert run_json("check", "posed")["derivations"] == 3360
    (tmp_path / "posed").write_text("net = bn? linear(10)", encoding="utf-8")
    assert run_json("check", "posed")["derivations"] == 2


def checked(file: Path) -> tuple[str, str]:
    """Return what the check of a space prints, and what it warns of."""
    found = CliRunner().invoke(spaces, ["check", str(file)], catch_exceptions=False, standalone_mode=False)
    return found.stdout, found.stderr


def test_check_says_how_many_networks_keep_the_conditions(tmp_path: Path):
    file = tmp_path / "mine.space"
    # The head alone has 7,850 parameters; bn of the one channel of an image adds 2.
    file.write_text("net = bn? linear(10); where parameters <= 7850;", encoding="utf-8")

    said = run("check", str(file))
    assert lacking(said, "accepted: 1 of 2 ", "bn linear(10)", "parameters is 7,852") == []
    assert run_json("check", str(file))["feasible"]["accepted"] == 1


def test_check_refuses_a_small_space_that_holds_no_network(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linear(10); where parameters <= 50;", encoding="utf-8")

    with pytest.raises(ContentError, match=r"mine: none of its 2 configurations .*parameters <= 50"):
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


def test_check_refuses_a_file_that_is_none(tmp_path: Path):
    file = tmp_path / "mine.space"
    file.write_text("net = bn? linaer(10)", encoding="utf-8")
    with pytest.raises(NotationError) as caught:
        run("check", str(file))
    assert (caught.value.position, caught.value.hint) == (10, "did you mean 'linear'?")
    assert caught.value.text == "net = bn? linaer(10)"


@pytest.mark.parametrize("command", ["show", "sample", "count", "check"])
def test_an_unknown_space_is_named(command: str):
    with pytest.raises(UnknownNameError) as caught:
        run(command, "crad")
    assert (
        caught.value.message
        == "unknown search space 'crad'; known are all, card, tiny, tied, posed, seeds, bench, forms, and @FILE"
    )
    assert caught.value.hint == "did you mean 'card'?"


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"^cannot read the search space .*: No such file or directory$"):
        run("check", str(tmp_path / "none.space"))


def test_help_needs_no_parser():
    import subprocess
    import sys

    script = (
        "import sys; from click.testing import CliRunner; from harness.commands.spaces import spaces;"
        "CliRunner().invoke(spaces, ['--help']); sys.exit('lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
