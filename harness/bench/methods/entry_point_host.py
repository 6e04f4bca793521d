"""The program around an entry point: it speaks JSON lines for somebody's function, which runs nowhere else.

So a function that never answers, ends its process or prints where answers go does so to this process alone, and
nothing is carried over from one repeat to another.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import entry_points

from harness.bench.methods.external_method import GROUP, Begin, Problem, Trial

# The function is looked for where the bench finds its own modules.
_START = (
    "import sys; name, *sys.path = sys.argv[1:]; from harness.bench.methods.entry_point_host import main; main(name)"
)


def command(name: str) -> tuple[str, ...]:
    """Return the program and arguments that run an entry point."""
    return (sys.executable, "-c", _START, name, *sys.path)


def main(name: str) -> None:
    """Answer until the input ends; whatever the function raises ends the program with a trace that says it."""
    # Kept from the function: what it prints goes where people look, and it has no input.
    questions, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    # Where several packages have it, all mean the same function.
    point, *_ = entry_points(group=GROUP, name=name)
    begin: Begin = point.load()
    told = json.loads(questions.readline())["begin"]
    ask = begin(Problem(**told | {"networks": told["networks"] and tuple(told["networks"])}))
    for line in questions:
        tried = json.loads(line)["tried"]
        answer = ask(tuple(Trial(**trial | {"fresh_pct": tuple(trial["fresh_pct"])}) for trial in tried))
        if not isinstance(answer, str):
            raise TypeError(f"answered {type(answer).__name__}, but the text of a network is wanted")
        print(json.dumps({"network": answer}), file=answers, flush=True)
