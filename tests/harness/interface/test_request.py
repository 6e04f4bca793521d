"""A field of ``SearchRequest`` defines an option of the command, an argument of the function, completion and help."""

# The annotations of a request are evaluated, so this module does not import ``annotations`` from ``__future__``.
import inspect
from dataclasses import dataclass
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from harness.interface import options
from harness.searching.request import SearchRequest
from harness.system.errors import UsageError
from harness.system.option import Group, Option, options_of


@dataclass(frozen=True, kw_only=True)
class Coloured(SearchRequest):
    """A request with a further option."""

    colour: Option[str | int, str] = Option(
        "red",
        "Colour of the networks.",
        click.Choice(["red", "1"]),
        group=Group.METHOD,
        known_values=lambda: ["red", "rosy"],
        source_key="paint",
    )


def test_request_field_defines_option_argument_completion_and_help():
    @options.takes_request(Coloured)
    def painted(request: Coloured) -> str:
        """Return the colour.

        Raises:
            UsageError: An argument is invalid.
        """
        return request.colour

    @click.command(cls=options.Grouped)
    @options.of(painted)
    def paint(as_json: bool, **arguments: Any) -> None:
        click.echo(painted(**arguments))

    assert (painted(), painted(colour=1)) == ("red", "1")
    with pytest.raises(UsageError, match="colour: "):
        painted(colour="blue")
    parameter = inspect.signature(painted).parameters["colour"]
    assert (parameter.default, parameter.annotation, parameter.kind) == ("red", str | int, parameter.KEYWORD_ONLY)
    assert "    colour: Colour of the networks.\n" in inspect.cleandoc(painted.__doc__ or "")
    assert Coloured(colour=1).sources[options_of(Coloured)["colour"]] == "call"
    assert options_of(Coloured)["colour"].source_key == "paint"

    run = CliRunner().invoke(paint, ["--colour", "1"])
    assert (run.exit_code, run.stdout) == (0, "1\n")
    assert CliRunner().invoke(paint, ["--colour", "blue"]).exit_code == 2
    # docs/use/commands.md contains this text.
    method = paint.get_help(click.Context(paint)).partition("\nMethod:")[2].partition("\nEffort:")[0]
    assert "--colour [red|1]" in method
    completed = ShellComplete(paint, {}, "paint", "_PAINT_COMPLETE").get_completions(["--colour"], "ro")
    assert [item.value for item in completed] == ["rosy"]
