"""The comparison of two to four networks, or two to four studies, on one page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from harness.evidence.leaderboard import VERIFIED_SEEDS
from harness.system import files
from harness.system.errors import typed
from harness.system.files import Workspace
from reports import layers
from reports.comparison import comparison_pictures
from reports.comparison.comparison import Quantity, ratio_text
from reports.comparison.comparison_networks import (
    Mistakes,
    NetworkComparison,
    NetworkSide,
    network_comparison,
    read_networks,
)
from reports.comparison.comparison_studies import StudyComparison, study_comparison
from reports.html.page import (
    Column,
    Html,
    Section,
    details,
    element,
    foreign,
    items,
    joined,
    left_out,
    numeric,
    page,
    paragraph,
    resource,
    table,
    text,
)
from reports.numbers import DASH, count, decimal, plural
from reports.study.mistakes import SharedMistake
from reports.study.network import shared_mistakes
from reports.study.study_files import read_standings, read_study
from reports.study.study_info import StudyInfo, study_info
from search_spaces.network import Architecture
from search_spaces.op_specs import op_text
from search_spaces.task import shape_text

MOST_IMAGES = 60


def write_network_comparison(named: Sequence[tuple[str, Architecture]], workspace: Workspace) -> Path:
    """Write the comparison of some networks, each given with a name that may be empty, and return its path.

    Raises:
        ContentError: a record, the ledger or a study does not hold together.
        UsageError: the folder cannot be written.
    """
    facts = network_comparison(read_networks(named, workspace))
    path = workspace.runs / file_name([architecture.hash for _, architecture in named])
    files.write_text(path, render_networks(facts))
    return path


def write_study_comparison(folders: Sequence[Path], workspace: Workspace) -> Path:
    """Write the comparison of the studies in some folders and return its path.

    Raises:
        ContentError: a file of a study or the workspace does not hold together.
        UsageError: the folder cannot be written.
    """
    path = workspace.runs / file_name([folder.name for folder in folders])
    files.write_text(path, render_studies(read_studies(folders, workspace), workspace))
    return path


def read_studies(folders: Sequence[Path], workspace: Workspace) -> StudyComparison:
    """Return the facts of a comparison of studies.

    Raises:
        ContentError: a file of a study or the workspace does not hold together.
    """
    standings = read_standings(workspace)
    return study_comparison([study_info(read_study(folder, workspace, standings)) for folder in folders])


def file_name(names: Sequence[str]) -> str:
    """Return what the page of a comparison is called; long and odd names are cut, and told apart by a digest."""
    plain = "-".join(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII) for name in names)
    if len(plain) <= 120 and plain == "-".join(names):
        return f"comparison-{plain}.html"
    digest = hashlib.sha256("\0".join(names).encode(errors="surrogatepass")).hexdigest()[:12]
    return f"comparison-{plain[:80]}-{digest}.html"


def render_networks(facts: NetworkComparison) -> str:
    """Return the page of a comparison of networks."""
    names = [side.name for side in facts.sides]
    introduction = joined(
        [
            element("h1", text("Comparison of networks")),
            *(element("p", text(sentence), class_="finding") for sentence in facts.sentences),
            _notes(facts.notes),
        ]
    )
    footer = paragraph("Made by harness from the records and studies of its workspace; the same files, the same page.")
    recipes = (
        _table("Fields of the recipes that differ", "recipe-figures", names, facts.recipes)
        if facts.recipes
        else paragraph("The recipes of the measured rows do not differ.")
    )
    sections = [
        *_figures(facts),
        Section("mistakes", "Shared mistakes", _mistakes(facts)),
        Section("recipes", "Recipes", recipes),
        Section("commands", "Train them again", _network_commands(facts.sides)),
    ]
    title = f"Comparison: {', '.join(names)}"
    return page(title, introduction, sections, footer, styles=resource("comparison/comparison.css"))


def render_studies(facts: StudyComparison, workspace: Workspace) -> str:
    """Return the page of a comparison of studies, with that of the networks that they answer with."""
    names = [info.name for info in facts.infos]
    introduction = joined(
        [
            element("h1", text("Comparison of studies")),
            *(
                element(
                    "p", element("strong", foreign(info.name)), text(f": {info.headline.verdict}"), class_="finding"
                )
                for info in facts.infos
            ),
            *(paragraph(sentence) for sentence in facts.sentences),
            _notes(facts.notes),
            # All were read with the same standings.
            left_out(facts.infos[0].left_out),
        ]
    )
    sections = [
        Section("figures", "Side by side", _table("Figures of the studies", "study-figures", names, facts.quantities)),
        Section("fronts", "Networks found", comparison_pictures.fronts_picture(facts.infos)),
        Section("budgets", "Speed of the search", comparison_pictures.budgets_picture(facts.infos)),
        Section("settings", "Different settings", _settings(names, facts)),
        Section("shared", "Networks that several studies have trained", _shared(names, facts)),
        Section("commands", "Commands", _study_commands(facts.infos)),
    ]
    answers = _answers(facts.infos, workspace)
    if answers is not None:
        sections += _figures(answers)
    when = max((info.provenance.last_utc for info in facts.infos), default="") or "unknown time"
    footer = paragraph(f"Made by harness from the studies' files as of {when}; the same files give the same page.")
    title = f"Comparison: {', '.join(names)}"
    return page(title, introduction, sections, footer, styles=resource("comparison/comparison.css"))


def _answers(infos: Sequence[StudyInfo], workspace: Workspace) -> NetworkComparison | None:
    """Return the comparison of the studies' answers, None where fewer than two differ."""
    found: dict[str, str] = {}
    for info in infos:
        if info.answer is not None:
            found.setdefault(info.answer.hash, info.name)
    known = {network.hash: network.architecture for info in infos for network in info.networks}
    named = [(name, known[key]) for key, name in found.items() if key in known]
    return network_comparison(read_networks(named, workspace)) if len(named) > 1 else None


