"""The command ``harness``: the Click group, and the conversion of errors to a message and an exit code."""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from itertools import chain

import click

from harness.spaces.space_errors import SearchSpaceError, UnknownNameError, caret, reason
from harness.system import doors
from harness.system.doors import Door
from harness.system.errors import DISTRIBUTION, ContentError, HarnessError, Interrupted, UsageError, as_command, refused
from harness.system.interruption import INTERRUPTED
from harness.system.terminal import say, write

_OUTPUT_CLOSED = 141  # exit code of a program ended by SIGPIPE, as in a shell
_COMPLETION = "_HARNESS_COMPLETE"  # environment variable with which a shell requests completions
# Entry points add commands to the last section.
_FURTHER = "Further"
_SECTIONS = {
    "Search": ("search", "quote", "report", "studies"),
    "Networks": ("explain", "train", "verify", "evaluate", "export"),
    "Data": ("data", "spaces"),
    "Evidence": ("leaderboard", "check"),
    _FURTHER: ("doctor", "completion"),
}
_COMMANDS = tuple(chain.from_iterable(_SECTIONS.values()))
_SYNONYMS = {"--accuracy": "--target", "--parameters": "--budget", "--params": "--budget"}


class _CommandGroup(click.Group):
    """A group that imports the module of a command on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(doors.names(Door.COMMANDS) - set(_COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: click.Command
        if cmd_name in _COMMANDS:
            command = getattr(import_module(f"harness.commands.{cmd_name}"), cmd_name)
            return command
        if cmd_name not in doors.names(Door.COMMANDS):
            # Names that Click suggests for a misspelt command.
            self.commands = dict.fromkeys(self.list_commands(ctx))  # type: ignore[assignment]
            return None
        try:
            command = doors.feature(Door.COMMANDS, cmd_name, f"the command {cmd_name}")
        except HarnessError as error:
            return _broken_command(cmd_name, error)
        if not isinstance(command, click.Command):
            return _broken_command(cmd_name, UsageError(f"the command {cmd_name} is no click command"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, click.Command]]] = {title: [] for title in _SECTIONS}
        title_of_name = {name: title for title, names in _SECTIONS.items() for name in names}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                sections[title_of_name.get(name, _FURTHER)].append((name, command))
        widest = max(len(name) for commands in sections.values() for name, _ in commands)
        limit = formatter.width - 6 - widest
        for title, commands in sections.items():
            with formatter.section(title):
                # Padded names align the sections.
                formatter.write_dl([(f"{name:<{widest}}", each.get_short_help_str(limit)) for name, each in commands])


def _broken_command(name: str, error: HarnessError) -> click.Command:
    """Return a command that reports the error of an import, so that all other commands and the help work."""

    def report(**arguments: object) -> None:
        raise error

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, settings, report, short_help=error.message, add_help_option=False)


@click.group(
    cls=_CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
    invoke_without_command=True,
)
@click.version_option(package_name=DISTRIBUTION, prog_name="harness")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Search for the smallest convolutional network that reaches a target accuracy, and test it on fresh seeds.

    \b
    harness search --budget 20000        search, verify and rank
    harness explain seed4                print the cost of a network, op by op
    harness verify seed4 --seeds 5       train the network on five seeds, and test each seed once

    Exit codes: 0 done, 1 internal fault, 2 usage or output not writable, 3 target or verification missed,
    4 content invalid, 5 data missing or damaged, 6 device, 130 interrupted, 141 output closed by its reader.
    """
    if ctx.invoked_subcommand is None:
        suggestions = {
            as_command("leaderboard"): "list the smallest networks found so far",
            as_command("evaluate", "eab8ff"): "test the best network on the test images, in seconds",
            as_command("search", "--budget", "20000"): "search for a network; --plan prints the plan only",
        }
        width = max(map(len, suggestions))
        lines = "\n".join(f"  {command:<{width}}  {effect}" for command, effect in suggestions.items())
        question = "How few parameters are enough to classify handwritten digits?"
        click.echo(f"{question}\n\n{lines}\n\nAll commands: {as_command('--help')}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the exit code."""
    for name in ("stdin", "stdout", "stderr"):
        # Python sets a stream to None if the file descriptor was closed at start.
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(handle, True)  # as the standard streams of child processes must be
            setattr(sys, name, os.fdopen(handle, "r" if name == "stdin" else "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters missing in the encoding become question marks on a terminal, and escape sequences in a file.
        sys.stdout.reconfigure(errors="replace" if sys.stdout.isatty() else "backslashreplace")
    try:
        code = run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = _OUTPUT_CLOSED
    except OSError as error:  # the error document cannot be written
        code = UsageError.exit_code
        with suppress(OSError):  # without stderr, only the exit code reports the error
            say(f"cannot write the output: {reason(error)}", "error")
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Python flushes the buffer again at exit, which must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line and return the exit code; errors are printed as text, or as JSON with ``--json``."""
    as_json = "--json" in arguments
    try:
        code = cli.main(args=arguments, prog_name=as_command(), complete_var=_COMPLETION, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        write(error.format_message(), err=True)
        return UsageError.exit_code
    except SystemExit as end:
        # Click exits by itself after shell completion, or if the reader of the output has closed the pipe.
        return int(end.code or 0) if _COMPLETION in os.environ else _OUTPUT_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        reported_error = _as_harness_error(error)
        if reported_error is None:
            traceback.print_exc()
            if not as_json:
                return HarnessError.exit_code
            reported_error = HarnessError(f"{type(error).__name__}: {error}")
        return _report(reported_error, as_json=as_json)


def _as_harness_error(error: BaseException) -> HarnessError | None:
    match error:
        case HarnessError():
            return error
        case click.Abort() | KeyboardInterrupt():
            return Interrupted("interrupted")
        case click.ClickException():
            message = " ".join(error.format_message().split()).rstrip(".")
            # click says that a text "is not a valid integer range".
            message = message.replace("a valid integer range", "a whole number")
            message = message.replace("a valid float range", "a number")
            context = getattr(error, "ctx", None)
            command = context.command_path if context else as_command()
            options = {name for item in context.command.params for name in item.opts} if context else set[str]()
            similar_names = get_close_matches(getattr(error, "option_name", ""), _SYNONYMS, n=1, cutoff=0.75)
            synonym = _SYNONYMS.get("".join(similar_names))
            hint = f"did you mean '{synonym}'?" if synonym in options else f"see '{command} --help'"
            return UsageError(message, hint=hint)
        case UnknownNameError():
            return UsageError(error.message, hint=error.hint)
        case SearchSpaceError():
            return ContentError(error.message, position=error.position, hint=error.hint, text=error.text)
    return refused(error)


def _report(error: HarnessError, *, as_json: bool) -> int:
    if as_json:
        document = {"code": error.exit_code, "kind": error.kind, "message": error.message}
        click.echo(json.dumps({"error": document | {"position": error.position, "hint": error.hint}}))
        return error.exit_code
    say(error.message, "error")
    if error.position is not None and error.text and error.text.strip():
        write(caret(error.text, error.position), err=True)
    if error.hint:
        say(error.hint, "hint")
    return error.exit_code
