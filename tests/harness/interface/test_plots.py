"""Figures of studies and learning rates: plotted values and file formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from harness.interface.plots import rates_figure, write_figure
from harness.interface.results import Study
from harness.pages.study_facts import read_study
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.toy.backprop import LEARNING_RATES, START, losses
from harness.toy.rates import rate_curve
from tests import searches
from tests.fakes import without_processes


def test_study_figure_shows_networks_and_threshold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without_processes(monkeypatch)
    searches.run(tmp_path / "runs" / "mine", searches.config(), searches.effort(trials=5))
    study = Study(tmp_path / "runs" / "mine", Workspace(tmp_path))
    figure = study.plot(tmp_path / "study.png")

    (axes,) = figure.axes
    points = sum(len(np.asarray(collection.get_offsets())) for collection in axes.collections)
    assert points == len([trial for trial in study.trials if trial.validation_pct is not None]) > 0
    # The study page shows the same accuracies.
    networks = read_study(study.folder, Workspace(tmp_path)).networks
    plotted_pct = sorted(y for collection in axes.collections for _, y in np.asarray(collection.get_offsets()).tolist())
    assert plotted_pct == pytest.approx(sorted(each.accuracy_pct for each in networks if each.accuracy_pct is not None))
    assert np.asarray(axes.lines[0].get_ydata()).tolist() == [study.config.threshold_pct] * 2
    with Image.open(tmp_path / "study.png") as image:
        assert image.size == (640, 384)
    assert pyplot.get_fignums() == []


def test_rate_curves_show_losses(tmp_path: Path):
    figure = rates_figure([rate_curve(START, rate, 100, 0.01) for rate in LEARNING_RATES], 0.01)

    (axes,) = figure.axes
    plotted_losses = [np.asarray(line.get_ydata()).tolist() for line in axes.lines]
    assert plotted_losses[:-1] == [losses(START, rate, 100) for rate in LEARNING_RATES]
    for name in ("rates.svg", "rates.pdf"):
        write_figure(figure, tmp_path / name)
    assert (tmp_path / "rates.svg").read_text().startswith("<?xml")
    assert (tmp_path / "rates.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match=r"\.svg"):
        write_figure(figure, tmp_path / "rates.gif")
    assert {path.name for path in tmp_path.iterdir()} == {"rates.svg", "rates.pdf"}
