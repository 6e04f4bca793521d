"""The methods of search that the bench compares: those that come with it, and those of others.

All run in the open part of ``harness search``: the same code asks, rejects, confirms and so names the answer of the
moment. Those that come with the bench differ in the sampler, in the parts of the search that are at work, and in what
happens at the rungs. Those of others say which network is next, and may judge the rungs: a program that speaks JSON
lines (``benchmarks/methods/README.md``), or a function, which runs in such a program, one a repeat.
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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from harness.bench.comparison import DEFAULT, Named, SearchTask
from harness.searching import race
from harness.searching.external_method import SHOWN, Ask, Asker, Problem, Rung, Stop, Trial, functions_of, shown
from harness.searching.optuna_sampler import DEFAULT as DEFAULT_SAMPLER
from harness.searching.optuna_sampler import SAMPLERS
from harness.searching.proposer import ALL_ON, Switches
from harness.system.document import parse_json
from harness.system.errors import ContentError, UsageError, reason
from search_spaces.errors import nearest
from search_spaces.space import SearchSpace

Stops = Enum("Stops", "NEVER RACE HALVING")


# A sampler by itself: fresh seeds decide what the answer is, as for every method; no other part is at work.
_BARE = Switches(ladder=False, aim=False, falling_budget=False, repeats=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method; ``says`` what it does, for the report.

    ``stops`` is what happens at the rungs; a variant is the default with one part changed. Somebody's has the
    ``command`` of a program or a ``function``, ``module:name``. One that learns elsewhere begins with the trainings
    that ship, but for those of the table's data set.
    """

    name: str
    says: str
    sampler: str = "random"
    switches: Switches = _BARE
    learns_elsewhere: bool = False
    stops: Stops = Stops.NEVER
    is_variant: bool = False
    command: tuple[str, ...] = ()
    function: str = ""

    def rungs(self, rungs: tuple[int, ...]) -> tuple[int, ...]:
        """Return the epochs at which its runs stop to be judged, where these are looked at and the last is the end."""
        halved = rungs[:-1] if self.stops is Stops.HALVING else ()
        return race.rungs(rungs[-1]) if self.stops is Stops.RACE else halved

    def named(self, task: SearchTask) -> Named:
        """Return the method as a comparison knows it, with the SHA-256 of the files that its command names.

        Of a function it is that of its module; what these files import or start is not covered.
        """
        if missing := sorted({*self.rungs(task.study.rungs)} - {*task.study.rungs}):
            raise ContentError(f"method {self.name!r} stops after epoch {missing[0]}, which the table has not")
        words = [shutil.which(self.command[0]) or "", *self.command[1:]] if self.command else []
        if self.function and (spec := find_spec(self.function.partition(":")[0])):
            words = [spec.origin or ""]
        whole = hashlib.sha256()
        for word in words:
            # What may be run but not read is passed over.
            with suppress(OSError):
                whole.update(Path(word).name.encode(errors="replace") + Path(word).read_bytes())
        source = whole.hexdigest() if words else None
        return Named(
            name=self.name, says=self.says, is_variant=self.is_variant, command=self.command, source_sha256=source
        )


_WHOLE = Method(
    name=DEFAULT,
    says="harness search as it is, its prior that of other data sets",
    sampler=DEFAULT_SAMPLER,
    switches=ALL_ON,
    learns_elsewhere=True,
    stops=Stops.RACE,
)


def _part(name: str, says: str, **changes: bool) -> Method:
    switches = replace(ALL_ON, **changes)
    return replace(_WHOLE, name=name, says=f"the default, but {says}", switches=switches, is_variant=True)


