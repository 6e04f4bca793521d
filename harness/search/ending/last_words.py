"""What a search says that ends without an answer, or before a smaller one: why, and the command that gets further."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from harness.evidence.bounds import ErrorRatio
from harness.evidence.study import StudyConfig
from harness.search.clock import Effort, least_seconds
from harness.search.ending.end import Answered, End, Exhausted, Missed, Postponed, RanOut
from harness.search.nearest_miss import NearestMiss, allowed_errors, miss_text
from harness.search.race import SEED_SHARE
from harness.system.errors import typed
from harness.system.terminal import LONGEST, counted, duration_option, duration_text
from harness.training.result import Status
from search_spaces.space import OBJECTIVES, Metric

# Where the best network makes so many times the errors allowed, another of the same forms and size will not do.
FAR_MISS = 1.5
# The space that holds every form.
WIDEST_SPACE = "all"
_SAME, _LARGER = "goes on with the same study", "looks among larger networks"
# What may change without another study beginning.
_EFFORT = {"--time", "--trials"}

# What may end a training without an accuracy.
FAILED = {
    Status.OUT_OF_MEMORY: "ended out of memory",
    Status.TIMED_OUT: "ended at the time limit",
    Status.CRASHED: "crashed",
}

Why = Literal["time", "trials", "target", "space", "limit", "verification"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """Why there is no answer, or no smaller one, for people, and a command to paste.

    Attributes:
        why: what stood in the way.
        sentences: without full stops, a line each.
        arguments: of a command that goes on with the same study, or begins one that differs in what stood in the way.
        advice: what the command does; the words go on from it.
    """

    why: Why
    sentences: tuple[str, ...]
    arguments: tuple[str, ...]
    advice: str

    @property
    def command(self) -> str:
        """The command as it is typed here."""
        return typed(*self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What was searched for, and how much was spent on it.

    Attributes:
        elapsed: seconds used by all sessions.
        trained: networks whose first run has ended; ``failed`` those whose run was broken off, by how.
        pruned: those of the trained ones that were stopped early.
        allowed: the longest time of the sessions that had an end, None where the last one has none.
        given: options of the command line and their values, as they are typed.
    """

    config: StudyConfig
    effort: Effort
    offset: ErrorRatio
    elapsed: float
    trained: int
    failed: Mapping[Status, int]
    pruned: int
    allowed: float | None
    given: Mapping[str, str]


def last_words(end: End, searched: Searched, nearest: NearestMiss | None) -> LastWords:
    """Return what is said of a search that ended so.

    Args:
        nearest: the nearest miss on validation where nothing stands.
    """
    words, time = _words(end, searched, nearest), "--time"
    if words.why in ("time", "trials") or time not in words.arguments:
        return words
    advised = words.arguments[words.arguments.index(time) + 1]
    is_longer = advised != searched.given.get(time)
    return replace(words, advice=f"{words.advice}, with time enough for an answer") if is_longer else words


def _words(end: End, searched: Searched, nearest: NearestMiss | None) -> LastWords:
    match end:
        case Answered(smaller, of):
            found = f"smaller, but not confirmed: {miss_text(smaller, searched.config.minimise)}"
            changes = _more_time(searched) if of == "time" else _more_trials(searched)
            advice = f"{_SAME} and trains it again"
            return LastWords(why=of, sentences=(found,), arguments=_arguments(searched, changes), advice=advice)
        case RanOut() | Exhausted() if not searched.trained and (limit := _larger_limit(searched)):
            return _after_a_limit(searched, limit)
        case RanOut(of):
            return _after_running_out(of, searched, nearest)
        case Exhausted(message):
            return _after_the_space(message, searched, nearest)
        case Postponed():
            known = f"{end.parameters:,} parameters are confirmed on validation (hash {end.hash}), but not verified"
            if searched.effort.seconds is not None:
                left, needed = searched.effort.seconds - searched.elapsed, end.seconds - searched.elapsed
                known += f": that takes at most about {duration_text(needed)}, and {duration_text(left)} were left"
            changed = _arguments(searched, {"--time": duration_option(60 * math.ceil(end.seconds / 60))})
            advice = f"{_SAME} and verifies the network"
            return LastWords(why="time", sentences=(known,), arguments=changed, advice=advice)
        case Missed():
            return _after_a_miss(end, searched)
        case _:
            assert_never(end)


