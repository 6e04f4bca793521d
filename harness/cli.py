"""The command ``harness``: one Click group, one place that turns errors into a line and an exit code."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click

from harness.system.errors import DISTRIBUTION, ContentError, HarnessError, Interrupted, UsageError, refused, typed
from harness.system.terminal import say, write
from search_spaces.errors import SearchSpaceError, UnknownNameError, caret

_INTERRUPTED = 130
# What a shell reports for a program that SIGPIPE has ended.
_OUTPUT_CLOSED = 141
# The variable by which a shell asks for completions.
_COMPLETION = "_HARNESS_COMPLETE"
# In the order of the help; each is a file in harness/commands.
_COMMANDS = (
    "search", "quote", "train", "verify", "evaluate", "check", "explain", "spaces", "leaderboard", "report", "studies",
    "export", "bench", "toy", "data", "doctor", "completion",
)  # fmt: skip


class _Group(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"harness.commands.{cmd_name}"), cmd_name)
        return command


@click.group(
    cls=_Group,
    # What a slip is compared with.
    commands=dict.fromkeys(_COMMANDS),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
    invoke_without_command=True,
)
@click.version_option(package_name=DISTRIBUTION, prog_name="harness")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Search for the smallest convolutional network that reaches a target accuracy, and test it on fresh seeds.

    \b
    harness search --budget 20000        search, verify and rank
    harness explain seed4                what a network costs, op by op
    harness verify seed4 --seeds 5       train it again on fresh seeds, read the test set

    Exit codes: 0 done, 1 internal fault, 2 usage or output not writable, 3 target or verification missed,
    4 content invalid, 5 data missing or damaged, 6 device, 130 interrupted, 141 output closed by its reader.
    """
    if ctx.invoked_subcommand is None:
        first = {
            typed("leaderboard"): "the smallest networks found so far",
            typed("evaluate", "eab8ff"): "check the best one on the test images, in seconds",
            typed("search", "--budget", "20000"): "find one yourself; add --plan to see what it would do",
        }
        width = max(map(len, first))
        lines = "\n".join(f"  {command:<{width}}  {words}" for command, words in first.items())
        question = "How few parameters does it take to read handwritten digits?"
        click.echo(f"{question}\n\n{lines}\n\nAll commands: {typed('--help')}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code; SIGTERM ends it as Ctrl-C does."""
    for name in ("stdin", "stdout", "stderr"):
        # Python has None in the place of a stream that was closed when the program began.
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(handle, True)
            setattr(sys, name, os.fdopen(handle, "r" if name == "stdin" else "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A mark that the encoding lacks becomes a question mark on a terminal, and its number in a file.
        sys.stdout.reconfigure(errors="replace" if sys.stdout.isatty() else "backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        code = _OUTPUT_CLOSED
    except OSError:  # Where errors cannot be shown either, the exit code is all that is left.
        code = UsageError.exit_code
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # What is still in the buffer would fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are a line and a hint, or one document with ``--json``."""
    as_json = "--json" in arguments
    try:
        code = cli.main(args=arguments, prog_name=typed(), complete_var=_COMPLETION, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        write(error.format_message(), err=True)
        return 2
    except SystemExit as end:
        # Click ends a program by itself that answers a shell, or whose output nobody reads.
        return int(end.code or 0) if _COMPLETION in os.environ else _OUTPUT_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        if (refusal := _told(error)) is not None:
            return _fail(as_json, refusal)
        # A fault of the program: its trace is for those who mend it.
        traceback.print_exc()
        return _fail(True, HarnessError(f"{type(error).__name__}: {error}")) if as_json else 1


def _told(error: BaseException) -> HarnessError | None:
    """Return an error as one of ours, with its exit code; None for a fault of the program."""
    match error:
        case HarnessError():
            return error
        case click.Abort() | KeyboardInterrupt():
            return Interrupted("interrupted")
        case click.ClickException():
            message = " ".join(error.format_message().split()).rstrip(".")
            where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else typed()
            words = message.replace("a valid integer range", "a whole number").replace(
                "a valid float range", "a number"
            )
            return UsageError(words, hint=f"see '{where} --help'")
        case UnknownNameError():
            return UsageError(error.message, hint=error.hint)
        case SearchSpaceError():
            return ContentError(error.message, position=error.position, hint=error.hint, text=error.text)
    return refused(error)


def _fail(as_json: bool, error: HarnessError) -> int:
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
