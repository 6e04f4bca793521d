"""Search methods that the bench compares: built-in methods and user-defined methods.

All methods run in the loop of ``harness search``. Built-in methods differ in the sampler, in the enabled parts of the
search, and in the decisions at rungs. User-defined methods propose networks and optionally decide at rungs: programs
with a JSON lines protocol (``measurements/methods/README.md``), or Python functions, each run in a subprocess per
repeat.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from harness.bench import METHODS
from harness.bench.comparison import DEFAULT, MethodEntry, SearchTask
from harness.searching import scheduler
from harness.searching.external_method import EXCERPT, Ask, Asker, Problem, Rung, Stop, TriedNetwork, cite, functions_of
from harness.searching.optuna_sampler import SAMPLERS
from harness.searching.proposer import ALL_ON, Switches
from harness.spaces.space import SearchSpace
from harness.spaces.space_errors import nearest
from harness.studies.candidate import SURROGATE
from harness.system.document import parse_json
from harness.system.errors import ContentError, UsageError, reason
from harness.system.machine import process_group

# None, the rule of a search (``scheduler.at_rung``), or successive halving.
Pruning = Enum("Pruning", "NONE SEARCH HALVING")

_BARE = Switches(ladder=False, surrogate=False, falling_budget=False, repeats=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Search method.

    Attributes:
        says: Description for the report.
        uses_transfer: Whether the surrogate model starts with observations on different data sets.
        is_variant: Whether the method is the default with a single change.
        command: Words of the program of a user-defined method; else empty.
        function: Function of a user-defined method, ``module:name``; else empty.
    """

    name: str
    says: str
    sampler: str = "random"
    switches: Switches = _BARE
    uses_transfer: bool = False
    pruning: Pruning = Pruning.NONE
    is_variant: bool = False
    command: tuple[str, ...] = ()
    function: str = ""

    def rungs(self, validated_epochs: tuple[int, ...]) -> tuple[int, ...]:
        """Return the epochs after which a built-in method prunes."""
        if self.pruning is Pruning.SEARCH:
            return scheduler.rungs(validated_epochs[-1])
        return validated_epochs[:-1] if self.pruning is Pruning.HALVING else ()

    def entry(self, task: SearchTask) -> MethodEntry:
        """Return the entry of the method in a comparison.

        ``source_sha256`` covers the files named in the command, or the module of the function, but no imported files.

        Raises:
            ContentError: The method needs an epoch at which the table has no accuracies.
        """
        if missing_rungs := sorted({*self.rungs(task.study.rungs)} - {*task.study.rungs}):
            raise ContentError(f"method {self.name!r} prunes after epoch {missing_rungs[0]}, which is not in the table")
        entry = MethodEntry(name=self.name, says=self.says, is_variant=self.is_variant, command=self.command)
        files: list[str | None] = []
        if self.command:
            files = [shutil.which(self.command[0]), *self.command[1:]]
        if self.function and (spec := find_spec(self.function.partition(":")[0])):
            files = [spec.origin]
        if not files:
            return entry
        source = hashlib.sha256()
        for path in (Path(file) for file in files if file is not None):
            # Arguments that are no readable files are skipped.
            with suppress(OSError):
                source.update(path.name.encode(errors="replace") + path.read_bytes())
        return replace(entry, source_sha256=source.hexdigest())


def _built_in(name: str) -> Method:
    method = Method(name=name, says=METHODS[name])
    if name == DEFAULT:
        method = replace(method, sampler=SURROGATE, switches=ALL_ON)
        return replace(method, uses_transfer=True, pruning=Pruning.SEARCH)
    if name == "halving":
        return replace(method, pruning=Pruning.HALVING)
    sampler, dash, _ = name.partition("-aided")
    if dash:
        return replace(method, sampler=sampler, switches=replace(_BARE, falling_budget=True), pruning=Pruning.SEARCH)
    return replace(method, sampler=sampler)


_DEFAULT_METHOD = _built_in(DEFAULT)


def _variant(name: str, says: str, **changes: bool) -> Method:
    switches = replace(ALL_ON, **changes)
    return replace(_DEFAULT_METHOD, name=name, says=f"the default, but {says}", switches=switches, is_variant=True)