def _figures(facts: NetworkComparison) -> list[Section]:
    names = [side.name for side in facts.sides]
    return [
        Section(
            "networks",
            "Networks side by side",
            joined(
                [_layers(facts.sides), _table("Figures of the networks", "network-figures", names, facts.quantities)]
            ),
        ),
        Section("seeds", "Seed by seed", comparison_pictures.seeds_picture(facts.sides)),
        Section("parameters", "Where the parameters sit", comparison_pictures.parameters_picture(facts.sides)),
        Section("ops", "Op by op", joined(_ops(place, side) for place, side in enumerate(facts.sides))),
    ]


def _notes(notes: Sequence[str]) -> Html:
    return element("div", items(text(note) for note in notes), class_="box") if notes else Html("")


def _table(caption: str, identifier: str, names: Sequence[str], quantities: Sequence[Quantity]) -> Html:
    ratios = any(ratio is not None for line in quantities for ratio in line.ratios)
    rows = [
        [text(line.name), *(_cell(words, ratio) for words, ratio in zip(line.words, line.ratios, strict=True))]
        for line in quantities
    ]
    columns = (Column("figure"), *(Column(name, class_="side") for name in names))
    ending = f"; the small figures are multiples of {names[0]}" if ratios else ""
    return table(f"{caption}{ending}.", columns, rows, identifier=identifier)


def _cell(words: str, ratio: float | None) -> Html:
    if ratio is None:
        return foreign(words)
    return joined([text(words), element("span", text(ratio_text(ratio)), class_="ratio")], " ")


def _layers(sides: Sequence[NetworkSide]) -> Html:
    """Return each network's layers with its name."""
    pictures = [Html(layers.thumbnail(side.architecture, side.analysis.task)) for side in sides]
    drawn = (joined([picture, foreign(side.name)]) for picture, side in zip(pictures, sides, strict=True))
    return items(drawn, class_="layers")


def _ops(place: int, side: NetworkSide) -> Html:
    rows = [
        [
            element("code", text(op_text(layer.op))),
            text(shape_text(layer.output_shape)),
            text(count(layer.parameters)),
            text(count(layer.macs)),
            text(layer.receptive_field),
        ]
        for layer in side.analysis.layers
    ]
    columns = (
        Column("op"),
        Column("output"),
        *numeric("parameters", "MACs", "field"),
    )
    made = table(
        f"Ops of {side.name}: shape of the output, parameters, multiply-adds, receptive field in pixels.",
        columns,
        rows,
        identifier=f"ops-{place + 1}",
    )
    notation = element("p", element("code", text(side.architecture)))
    return details(f"{side.name}, {plural(len(rows), 'op')}", joined([notation, made]))