_MAIN = (
    Method(name="random", says="uniform draws of the space, each trained to its end"),
    Method(name="tpe", sampler="tpe", says="Optuna's TPE (multivariate, grouped), each network trained to its end"),
    Method(name="nsga2", sampler="nsga2", says="Optuna's NSGA-II (population 20), each network trained to its end"),
    Method(
        name="evolution",
        sampler="evolution",
        says="aging evolution (Real et al. 2019), each network trained to its end",
    ),
    Method(name="halving", says="uniform draws under asynchronous successive halving", stops=Stops.HALVING),
    *(
        Method(
            name=f"{sampler}-aided",
            says=f"{sampler}, with the default's rungs and falling budget",
            sampler=sampler,
            switches=replace(_BARE, falling_budget=True),
            stops=Stops.RACE,
        )
        for sampler in ("random", "tpe", "nsga2", "evolution")
    ),
    _WHOLE,
)
# The default with one part changed at a time.
_ABLATIONS = (
    replace(_part("no-rungs", "every run goes to its end"), stops=Stops.NEVER),
    _part("no-falling-budget", "sizes above what is confirmed are proposed too", falling_budget=False),
    _part("no-confirmation", "a network is confirmed by its first run", confirmation=False),
    replace(_part("no-prior", "knows nothing of other data sets"), learns_elsewhere=False),
    replace(_part("no-ladder", "knows nothing and has no ladder of sizes", ladder=False), learns_elsewhere=False),
    _part("no-aim", "networks after the ladder are uniform draws, no model of the errors chooses", aim=False),
    *(
        replace(_part(f"with-{sampler}", f"{sampler} takes turns with the model of the errors"), sampler=sampler)
        for sampler in SAMPLERS
        if sampler != DEFAULT_SAMPLER
    ),
)
_BUILT_IN: Mapping[str, Method] = {method.name: method for method in (*_MAIN, *_ABLATIONS)}


def methods_of(names: Sequence[str], programs: Sequence[str], *, ablations: bool) -> tuple[Method, ...]:
    """Return the methods that were named, all that come with the bench where none was.

    A name may be a function, ``module:name``; a program is ``NAME=COMMAND``. Ablations are the default, where it is not
    named, and each of its variants.
    """
    # A program alone is compared with all that come with the bench.
    methods = [_BUILT_IN.get(name) or _function(name) for name in names] or list(_MAIN)
    methods += [_program(text) for text in programs]
    if ablations:
        methods += [method for method in (_WHOLE, *_ABLATIONS) if method not in methods]
    counts = Counter(method.name for method in methods)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise UsageError(f"method {twice!r} is given twice; each has a name of its own")
    # Without the default beside it a variant is a method like the others.
    return tuple(methods) if _WHOLE in methods else tuple(replace(method, is_variant=False) for method in methods)


def _function(name: str) -> Method:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if re.fullmatch(r"[\w.]+:\w+", name):
        with suppress(ImportError):
            if find_spec(name.partition(":")[0]) is not None:
                return Method(name=name, says="somebody's Python function", function=name)
    raise UsageError(
        f"unknown method {name!r}; known are {', '.join(_BUILT_IN)}, or a function of a module, MODULE:NAME",
        hint=nearest(name, _BUILT_IN),
    )


def _program(text: str) -> Method:
    name, _, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        words = ()
    # Live, a method's name is part of the name of a folder that is removed afterwards.
    if not re.fullmatch(r"[^\W_][\w.-]*", name) or not words or name in _BUILT_IN:
        raise UsageError(
            f"--program {text!r}: NAME=COMMAND is wanted, NAME a new one of letters, digits, dots, - and _"
        )
    return Method(name=name, says="somebody's program", command=words)


# Methods of others ------------------------------------------------------------------------------------------

# In bytes: no network and no reason to say more is as long.
_LONGEST_ANSWER = 1 << 20
# Runs a function; it is looked for where the bench finds its own modules.
_HOST = "import sys; name, *sys.path = sys.argv[1:]; from harness.bench.methods import _host; _host(name)"


class _Wanted(NamedTuple):
    """What an answer must have: a field of a kind; ``example`` is for errors."""

    field: str
    kind: type
    example: str


_NETWORK = _Wanted("network", str, '{"network": "..."}')
_STOP = _Wanted("stop", bool, '{"stop": true} or {"stop": false}')


