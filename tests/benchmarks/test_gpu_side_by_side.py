"""The benchmark of networks side by side, on the processor that every machine has, and its table by invented rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu_side_by_side
from benchmarks.gpu_side_by_side import images_a_second, networks, parallelisms, rows
from benchmarks.throughput import seed_style, torchvision_folder
from harness.system.errors import HarnessError
from harness.training.workers.parallelism import Parallelism
from harness.training.workers.workers import Source
from search_spaces.cost import analyse
from search_spaces.language.notation import parse_network
from search_spaces.task import MNIST

EMBEDDED = Source("mnist-5k", None)


def test_all_networks_differ_and_are_tiny():
    sizes = [analyse(parse_network(text), MNIST).parameters for text in networks(32)]

    assert len(set(networks(32))) == 32
    assert (min(sizes), max(sizes)) == (2_326, 9_707)


def test_processes_end_with_the_cores():
    assert parallelisms(8, 4) == [
        Parallelism(1, 1),
        Parallelism(1, 2),
        Parallelism(1, 4),
        Parallelism(1, 8),
        Parallelism(2),
        Parallelism(4),
    ]
    assert parallelisms(5, 1) == [Parallelism(1, 1), Parallelism(1, 2), Parallelism(1, 4)]


def test_a_crew_is_measured_with_a_network_for_each(monkeypatch: pytest.MonkeyPatch):
    small = ["conv3x3(2, stride=4) relu gap linear(10)", "avgpool(7) linear(10)"]
    monkeypatch.setattr(gpu_side_by_side, "networks", lambda count: small[:count])
    monkeypatch.setattr(gpu_side_by_side, "BATCH", 500)

    assert images_a_second(EMBEDDED, "cpu", Parallelism(1, 2), epochs=1) > 0
    with pytest.raises(HarnessError, match=r"^a worker of 1 broke on cuda:99$"):
        images_a_second(EMBEDDED, "cuda:99", Parallelism(1), epochs=1)


def test_the_seed_style_loop_runs_on_any_device(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.throughput.SEED_STYLE_IMAGES", 64)

    with torchvision_folder(mnist_folder) as unpacked:
        assert seed_style("avgpool(7) linear(10)", 32, unpacked, 0, "cpu") > 0


def test_every_crew_stands_beside_the_best_loop_of_its_round():
    found = {
        "seed style, 0 loaders": [10.0, 10.0, 10.0],
        "seed style, 2 loaders": [20.0, 25.0, 20.0],
        "1": [100.0, 100.0, 90.0],
        "1x2": [200.0, 100.0, 180.0],
    }

    one, two = rows(found, [Parallelism(1), Parallelism(1, 2)])

    assert (one["ratio"], one["ratio_least"], one["ratio_most"]) == (4.5, 4.0, 5.0)
    assert (two["processes"], two["side_by_side"], two["images_a_second"]) == (1, 2, 180)
    assert (two["ratio"], two["seed_style"], two["seed_style_best"]) == (9.0, 20, "seed style, 2 loaders")