def _after_running_out(of: Literal["time", "trials"], searched: Searched, nearest: NearestMiss | None) -> LastWords:
    found = (f"{_used_up(of, searched)}; {_nothing_stands(searched)}", *_nearest_sentence(nearest, searched))
    # A training that was stopped has not come to its errors yet.
    is_whole = nearest is not None and nearest.pruned_after is None
    if nearest is not None and is_whole and _is_far(nearest) and _is_large(nearest, searched):
        far = "the target is far from what networks of this size reach"
        changed = _arguments(searched, _wider(searched))
        return LastWords(why="space", sentences=(*found, far), arguments=changed, advice=_LARGER)
    changes = _more_time(searched) if of == "time" else _more_trials(searched)
    return LastWords(why=of, sentences=found, arguments=_arguments(searched, changes), advice=_SAME)


def _after_the_space(message: str, searched: Searched, nearest: NearestMiss | None) -> LastWords:
    """Return what helps where no further network was found: time, another target, a larger budget or another space."""
    found = (
        f"no further network was found: {message}; {_nothing_stands(searched)}",
        *_nearest_sentence(nearest, searched),
    )
    # In the second half of the time only what can still be trained, confirmed and verified is proposed.
    if searched.effort.seconds is not None and searched.elapsed > searched.effort.seconds / 2:
        advice = f"{_SAME}; with more time slower networks are tried, too"
        changed = _arguments(searched, _more_time(searched))
        return LastWords(why="time", sentences=found, arguments=changed, advice=advice)
    if nearest is not None and _is_far(nearest):
        far = "the target is far from what these networks reach"
        advice = "asks for what the nearest network may reach"
        changed = _arguments(searched, {"--target": f"{_target_in_reach(nearest, searched):g}"})
        return LastWords(why="target", sentences=(*found, far), arguments=changed, advice=advice)
    # Where the budget does not bind, more of it adds nothing.
    if nearest is None or _is_large(nearest, searched) or searched.config.space == WIDEST_SPACE:
        advice, change = _LARGER, _wider(searched)
    else:
        advice, change = "looks among more forms of networks", {"--space": WIDEST_SPACE}
    changed = _arguments(searched, change)
    return LastWords(why="space", sentences=found, arguments=changed, advice=advice)


def _is_far(nearest: NearestMiss) -> bool:
    return nearest.errors > FAR_MISS * nearest.allowed


def _is_large(nearest: NearestMiss, searched: Searched) -> bool:
    return 2 * nearest.cost > searched.config.ceiling


def _larger_limit(searched: Searched) -> dict[str, str]:
    """Return twice the limit that has ended trainings; nothing where none has."""
    if Status.OUT_OF_MEMORY in searched.failed:
        return {"--trial-memory": f"{2 * searched.effort.limits.memory_mb:.0f}"}
    if Status.TIMED_OUT in searched.failed:
        return {"--trial-time": duration_option(min(2 * searched.effort.limits.seconds, LONGEST))}
    return {}


def _after_a_limit(searched: Searched, limit: Mapping[str, str]) -> LastWords:
    """Return what helps where a limit has ended every training: a study tries a network once, so it is a new study."""
    changed = _arguments(searched, {**limit, "--seed": f"{searched.config.seed + 1}"})
    advice = "begins a search with another seed and twice the limit"
    return LastWords(why="limit", sentences=(_nothing_stands(searched),), arguments=changed, advice=advice)


def _after_a_miss(end: Missed, searched: Searched) -> LastWords:
    mean = f"its verification gave a mean of {end.errors:,.1f} test errors over {end.seeds} seeds"
    if end.errors <= end.allowed and not end.contradicted:
        return LastWords(
            why="verification",
            sentences=(f"{mean}; {end.allowed:,.1f} are allowed, but so few seeds or so wide a spread prove nothing",),
            arguments=("verify", end.hash, "--seeds", "10"),
            advice="adds the seeds that a verdict needs",
        )
    missed = f"{mean}, {end.errors - end.allowed:,.1f} more than the {end.allowed:,.1f} allowed"
    return LastWords(
        why="verification",
        sentences=(f"{mean}, which contradicts its record" if end.contradicted else missed,),
        arguments=_arguments(searched, {"--seed": f"{searched.config.seed + 1}"}),
        advice="begins a search with another seed; more --time would look among smaller networks only",
    )


