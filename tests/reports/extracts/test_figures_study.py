from __future__ import annotations

import re
from typing import Any

import matplotlib
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from harness.system.errors import UsageError
from harness.system.files import Workspace
from reports.extracts.figures_study import accuracy_figure, budget_figure, proposals_figure, write_figures
from reports.html import figures
from reports.html.page import resource
from reports.study.study_files import read_study
from reports.study.study_info import StudyInfo, study_info


def info_of(study: Any, place: Workspace) -> StudyInfo:
    return study_info(read_study(study.folder, place))


def labels(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def test_every_figure_comes_as_svg_and_png(realistic_study: Any, place: Workspace):
    paths = write_figures(info_of(realistic_study, place), realistic_study.folder / "figures")

    names = [f"{name}.{kind}" for name in ("accuracy", "budget", "proposals") for kind in ("svg", "png")]
    assert [path.name for path in paths] == names
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")
        assert not re.search(rb"20\d\d-\d\d-\d\dT", content), "a date would change the bytes"


def test_the_same_figures_are_the_same_bytes_whatever_matplotlib_was_told(realistic_study: Any, place: Workspace):
    info = info_of(realistic_study, place)
    first = [path.read_bytes() for path in write_figures(info, place.root / "a")]

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        again = [path.read_bytes() for path in write_figures(info, place.root / "b")]

    assert again == first


def test_figures_have_the_colours_of_the_page(realistic_study: Any, place: Workspace):
    colours = re.findall(r"--(?:trained|front|tested|budget): (#\w+);", resource("html/page.css"))[:4]

    figure = accuracy_figure(info_of(realistic_study, place))

    lines = [to_hex(line.get_color()) for line in figure.axes[0].get_lines()]
    assert len({*colours}) == 4
    assert {*colours} <= {*lines}
    assert "#10693a" not in lines, "green is for success"


def test_the_accuracy_figure_has_the_points_of_the_report(realistic_study: Any, place: Workspace):
    info = info_of(realistic_study, place)

    figure = accuracy_figure(info)

    containers: list[Any] = figure.axes[0].containers
    assert sum(len(item.lines[0].get_xdata()) for item in containers) == len(info.picture.points)
    assert {"target 99.4 %", "threshold 99.45 %, validation", "budget 20,000", "Pareto front of validation"} <= {
        *labels(figure)
    }


def test_the_budget_figure_falls_as_the_journal_says(realistic_study: Any, place: Workspace):
    info = info_of(realistic_study, place)

    line: Any = budget_figure(info).axes[0].lines[0]

    levels = list(line.get_ydata())
    assert levels[0] == 20_000
    assert levels[-1] == info.budget.last
    assert levels[1:-1] == [trial.budget for trial in info.budget.trials]


def test_the_proposals_figure_has_a_bar_a_kind(realistic_study: Any, place: Workspace):
    info = info_of(realistic_study, place)

    axes: Any = proposals_figure(info).axes[0]

    facts = info.accounting
    counts = [*(share.count for share in facts.rejections), facts.repeated, *(share.count for share in facts.outcomes)]
    assert [patch.get_width() for patch in axes.patches] == counts


def test_a_study_of_which_only_the_configuration_exists_has_figures(new_study: Any, place: Workspace):
    assert len(write_figures(info_of(new_study(), place), place.root)) == 6


def test_odd_names_can_be_drawn(new_study: Any, place: Workspace):
    study = new_study(name="$\\frac{ \u202ethgir")
    for name in ("$x_", "\u202ethgir", "\N{PILE OF POO}", "x" * 200, "$\\frac{"):
        study.note("rejected", reason=name, parameters=1, hash="0" * 12, origin="x")
    study.write()

    write_figures(info_of(study, place), place.root / "figures")


def test_a_folder_that_cannot_be_written_is_the_user_s_to_mend(new_study: Any, place: Workspace):
    (place.root / "file").touch()

    with pytest.raises(UsageError, match=r"cannot write .*file/accuracy.svg"):
        write_figures(info_of(new_study(), place), place.root / "file")


@pytest.mark.parametrize(
    ("words", "shown"), [("short", "short"), ("x" * 20, "xxxxxxx..."), ("a\tb\u00e4", "a?b?"), ("", "")]
)
def test_words_are_such_as_the_font_has(words: str, shown: str):
    assert figures.plain(words, 10) == shown