def _mistakes(facts: NetworkComparison) -> Html:
    if not facts.mistakes:
        return paragraph("Not all of these networks were measured on the same test set.")
    rows = [_mistakes_row(side, item) for side, item in zip(facts.sides, facts.mistakes, strict=True)]
    columns = (
        Column("network"),
        *numeric("mean errors a seed", "often wrong", "only this network", "with a wrong label"),
    )
    names = [side.name for side in facts.sides]
    made = table(
        "Test images that a network gets wrong with at least half of its seeds.",
        columns,
        rows,
        identifier="mistakes-caption",
    )
    said = (
        f"Misread by all of them: {plural(len(facts.shared), 'image')}." if facts.shared else "They share no mistake."
    )
    parts = [made, paragraph(said), _images(facts.shared, facts.pictures, names)]
    for name, item in zip(names, facts.mistakes, strict=True):
        if item.alone:
            images = _images(item.alone, item.pictures, names)
            parts.append(details(f"Only {name}: {plural(len(item.alone), 'image')}", images))
    return joined(parts)


def _images(images: Collection[int], pictures: Sequence[SharedMistake], names: Sequence[str]) -> Html:
    """Return the images; those whose pixels are not at hand by their indices."""
    shown = pictures[: shared_mistakes.MOST_PICTURES]
    rest = sorted(set(images) - {item.image for item in shown})
    parts = [shared_mistakes.draw(shown, names)] if shown else []
    if shown:
        words = (
            "Below each label the classes that a network says instead, and the share of its seeds that get it wrong."
        )
        parts.insert(0, paragraph(words, class_="note"))
    if rest:
        words = ", ".join(map(str, rest[:MOST_IMAGES])) + (", ..." if len(rest) > MOST_IMAGES else "")
        note = "" if shown else f" To see them here, run {typed('verify')} for these networks."
        parts.append(paragraph(f"By index in the test set: {words}.{note}", class_="note"))
    return joined(parts)


def _mistakes_row(side: NetworkSide, item: Mistakes) -> list[Html]:
    mean = side.row.test_errors_mean if side.row else None
    return [
        foreign(side.name),
        text(decimal(mean, 1)),
        text(len(item.images)),
        text(len(item.alone)),
        text(DASH if item.mislabelled is None else item.mislabelled),
    ]


def _settings(names: Sequence[str], facts: StudyComparison) -> Html:
    alike = paragraph(f"Equal settings: {', '.join(facts.equal) or 'none'}.", class_="note")
    if not facts.settings:
        return joined([paragraph("Only the names differ."), alike])
    return joined([_table("Settings that differ", "settings-caption", names, facts.settings), alike])


def _shared(names: Sequence[str], facts: StudyComparison) -> Html:
    if not facts.shared:
        return paragraph("No network was trained to its end in more than one of these studies.")
    rows = [
        [
            element("code", text(network.hash)),
            text(count(network.parameters)),
            *(text(decimal(value, 2)) for value in accuracies),
            element("code", foreign(str(network.architecture)), class_="network"),
        ]
        for network, accuracies in facts.shared
    ]
    columns = (
        Column("network"),
        Column("parameters", numeric=True),
        *numeric(*names),
        Column("notation"),
    )
    caption = f"Mean validation accuracy in each study, %: the smallest {len(rows)} of {count(facts.shared_count)}."
    return table(caption, columns, rows, identifier="shared-caption")


def _study_commands(infos: Sequence[StudyInfo]) -> Html:
    lines = []
    for info in infos:
        lines.append(element("h3", foreign(info.name)))
        words = "\n".join(info.provenance.commands) or "no command in the log"
        lines.append(element("pre", element("code", text(words))))
    return joined(lines)


def _network_commands(sides: Sequence[NetworkSide]) -> Html:
    lines = [
        typed("verify", side.architecture.hash, "--seeds", str(side.row.seeds))
        if side.row
        else typed("verify", str(side.architecture), "--seeds", str(VERIFIED_SEEDS))
        for side in sides
    ]
    return element("pre", element("code", text("\n".join(lines))))