def _used_up(of: Literal["time", "trials"], searched: Searched) -> str:
    left = (searched.effort.seconds or 0.0) - searched.elapsed
    if of == "time" and left >= 1:
        return f"the {duration_text(left)} left are too short to train, confirm and verify another network"
    return "the time is used up" if of == "time" else "the trials are used up"


def _nothing_stands(searched: Searched) -> str:
    networks = "1 network was" if searched.trained == 1 else f"{searched.trained:,} networks were"
    early = "" if not searched.pruned else f" ({searched.pruned:,} of them stopped early, as hopeless)"
    if searched.pruned == searched.trained:
        early = " (stopped early, as hopeless)"
    trained = f"{networks} trained{early}" if searched.trained else "no training came to its end"
    failed = "".join(f", {counted(number, 'training')} {FAILED[how]}" for how, number in searched.failed.items())
    size = f"{searched.config.ceiling:,} {OBJECTIVES[searched.config.minimise]}"
    return (
        f"no network of at most {size} was confirmed at {searched.config.threshold_pct:.2f} % validation; {trained} "
        f"in {duration_text(searched.elapsed)}{failed}, nothing was verified, the test set was not read"
    )


def _wider(searched: Searched) -> dict[str, str]:
    """Return the option that allows twice as much of what is minimised."""
    if searched.config.minimise is Metric.PARAMETERS:
        return {"--budget": f"{2 * searched.config.ceiling}"}
    upper = re.compile(rf"\s*{searched.config.minimise}\s*(<|<=|==)\s*\d")
    others = [each for each in searched.given.get("--limit", "").split(",") if each and not upper.match(each)]
    return {"--limit": ",".join([*others, f"{searched.config.minimise}<={2 * searched.config.ceiling}"])}


def _nearest_sentence(nearest: NearestMiss | None, searched: Searched) -> tuple[str, ...]:
    return () if nearest is None else (f"nearest: {miss_text(nearest, searched.config.minimise)}",)


def _more_time(searched: Searched) -> dict[str, str]:
    """Return twice the time that any session was allowed, more often doubled where they have used more."""
    if searched.allowed is None:
        return {}
    seconds = max(2 * searched.allowed, least_seconds(searched.config.dataset))
    while seconds <= searched.elapsed:
        seconds *= 2
    return {"--time": duration_option(min(seconds, LONGEST))}


def _more_trials(searched: Searched) -> dict[str, str]:
    """Return twice the trials, and twice the time where that would not last for them."""
    begun = searched.trained + sum(searched.failed.values())
    trials = {"--trials": f"{2 * max(searched.effort.trials or 1, begun)}"}
    is_short = searched.effort.seconds is not None and 2 * searched.elapsed > searched.effort.seconds
    return trials | (_more_time(searched) if is_short else {})


def _target_in_reach(nearest: NearestMiss, searched: Searched) -> float:
    """Return the highest target, in hundredths, that the nearest may reach with what fresh seeds differ by."""
    errors = min(nearest.size, math.ceil(nearest.errors * (1 + SEED_SHARE)))
    for hundredths in range(math.floor(100 * searched.config.target_pct), 0, -1):
        if allowed_errors(searched.offset.threshold_pct(hundredths / 100), nearest.size) >= errors:
            return hundredths / 100
    return 0.0


def _arguments(searched: Searched, changes: Mapping[str, str]) -> tuple[str, ...]:
    """Return the arguments given with some options changed.

    Where another study begins it has a name of its own, and time enough for an answer.
    """
    kept = {**searched.given, **changes}
    if changes.keys() - _EFFORT:
        kept.pop("--study", None)
        seconds = searched.effort.seconds
        least = least_seconds(searched.config.dataset)
        if "--time" not in changes and seconds is not None and seconds < least:
            kept["--time"] = duration_option(least)
    return "search", *(word for option in kept.items() for word in option)
