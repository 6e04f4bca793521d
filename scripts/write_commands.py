"""Write docs/commands.md: the help of every command, as the program prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "commands.md"
HEAD = """# Commands

The help of every command (`scripts/write_commands.py` writes this page). `harness` is `./scripts/harness`, or the
program of the virtual environment (`.venv/bin/harness`). A network is given as

- a preset: `seed0` to `seed4` (the five networks with which this project began), `anchor3762` (the smallest published
  claim of 99.4 % that we know of), `anchor3702` (the same without the biases that its BN layers undo),
- a hash or a name of the leaderboard: `eab8ff`, `posed-1462`,
- the [notation](grammar.md), in quotes,
- `@FILE`, or `-` for stdin.

Results go to stdout, progress to stderr. `--json` prints exactly one JSON document, also if the command fails. Records,
weights and leaderboard come with the program; what is run is kept below `runs/`, and tables of recorded trainings below
`benchmarks/tables/`, in the folder that `HARNESS_WORKSPACE` names, or else in the current one.
"""


def helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield the path and the help of a command and of those below it."""
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from helps(below, click.Context(below, info_name=name, parent=context, terminal_width=100))


def page() -> str:
    """Return the page."""
    # This checkout's commands, also where another one is installed.
    sys.path.insert(0, str(REPOSITORY))
    from harness.cli import cli

    root = click.Context(cli, info_name="harness", **cli.context_settings | {"terminal_width": 100})
    parts = [f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in helps(cli, root)]
    return HEAD + "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