_MAIN = tuple(map(_built_in, METHODS))
# The default with a single part changed.
_ABLATIONS = (
    replace(_variant("no-rungs", "every run is trained completely"), pruning=Pruning.NONE),
    _variant("no-falling-budget", "sizes above the incumbent are also proposed", falling_budget=False),
    _variant("no-confirmation", "the first run of a network confirms the network", confirmation=False),
    replace(_variant("no-prior", "without prior"), uses_transfer=False),
    replace(_variant("no-ladder", "without prior and without ladder of sizes", ladder=False), uses_transfer=False),
    _variant("no-aim", "networks after the ladder are uniform draws, not chosen by the surrogate", surrogate=False),
    *(
        replace(_variant(f"with-{sampler}", f"{sampler} alternates with the surrogate"), sampler=sampler)
        for sampler in SAMPLERS
        if sampler != SURROGATE
    ),
)
_BUILT_IN: Mapping[str, Method] = {method.name: method for method in (*_MAIN, *_ABLATIONS)}


def methods_of(names: Sequence[str], programs: Sequence[str], *, ablations: bool) -> tuple[Method, ...]:
    """Return the requested methods.

    Args:
        names: Built-in methods, or functions as ``module:name``; empty for all built-in methods but variants.
        programs: User-defined methods as ``NAME=COMMAND``.
        ablations: Whether to add the default and all variants.

    Raises:
        UsageError: A name is unknown or repeated, or a program is not ``NAME=COMMAND``.
    """
    methods = [_BUILT_IN.get(name) or _function(name) for name in names] or list(_MAIN)
    methods += [_program(text) for text in programs]
    if ablations:
        methods += [method for method in (_DEFAULT_METHOD, *_ABLATIONS) if method not in methods]
    for name, count in Counter(method.name for method in methods).items():
        if count > 1:
            raise UsageError(f"method {name!r} is given twice; names must be unique")
    if _DEFAULT_METHOD not in methods:
        # Without the default, a variant counts as a normal method.
        methods = [replace(method, is_variant=False) for method in methods]
    return tuple(methods)


def _function(name: str) -> Method:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if re.fullmatch(r"[\w.]+:\w+", name):
        with suppress(ImportError):
            if find_spec(name.partition(":")[0]) is not None:
                return Method(name=name, says="user-defined Python function", function=name)
    names = f"known are {', '.join(_BUILT_IN)}, or a function as MODULE:NAME"
    raise UsageError(f"unknown method {name!r}; {names}", hint=nearest(name, _BUILT_IN))


def _program(text: str) -> Method:
    name, _, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        words = ()
    # Live runs delete a folder of this name, so the name must not contain a slash.
    if not re.fullmatch(r"[^\W_][\w.-]*", name) or not words or name in _BUILT_IN:
        raise UsageError(f"program {text!r} must be NAME=COMMAND, with a new NAME of letters, digits, dots, - and _")
    return Method(name=name, says="user-defined program", command=words)


# User-defined methods ---------------------------------------------------------------------------------------

_MAX_ANSWER = 1 << 20  # bytes, far more than any network text
# Code of the subprocess that runs a function, with the ``sys.path`` of the bench.
_HOST = "import sys; name, *sys.path = sys.argv[1:]; from harness.bench.methods import _host; _host(name)"


_REQUIRED = {"network": (str, '{"network": "..."}'), "stop": (bool, '{"stop": true} or {"stop": false}')}


