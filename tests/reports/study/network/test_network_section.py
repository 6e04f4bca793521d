from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest
import torchsummary

from harness.system.files import Workspace
from harness.training.build import build
from reports.html import layer_diagram
from reports.study.network.network_info import MOST_SECTIONS, NetworkInfo, network_infos, worth_a_section
from reports.study.network.network_section import network_section
from reports.study.networks import Network, State, networks
from reports.study.study_files import read_study
from search_spaces.catalog import PRESETS
from search_spaces.cost import analyse
from search_spaces.notation import parse_network
from search_spaces.task import MNIST


def infos(study: Any, place: Workspace) -> tuple[NetworkInfo, ...]:
    files = read_study(study.write(), place)
    return network_infos(files, networks(files))


@pytest.fixture
def answer(realistic_study: Any, place: Workspace) -> NetworkInfo:
    """The network that the realistic study has verified."""
    [found] = [info for info in infos(realistic_study, place) if info.record is not None]
    return found


def test_what_was_tested_decided_or_on_the_front_has_a_section(realistic_study: Any, place: Workspace):
    files = read_study(realistic_study.folder, place)
    of = networks(files)

    worth = worth_a_section(of)

    decided = {network.hash for network in of if network.state in (State.WINNER, State.CONFIRMED, State.REFUTED)}
    assert decided <= worth
    assert len(worth) <= MOST_SECTIONS
    assert [info.network.hash for info in network_infos(files, of)] == [item.hash for item in of if item.hash in worth]


def test_large_studies_have_fewer_sections():
    plain = Network(
        hash="",
        architecture=parse_network("gap linear(10)"),
        parameters=1,
        trial=None,
        origin="",
        state=State.REFUTED,
        validation_accuracies_pct=(),
    )
    many = [replace(plain, hash=f"{number:012x}") for number in range(2_000)]

    assert (len(worth_a_section(many[:50])), len(worth_a_section(many))) == (16, 6)


def test_the_front_has_sections_before_what_fell():
    plain = Network(
        hash="",
        architecture=parse_network("gap linear(10)"),
        parameters=1,
        trial=None,
        origin="",
        state=State.REFUTED,
        validation_accuracies_pct=(),
    )
    fallen = [replace(plain, hash=f"{number:012x}", parameters=9_000) for number in range(50)]
    ahead = replace(plain, hash="f" * 12, parameters=5, state=State.TRAINED, validation_accuracies_pct=(99.0,))

    assert ahead.hash in worth_a_section([*fallen, ahead])


def test_the_section_has_all_its_parts(answer: NetworkInfo):
    made = network_section(answer)

    for heading in ("Every layer", "Training: ", "On the test set: ", "Run it again"):
        assert f"<summary>{heading}" in made
    assert "Layers to scale" in made
    assert "kernels of the first convolution" in made
    assert "Confusion matrix: test images by their label" in made
    assert "Calibration: test images by how sure" in made
    assert f'<details id="about-{answer.network.hash}" class="about" data-n="0">' in made
    assert ' open=""' in network_section(answer, unfolded=True)


def test_the_section_says_in_how_many_poses_the_first_kernels_are_used(answer: NetworkInfo):
    turned = parse_network("conv3x3(8, poses=4) bn relu | gap linear(10)")

    assert "of the first convolution, each used in 4 poses, seed " in network_section(
        replace(answer, network=replace(answer.network, architecture=turned))
    )
    for plain in ("dwconv3x3 relu conv3x3(8, poses=4)", "res(conv3x3(1)) conv3x3(8, poses=4)"):
        first = parse_network(f"{plain} gap linear(10)")
        assert "of the first convolution, seed " in network_section(
            replace(answer, network=replace(answer.network, architecture=first))
        )


def test_eight_poses_are_not_called_rotated_only(answer: NetworkInfo):
    mirrored = parse_network("conv3x3(8, poses=8) bn relu | gap linear(10)")
    made = network_section(replace(answer, network=replace(answer.network, architecture=mirrored)))

    assert "Poses are rotated or mirrored copies of one kernel" in made
    assert "Poses are" not in network_section(answer)


def test_the_table_of_layers_is_that_of_the_analysis(answer: NetworkInfo):
    made = network_section(answer)

    rows = re.findall(
        r"<tr><th scope=\"row\"><code>(\d+)  ([^<]+)</code></th><td class=\"number\">([\dx]+)</td>"
        r"<td class=\"number\">([\d,]+)</td><td class=\"number\">([\d,]+)</td><td class=\"number\">(\d+)</td></tr>",
        made,
    )
    assert len(rows) == len(answer.analysis.layers)
    assert sum(int(row[3].replace(",", "")) for row in rows) == answer.network.parameters
    assert [int(row[5]) for row in rows] == [layer.receptive_field for layer in answer.analysis.layers]


@pytest.mark.parametrize("name", ["seed4", "seed0"])
def test_shapes_parameters_and_memory_are_those_of_torchsummary(
    realistic_study: Any, place: Workspace, capsys: pytest.CaptureFixture[str], name: str
):
    [info] = [info for info in infos(realistic_study, place) if info.record is not None]
    network = parse_network(PRESETS[name].text)
    made = network_section(
        replace(info, network=replace(info.network, architecture=network), analysis=analyse(network, MNIST))
    )

    torchsummary.summary(build(network, MNIST), (1, 28, 28), device="cpu")
    printed = capsys.readouterr().out
    theirs = re.findall(r"-\d+ +\[-1, ([\d, ]+)\] +([\d,]+)", printed)
    [megabytes] = re.findall(r"Forward/backward pass size \(MB\): ([\d.]+)", printed)

    ours = re.findall(r"</code></th><td class=\"number\">([\dx]+)</td><td class=\"number\">([\d,]+)</td>", made)
    assert len(theirs) > 10
    assert [(shape.replace("x", ", "), count) for shape, count in ours] == theirs
    [kib] = re.findall(r"forward and backward ([\d,.]+) KiB", made)
    assert float(kib.replace(",", "")) / 1024 == pytest.approx(float(megabytes), abs=0.005)


