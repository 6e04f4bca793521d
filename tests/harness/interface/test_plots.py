"""Figures of studies: plotted values and file formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from harness.interface.results import Study
from harness.pages.study_facts import read_study
from harness.system.files import Workspace
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