@dataclass(frozen=True, slots=True)
class _Program:
    """Running program of a user-defined method.

    Attributes:
        name: Method and repeat, for error messages.
        seconds: Time limit for an answer.
    """

    name: str
    process: subprocess.Popen[bytes]
    group: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    seconds: float

    def answer_to(self, *questions: Mapping[str, Any], key: str) -> dict[str, Any]:
        """Send questions, and return the answer to the last, with the required field ``key``.

        Raises:
            ContentError: The answer is late, missing or invalid.
        """
        kind, example = _REQUIRED[key]
        began = time.monotonic()
        line = self._exchange(questions)
        if not line:
            raise ContentError(f"{self.name} {self._silence_text(time.monotonic() - began)}")
        with suppress(ValueError, TypeError, KeyError):
            document = parse_json(line)
            if isinstance(document[key], kind):
                return dict(document)
        text = cite(line[: 4 * EXCERPT].decode("utf-8", "replace"))
        raise ContentError(f"{self.name} answered {text}, but {example} is required")

    def _exchange(self, questions: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the next line of output, empty if the program has ended or is late."""
        # Killing a late program closes the output, which ends the ``readline`` below.
        timer = threading.Timer(self.seconds, self._kill)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                self.stdin.write("".join(f"{json.dumps(question)}\n" for question in questions).encode())
                self.stdin.flush()
                return self.stdout.readline(_MAX_ANSWER)
        finally:
            timer.cancel()
        return b""

    def _silence_text(self, elapsed_seconds: float) -> str:
        is_late = elapsed_seconds >= self.seconds
        message = f"gave no answer in {self.seconds:g} s" if is_late else "ended without an answer"
        self.stderr.seek(max(0, self.stderr.seek(0, os.SEEK_END) - 4096))
        last_line = self.stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        if last_line:
            message += f"; last line of stderr: {last_line[: 2 * EXCERPT]}"
        return message

    def _kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)

    def close(self) -> None:
        self._kill()
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError):
                pipe.close()
        self.process.wait()


@contextmanager
def asking(method: Method, repeat: int, space: SearchSpace, problem: Problem, seconds: float) -> Iterator[Asker | None]:
    """Start the program of a user-defined method, and kill its process group on exit.

    The first question is sent immediately. The block receives a proposer that asks the program, or None for a built-in
    method, which has no program.

    Args:
        seconds: Time limit for an answer.

    Raises:
        ContentError: The program cannot be started. In the block: an answer is late, missing or invalid.
    """
    if not (method.command or method.function):
        yield None
        return
    name = f"method {method.name!r}, repeat {repeat},"
    command = method.command or (sys.executable, "-c", _HOST, method.function, *sys.path)
    with tempfile.TemporaryFile() as stderr, process_group() as group:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, process_group=group
            )
        except (OSError, ValueError) as error:
            raise ContentError(f"{name} cannot be started: {reason(error)}: {command[0]}") from error
        assert process.stdin is not None
        assert process.stdout is not None
        with closing(_Program(name, process, group, process.stdin, process.stdout, stderr, seconds)) as program:

            def ask(trials: Sequence[TriedNetwork]) -> str:
                question = {"tried": [asdict(trial) for trial in trials]}
                answer = unread_answers.pop() if unread_answers else program.answer_to(question, key="network")
                return str(answer["network"])

            def stop(rung: Rung) -> bool:
                return bool(program.answer_to({"rung": asdict(rung)}, key="stop")["stop"])

            # The first answer states whether the method judges rungs.
            first_answer = program.answer_to({"begin": asdict(problem)}, {"tried": []}, key="network")
            unread_answers = [first_answer]
            judges_rungs = first_answer.get("judges_rungs") is True
            yield Asker(name.removesuffix(","), space, problem, ask, stop if judges_rungs else None)


def _host(name: str) -> None:
    """Answer questions with the function ``module:name`` until the input ends; exceptions are not caught."""
    # Keep the pipes away from the function: the output goes to stderr, the input is empty.
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    module, _, function = name.partition(":")
    begin: Callable[[Problem], Ask | tuple[Ask, Stop]] = getattr(importlib.import_module(module), function)
    problem = json.loads(questions.readline())["begin"]
    # JSON turns the tuples of the problem into lists.
    tuples = {key: tuple(value) for key, value in problem.items() if isinstance(value, list)}
    ask, stop = functions_of(begin(Problem(**problem | tuples)))
    for line in questions:
        question = json.loads(line)
        if stop is not None and "rung" in question:
            document: dict[str, Any] = {"stop": stop(Rung(**question["rung"]))}
        else:
            trials = [trial | {"fresh_pct": tuple(trial["fresh_pct"])} for trial in question["tried"]]
            network = ask(tuple(TriedNetwork(**trial) for trial in trials))
            document = {"network": network, "judges_rungs": stop is not None}
        print(json.dumps(document), file=answers, flush=True)
