"""The verdict on a network, from the errors of seeds to the pages."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Verdict on a target; pages, terminal and documents use no other words (docs/project/glossary.md, verdicts)."""

    PROVED = "proved"
    PROBABLE = "probable"
    NOT_REACHED = "not reached"
    NOT_YET = "not reached yet"  # a search or a verification is to be continued


class Standing(StrEnum):
    """Evidence for the accuracy of a network, strongest first; the words of the key ``tier`` in all documents.

    Attributes:
        CERTIFIED: The bound of seeds declared in a commit reaches the target.
        VERIFIED: The bounds of declared seeds reach the target.
        AT_TARGET: The means of declared seeds reach the target, the bounds do not.
        MEASURED: Seeds were tested, but decide nothing: a mean is below the target, or seeds are lacking.
        CONFIRMED: Fresh validation seeds predict that a verification passes.
        SEARCHED: The network was trained in a search only.
        CLAIMED: A source claims the accuracy.
        MISSED: The target is not reached.
        NONE: There is no network yet.
    """

    CERTIFIED = "certified"
    VERIFIED = "verified"
    AT_TARGET = "at the target"
    MEASURED = "measured"
    CONFIRMED = "confirmed"
    SEARCHED = "searched"
    CLAIMED = "claimed"
    MISSED = "missed"
    NONE = ""

    @property
    def is_proven(self) -> bool:
        """Whether a lower bound reaches the target."""
        return self.outcome is Outcome.PROVED

    @property
    def outcome(self) -> Outcome:
        """Verdict on the target."""
        match self:
            case Standing.CERTIFIED | Standing.VERIFIED:
                return Outcome.PROVED
            case Standing.AT_TARGET | Standing.MEASURED | Standing.CONFIRMED:
                return Outcome.PROBABLE
            case Standing.MISSED:
                return Outcome.NOT_REACHED
            case _:
                return Outcome.NOT_YET