def test_commands_can_be_pasted_and_name_the_network(answer: NetworkInfo):
    (again, _), (anywhere, _), (explain, _) = answer.commands

    assert shlex.split(again) == ["harness", "verify", answer.network.hash, "--seeds", "6"]
    words = shlex.split(anywhere)
    assert parse_network(words[2]).hash == answer.network.hash
    assert words[3:] == ["--recipe", "fast", "--dataset", "mnist", "--target", "99.4", "--seeds", "6"]
    assert parse_network(shlex.split(explain)[2]).hash == answer.network.hash


def test_a_length_of_the_training_that_is_not_the_recipes_own_is_named_in_the_command(
    new_study: Any, place: Workspace, synthetic: Any
):
    study = new_study()
    study.finish(study.propose(synthetic.network(4, 8, 8), epochs=30), 50)

    [info] = infos(study, place)

    words = shlex.split(info.commands[1][0])
    assert words[3:7] == ["--recipe", "fast", "--epochs", "30"]


def test_inspections_of_other_weights_are_passed_over(realistic_study: Any, place: Workspace):
    for path in (place.runs / ".inspections").rglob("seed-*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace('"weights_sha256": "00', '"weights_sha256": "11'))

    [info] = [info for info in infos(realistic_study, place) if info.record is not None]

    assert info.kernels is None
    assert info.calibration is None
    assert "the labels of these images are not known here" in network_section(info)


@pytest.mark.parametrize(
    "text", ["conv3x3(8) bn relu | gap | linear(10)", "linear(10)", "res(conv3x3(1)) gap conv1x1(10)", "seed4"]
)
def test_the_strip_adds_up_to_the_network(text: str):
    network = parse_network(PRESETS[text].text if text in PRESETS else text)
    analysis = analyse(network, MNIST)

    found = layer_diagram.blocks(analysis)

    assert sum(block.parameters for block in found) == analysis.parameters
    assert sum(block.macs for block in found) == analysis.macs
    assert found[-1].shape == analysis.layers[-1].output_shape
    assert "nan" not in layer_diagram.draw(analyse(network, MNIST), "x")


def test_the_receptive_field_is_drawn_to_scale_and_everything_from_the_first_global_op_on():
    network = parse_network("conv3x3(8) bn relu conv3x3(8) | gap | linear(10)")

    made = layer_diagram.draw(analyse(network, MNIST), "x")

    # Two pixels of the drawing a pixel of the image: the image itself, 3, 5, then all of it twice.
    assert re.findall(r'width="(\d+)" height="\1" class="field"', made) == ["2", "6", "10", "56", "56"]
    # Maps are three pixels a pixel high: the image and two maps of 28, two flat lines.
    assert re.findall(r'height="(\d+)" class="map', made) == ["84", "84", "84", "3", "3"]


def test_the_strip_is_a_picture_a_column_so_that_a_narrow_screen_can_wrap_it():
    analysis = analyse(parse_network(PRESETS["seed4"].text), MNIST)

    made = layer_diagram.draw(analysis, "x")

    widths = [int(width) for width in re.findall(r'viewBox="0 0 (\d+) ', made)]
    # The names of the rows, the image, then the blocks.
    assert len(widths) == 2 + len(layer_diagram.blocks(analysis))
    assert max(widths) < 130
    assert made.count('aria-hidden="true"') == len(widths)
    assert 'role="img"' in made
    assert 'aria-describedby="x-strip-text"' in made


POSED = (
    "conv3x3(16, poses=8) bn(poses=8) relu | avgpool | conv1x1(8) "
    + "res(conv3x3(8, tie=a) bn) relu " * 3
    + "| gap linear(10)"
)


def test_equal_residual_sums_in_a_row_are_one_column():
    whole = analyse(parse_network(POSED), MNIST)

    columns = layer_diagram.blocks(whole)

    assert [column.times for column in columns] == [1, 1, 1, 3, 1, 1]
    assert sum(column.parameters for column in columns) == whole.parameters
    assert sum(column.macs for column in columns) == whole.macs
    assert ">res x3</text>" in layer_diagram.draw(analyse(parse_network(POSED), MNIST), "x")


def test_kernels_that_are_used_several_times_have_a_kind_of_their_own():
    kinds = [column.kind for column in layer_diagram.blocks(analyse(parse_network(POSED), MNIST))]

    assert kinds == ["shared", "plain", "kernel", "shared", "plain", "kernel"]


def test_poses_are_explained_where_a_network_has_them(answer: NetworkInfo):
    posed = parse_network(POSED)

    shown = replace(answer, network=replace(answer.network, architecture=posed), analysis=analyse(posed, MNIST))
    assert "share its weights" in network_section(shown)
    assert "share its weights" not in network_section(answer)


def test_no_words_of_the_strip_reach_into_the_next_column():
    drawn = layer_diagram.draw(analyse(parse_network(POSED), MNIST), "x")

    # Small type is some six and a half units a letter, and a column 104 wide.
    words = re.findall(r'class="(?:title )?small">([^<]*)', drawn)
    assert words
    assert max(map(len, words)) * 6.5 <= 104
