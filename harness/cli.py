"""The command ``harness``: one Click group, one place that turns errors into a line and an exit code."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from harness.system.errors import (
    DISTRIBUTION,
    DeviceError,
    HarnessError,
    UsageError,
    reason,
    refused_memory,
    refused_storage,
    typed,
)
from harness.system.terminal import printable_json
from search_spaces.errors import SearchSpaceError, UnknownNameError, caret, nearest

INTERRUPTED = 130
# What a shell reports for a program that SIGPIPE has ended.
OUTPUT_CLOSED = 141
# The variable by which a shell asks for completions.
COMPLETION = "_HARNESS_COMPLETE"
_CONTENT = 4
# In the order of the help. A command is what its file in harness/commands is called.
COMMANDS = (
    "search",
    "train",
    "verify",
    "evaluate",
    "explain",
    "spaces",
    "leaderboard",
    "report",
    "export",
    "bench",
    "toy",
    "data",
    "doctor",
    "completion",
)


class _Group(click.Group):
    """A group that imports a command when it is asked for, and suggests the nearest one for an unknown one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"harness.commands.{cmd_name}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = nearest(args[0], COMMANDS) if args else None
            raise click.UsageError(f"{error.message.rstrip('.')}; {hint}" if hint else error.message, ctx) from error


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
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
        click.echo(_greeting())


def _greeting() -> str:
    first = (
        ("leaderboard", "the smallest networks found so far"),
        ("evaluate eab8ff", "check the best one on the test images, in seconds"),
        ("search --budget 20000", "find one yourself; add --plan to see what it would do"),
    )
    commands = [(typed(*command.split()), words) for command, words in first]
    width = max(len(command) for command, _ in commands)
    lines = [f"  {command:<{width}}  {words}" for command, words in commands]
    return "\n".join(
        ["How few numbers does it take to read handwritten digits?", "", *lines, "", f"All commands: {typed('--help')}"]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code; SIGTERM ends it as Ctrl-C does."""
    _open_closed_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _interrupt_again
    given = list(sys.argv[1:] if arguments is None else arguments)
    _write_whole()
    try:
        code = run(given)
        _leave_at_once_if_interrupted(code)
    except KeyboardInterrupt:
        # One more, while the first was being told.
        code = INTERRUPTED
    except BrokenPipeError:
        code = OUTPUT_CLOSED
        _discard_output()
    except OSError as error:
        code = UsageError.exit_code
        with suppress(OSError):  # Where errors cannot be shown either, the exit code is all that is left.
            click.echo(f"harness: cannot write the output: {reason(error)}", err=True)
        _discard_output()
    _forget_interrupts()
    sys.exit(code)


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt once more where an interrupt came in a callback, such as a weak reference's: Python drops it there."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        # From another thread, as the callback has not ended yet.
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(lost)


def _forget_interrupts() -> None:
    """Let Python leave with the exit code that it is given.

    An interrupt that ends a string of code under execution (the class of a dataclass is made by one) is remembered even
    where it is caught later, and Python then ends itself by SIGINT. The next string of code clears that memory
    (``run_eval_code_obj`` in CPython's Python/pythonrun.c).
    """
    exec("")


def _leave_at_once_if_interrupted(code: int) -> None:
    """Let an interrupt that comes while the program leaves change nothing of its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(code))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are one line, or one JSON document with ``--json``.

    Raises:
        OSError: the output, or an error, cannot be shown.
    """
    as_json = "--json" in arguments
    try:
        code = cli.main(args=arguments, prog_name=typed(), complete_var=COMPLETION, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        message = _in_words(error.format_message())
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else typed()
        return _fail(as_json, 2, "usage", message, hint=f"see '{where} --help'")
    except HarnessError as error:
        return _fail(as_json, error.exit_code, error.kind, error.message, error.position, error.hint, error.text)
    except UnknownNameError as error:
        return _fail(as_json, UsageError.exit_code, UsageError.kind, error.message, hint=error.hint)
    except SearchSpaceError as error:
        return _fail(as_json, _CONTENT, "content", error.message, error.position, error.hint, error.text)
    except (KeyboardInterrupt, click.Abort):
        return _fail(as_json, INTERRUPTED, "interrupted", "interrupted")
    except SystemExit as end:
        return _code_of(end)
    except Exception as error:
        if isinstance(error, OSError) and _met_while_showing(error):
            raise
        return _unforeseen(as_json, error)


def _in_words(message: str) -> str:
    """Return what Click says in one line without its end, with words that people use."""
    message = " ".join(message.split()).rstrip(".")
    message = re.sub(r"\ba valid integer( range)?", "a whole number", message)
    return re.sub(r"\ba valid float( range)?", "a number", message)


def _code_of(end: SystemExit) -> int:
    """Return the exit code where click ends the program by itself."""
    # It answers a shell that completes; or the reader of the output has gone: 'harness leaderboard | head'.
    return int(end.code or 0) if COMPLETION in os.environ else OUTPUT_CLOSED


def _unforeseen(as_json: bool, error: Exception) -> int:
    """Show an error that nobody has put into words, and return its exit code."""
    if (refused := refused_memory(error)) is not None:
        hint = "where a recipe is trained, a smaller batch_size takes less"
        return _fail(as_json, DeviceError.exit_code, DeviceError.kind, refused, hint=hint)
    if (full := refused_storage(error)) is not None:
        return _fail(as_json, full.exit_code, full.kind, full.message)
    # A fault of the program: its trace is for those who mend it.
    traceback.print_exc()
    return _fail(as_json, 1, "internal", f"{type(error).__name__}: {error}") if as_json else 1


def _open_closed_streams() -> None:
    """Put the null device in the place of streams that were closed when the program began; Python has None there."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # The lowest free number, which is that of the stream.
            handle = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(handle, True)
            setattr(sys, name, os.fdopen(handle, "r" if name == "stdin" else "w", encoding="utf-8"))


def _write_whole() -> None:
    """Make stdout take any text, whole.

    A mark that its encoding lacks becomes a question mark on a terminal, and its number in a file. An unbuffered stdout
    gets a buffer: a write that is taken in part would lose the rest unnoticed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace" if sys.stdout.isatty() else "backslashreplace")
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.RawIOBase):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stdout.encoding, sys.stdout.errors, write_through=True
        )


def _met_while_showing(error: OSError) -> bool:
    """Whether it was click.echo, through which all output goes, that the system refused."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].f_code is click.echo.__code__


def _discard_output() -> None:
    """Let what is still in the buffers go nowhere; it would fail again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(null, stream.fileno())


def _fail(
    as_json: bool,
    code: int,
    kind: str,
    message: str,
    position: int | None = None,
    hint: str | None = None,
    text: str | None = None,
) -> int:
    if as_json:
        error: dict[str, Any] = {
            "code": code,
            "kind": kind,
            "message": message,
            "position": position,
            "hint": hint,
        }
        click.echo(printable_json({"error": error}))
        return code
    click.echo(f"harness: {message}" + (f" ({hint})" if hint else ""), err=True)
    if position is not None and text and text.strip():
        click.echo(caret(text, position), err=True)
    return code