@contextmanager
def asking(method: Method, repeat: int, space: SearchSpace, problem: Problem, seconds: float) -> Iterator[Asker]:
    """Be ready to ask somebody's method for the block: start its program, and end it with all that it has started.

    The first question is asked at once.
    """
    name = f"method {method.name!r}, repeat {repeat},"
    command = method.command or (sys.executable, "-c", _HOST, method.function, *sys.path)
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise ContentError(f"{name} cannot be started: {reason(error)}: {command[0]}") from error
        stdin = process.stdin
        stdout = process.stdout
        assert stdin is not None
        assert stdout is not None

        def end() -> None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

        def answer_to(*questions: Mapping[str, Any], wanted: _Wanted) -> dict[str, Any]:
            answer = b""
            # A program that does not answer in time is ended; that closes its output, for which this one waits.
            timer = threading.Timer(seconds, end)
            began = time.monotonic()
            timer.start()
            try:
                with suppress(BrokenPipeError):
                    stdin.write("".join(f"{json.dumps(question)}\n" for question in questions).encode())
                    stdin.flush()
                    answer = stdout.readline(_LONGEST_ANSWER)
            finally:
                timer.cancel()
            if not answer:
                late = time.monotonic() - began >= seconds
                complaints.seek(max(0, complaints.seek(0, os.SEEK_END) - 4096))
                words = complaints.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
                message = f"gave no answer in {seconds:g} s" if late else "ended before it answered"
                if words:
                    message += f"; its last words: {words[: 2 * SHOWN]}"
                raise ContentError(f"{name} {message}")
            with suppress(ValueError, TypeError, KeyError):
                document = parse_json(answer)
                if isinstance(document[wanted.field], wanted.kind):
                    return dict(document)
            text = shown(answer[: 4 * SHOWN].decode("utf-8", "replace"))
            raise ContentError(f"{name} answered {text}, but {wanted.example} is wanted")

        def ask(tried: Sequence[Trial]) -> str:
            question = {"tried": [asdict(trial) for trial in tried]}
            answer = first_answers.pop() if first_answers else answer_to(question, wanted=_NETWORK)
            return str(answer["network"])

        def stop(rung: Rung) -> bool:
            return bool(answer_to({"rung": asdict(rung)}, wanted=_STOP)["stop"])

        try:
            # The search is made for a method that judges rungs or for one that does not, which its first answer says.
            first_answers = [answer_to({"begin": asdict(problem)}, {"tried": []}, wanted=_NETWORK)]
            judges_rungs = first_answers[0].get("judges_rungs") is True
            yield Asker(name.removesuffix(","), space, problem, ask, stop if judges_rungs else None)
        finally:
            end()
            for pipe in (stdin, stdout):
                with suppress(OSError):
                    pipe.close()
            process.wait()


def _host(name: str) -> None:
    """Answer for the function ``module:name`` until the input ends; what it raises ends the program with a trace."""
    # The function must not speak on these pipes: what it prints goes to stderr, and it has no input.
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    module, _, function = name.partition(":")
    begin: Callable[[Problem], Ask | tuple[Ask, Stop]] = getattr(importlib.import_module(module), function)
    problem = json.loads(questions.readline())["begin"]
    # JSON has lists where the problem has tuples.
    tuples = {key: tuple(value) for key, value in problem.items() if isinstance(value, list)}
    ask, stop = functions_of(begin(Problem(**problem | tuples)))
    for line in questions:
        question = json.loads(line)
        if stop is not None and "rung" in question:
            is_stopped = stop(Rung(**question["rung"]))
            if not isinstance(is_stopped, bool):
                raise TypeError(f"answered {type(is_stopped).__name__} at a rung, but True or False is wanted")
            document: dict[str, Any] = {"stop": is_stopped}
        else:
            network = ask(
                tuple(Trial(**trial | {"fresh_pct": tuple(trial["fresh_pct"])}) for trial in question["tried"])
            )
            if not isinstance(network, str):
                raise TypeError(f"answered {type(network).__name__}, but the text of a network is wanted")
            document = {"network": network, "judges_rungs": stop is not None}
        print(json.dumps(document), file=answers, flush=True)
