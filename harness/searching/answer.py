"""Answer of a search that was not interrupted, as text for the terminal and as JSON."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.evidence.leaderboard_table import Verification
from harness.searching.baselines import best_linear, linear_document, linear_lines
from harness.searching.ending import Ending, ending
from harness.spaces.space import Metric, size_text
from harness.studies.candidate import NearestMiss
from harness.studies.events import Advised, Postponed, SearchForecast
from harness.studies.standing import Standing
from harness.studies.study_state import StudyState
from harness.system.document import document_of
from harness.system.errors import as_command
from harness.system.files import Workspace
from harness.training.native.driver import measured_latency
from harness.training.native.engine import EngineUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAnswer:
    """Answer of a search.

    Attributes:
        verdict: The last verification, if any.
        obstacle: Candidate that a longer search could verify or confirm (``ending.advise``).
    """

    state: StudyState
    workspace: Workspace
    verdict: Verification | None
    obstacle: NearestMiss | Postponed | None

    def document(self, report: Path) -> dict[str, Any]:
        """Return the answer as plain JSON values; ``report`` is the path of the report page."""
        study = self.state
        config = study.config
        end = self.ending
        verdict = self._own_verdict
        advice = self._printed_advice
        front = {"second": config.minimised[1], "front": self._front_documents()} if config.is_front else {}
        return {
            "study": study.folder.name,
            "budget": config.budget,
            "minimise": config.minimised[0],
            "most": config.limits[0],
            **front,
            "target_pct": config.target_pct,
            "threshold_pct": config.threshold_pct,
            "proposed": study.proposal_count,
            "rejected": study.rejected.total(),
            "repeated": study.repeat_count,
            "trained": study.trained_count,
            "seconds": study.seconds,
            "winner": None if verdict is None else document_of(verdict.row),
            "reached": self.reached,
            "missed": [asdict(verdict) for verdict, _ in end.missed],
            "linear": linear_document(best_linear(study.candidates.values())),
            "quote": self._forecast_document(),
            "nearest_miss": asdict(self.obstacle) if isinstance(self.obstacle, NearestMiss) else None,
            # A published key: the advice.
            "last_words": None if advice is None else asdict(advice) | {"command": advice.command},
            "report": str(report),
            "leaderboard": str(self.workspace.leaderboard),
        }

    @property
    def reached(self) -> bool:
        """Whether the last verification reached the target."""
        return self.verdict is not None and self.verdict.passed

    @property
    def ending(self) -> Ending:
        """End of the search, with the advice that ``ending.advise`` has logged."""
        return ending(self.state, self._own_verdict)

    @property
    def _own_verdict(self) -> Verification | None:
        """Last verification, unless the study has a different, unverified network."""
        result = self.state.result
        if self.verdict is None or (result is not None and result.hash != self.verdict.row.hash):
            return None
        return self.verdict

    @property
    def _printed_advice(self) -> Advised | None:
        advice = self.ending.advice
        return advice if advice is not None and advice.why else None

    def text(self) -> str:
        """Return the answer as text for the terminal, several lines."""
        config = self.state.config
        end = self.ending
        lines = []
        verdict = self._own_verdict
        if end.standing.network is not None or verdict is not None:
            lines += [end.answer, *self._row_lines(end), f"the search {end.reason}"]
        if verdict is not None and Metric.LATENCY_US in config.minimised:
            with suppress(EngineUnavailable):
                latency = measured_latency(verdict.row.architecture, self.state.data.task)
                lines.append(f"latency on this machine: {latency:.0f} microseconds per image on a single core")
        lines += self._front_lines()
        lines += end.notes
        advice = self._printed_advice
        if advice is not None:
            lines += [*advice.sentences, f"this command {advice.advice}:", f"  {advice.command}"]
        return "\n".join([*lines, *linear_lines(best_linear(self.state.candidates.values()))])

    def _row_lines(self, end: Ending) -> list[str]:
        if self._own_verdict is None:
            return []
        config = self.state.config
        row = self._own_verdict.row
        verify = row.arguments("verify", "--seeds", str(row.seeds))
        verify_module = ("verify", "FILE.py:NAME", *verify[2:])
        ranking = ("leaderboard", "--dataset", config.dataset, "--target", f"{config.target_pct:.12g}")
        return [
            f"  {row.architecture}",
            *filter(None, [end.caveat]),
            f"export: {end.export}",
            f"verify again: {as_command(*verify)}",
            f"compare a PyTorch module of your own: {as_command(*verify_module)}",
            f"ranking: {as_command(*ranking)}",
        ]

    def _forecast_document(self) -> dict[str, Any] | None:
        """Return the forecast of the search; if the target was met, with whether the intervals contain the outcome."""
        forecasts = self.state.of_kind(SearchForecast)
        if not forecasts:
            return None
        forecast = forecasts[-1].event
        coverage: dict[str, bool | None] = {"parameters_held": None, "seconds_held": None}
        if self.verdict is not None and self.verdict.passed:
            coverage["parameters_held"] = holds(forecast.parameters, self.verdict.row.parameters)
            coverage["seconds_held"] = holds(forecast.seconds, self.state.seconds)
        return {**document_of(forecast), **coverage}

    def _front_lines(self) -> list[str]:
        metrics = self.state.config.minimised
        documents = self._front_documents() if self.state.config.is_front else []
        lines = ["front:"] if documents else []
        for document in documents:
            size = size_text(document["parameters"], [document[metric] for metric in metrics], metrics)
            mean_pct = document["mean_test_accuracy_pct"]
            accuracy = "" if mean_pct is None else f", {mean_pct:.3f} % on the test images"
            lines.append(f"  {document['hash']}  {size}: {document['tier']}{accuracy}")
        return lines

    def _front_documents(self) -> list[dict[str, Any]]:
        documents = []
        for candidate in self.state.front:
            verdict = self.state.verdicts.get(candidate.proposal.trial)
            document: dict[str, Any] = {
                "hash": candidate.proposal.hash,
                "parameters": candidate.proposal.parameters,
                "network": str(candidate.proposal.architecture),
                **dict(zip(self.state.config.minimised, candidate.costs, strict=True)),
                "tier": Standing.CONFIRMED if verdict is None else verdict.tier,
                "mean_test_accuracy_pct": None if verdict is None else verdict.mean_test_accuracy_pct,
            }
            documents.append(document)
        return documents


def holds(interval: tuple[float | None, float | None, float | None], value: float) -> bool:
    """Return whether a value lies in a forecast interval (low, middle, high).

    Parameters are None if no network reaches the target: without ``low`` no value lies in the interval, without
    ``high`` there is no upper limit.
    """
    low, _, high = interval
    return low is not None and low <= value and (high is None or value <= high)
