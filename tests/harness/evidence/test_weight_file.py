"""Files of weights: which names they have, and what is refused of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from harness.evidence.record import Record
from harness.evidence.weight_file import kept_indices, path_of, read, read_recorded
from harness.system.errors import ContentError
from harness.training.build import Network, build
from harness.training.weights import to_safetensors
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

NETWORK = "conv3x3(4) bn relu | conv3x3(4, tie=t1) bn res(conv3x3(4, tie=t1) bn) | gap | linear(10)"


def learned(seed: int) -> Network:
    torch.manual_seed(seed)
    return build(parse_network(NETWORK), MNIST)


def digest(network: Network) -> str:
    """The digest of a record: all floating tensors of torch's state, each as often as it has a name."""
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


@pytest.fixture
def evidence(new_record: Callable[..., Record]) -> Record:
    """A record of the seeds 2 to 5, with the digests of networks of these seeds."""
    made = new_record([60] * 4, NETWORK, first=2)
    seeds = tuple(replace(run, weights_sha256=digest(learned(run.index))) for run in made.seeds)
    return replace(made, seeds=seeds)


def keep(folder: Path, evidence: Record, index: int, content: bytes | None = None) -> Path:
    path = path_of(folder, evidence, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or to_safetensors(learned(index), {"architecture": NETWORK}))
    return path


def test_a_file_is_named_by_network_recipe_data_set_and_seed_and_not_by_the_target(evidence: Record, tmp_path: Path):
    path = path_of(tmp_path, evidence, 3)

    row = f"{evidence.hash}-{evidence.recipe_hash}-mnist"
    assert path == tmp_path / "weights" / row / "seed-0003.safetensors"
    assert path_of(tmp_path, replace(evidence, target_pct=98.0), 3) == path
    assert path_of(tmp_path, replace(evidence, dataset="kmnist"), 3) != path


def test_what_is_read_is_torch_s_state_with_a_tied_kernel_once(evidence: Record, tmp_path: Path):
    network = learned(3)

    found = read(keep(tmp_path, evidence, 3))

    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    assert found.state == tuple(state)
    assert found.tied == {"ops.5.ops.0.weight": "ops.3.weight"}
    assert found.kept.keys() == state.keys() - found.tied.keys()
    assert all(np.array_equal(value, state[name].numpy()) for name, value in found.kept.items())
    assert found.about == {"architecture": NETWORK}
    assert found.sha256 == digest(network)


def test_weights_that_are_those_of_the_record_are_read(evidence: Record, tmp_path: Path):
    keep(tmp_path, evidence, 4)

    assert read_recorded(tmp_path, evidence, 4).sha256 == evidence.seeds[2].weights_sha256


def test_one_changed_bit_is_found(evidence: Record, tmp_path: Path):
    path = keep(tmp_path, evidence, 4)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(ContentError, match="the file was changed, or belongs to another training") as caught:
        read_recorded(tmp_path, evidence, 4)

    assert (evidence.seeds[2].weights_sha256 or "")[:12] in caught.value.message


def test_the_weights_of_another_seed_are_refused(evidence: Record, tmp_path: Path):
    keep(tmp_path, evidence, 4, to_safetensors(learned(5), {}))

    with pytest.raises(ContentError, match=digest(learned(5))[:12]):
        read_recorded(tmp_path, evidence, 4)


@pytest.mark.parametrize("about", [{}, {"architecture": NETWORK.replace("bn relu", "relu bn")}])
def test_the_right_weights_for_another_order_of_ops_are_refused(
    about: dict[str, str], evidence: Record, tmp_path: Path
):
    keep(tmp_path, evidence, 4, to_safetensors(learned(4), about))

    with pytest.raises(ContentError, match="states its architecture as "):
        read_recorded(tmp_path, evidence, 4)


@pytest.mark.parametrize("name", ["pixel_mean", "pixel_deviation", "parameters"])
def test_a_changed_word_of_the_file_about_itself_is_refused(name: str, evidence: Record, tmp_path: Path):
    keep(tmp_path, evidence, 4, to_safetensors(learned(4), {"architecture": NETWORK, name: "1"}))

    with pytest.raises(ContentError, match=f"states its {name} as 1, but the record has "):
        read_recorded(tmp_path, evidence, 4)


def test_a_changed_digest_in_the_file_is_refused(evidence: Record, tmp_path: Path):
    keep(tmp_path, evidence, 4, to_safetensors(learned(4), {"architecture": NETWORK, "weights_sha256": "1"}))

    with pytest.raises(ContentError, match=f"weights_sha256 as 1, but its weights have {digest(learned(4))}"):
        read_recorded(tmp_path, evidence, 4)


def test_a_record_that_knows_no_digest_vouches_for_no_weights(evidence: Record, tmp_path: Path):
    keep(tmp_path, evidence, 2)
    silent = replace(evidence, seeds=(replace(evidence.seeds[0], weights_sha256=None),))

    with pytest.raises(ContentError, match="those of the record are not known"):
        read_recorded(tmp_path, silent, 2)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ([], "none are kept"),
        ([4], "kept are those of seed 4"),
        ([2, 4], "kept are those of seeds 2, 4"),
        ([2, 3, 4], "kept are those of seeds 2 to 4"),
        ([2, 3, 5], "kept are those of seeds 2, 3, 5"),
    ],
)
@pytest.mark.parametrize("wanted", [9, -1])
def test_what_is_not_kept_is_said_with_what_is(
    kept: list[int], told: str, wanted: int, evidence: Record, tmp_path: Path
):
    for index in kept:
        keep(tmp_path, evidence, index)

    assert kept_indices(tmp_path, evidence) == kept
    with pytest.raises(ContentError, match=f"^no weights of seed {wanted} of {evidence.hash} .*: {told}$"):
        read_recorded(tmp_path, evidence, wanted)


def test_a_file_of_a_seed_that_is_not_on_record_is_not_counted(evidence: Record, tmp_path: Path):
    keep(tmp_path, evidence, 9)

    assert kept_indices(tmp_path, evidence) == []
    with pytest.raises(ContentError, match="no weights of seed 9"):
        read_recorded(tmp_path, evidence, 9)


ARRAY = {"a": np.zeros(2, dtype=np.float32)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no weights",
        save(ARRAY),
        save(ARRAY, {"harness": "{"}),
        save(ARRAY, {"harness": "[]"}),
        save(ARRAY, {"harness": json.dumps({"state": ["a"]})}),
        save(ARRAY, {"harness": json.dumps({"state": ["a"], "tied": [1]})}),
        save(ARRAY, {"harness": json.dumps({"state": [["a"]], "tied": {}})}),
        save(ARRAY, {"harness": json.dumps({"state": 3, "tied": {}})}),
    ],
    ids=["empty", "text", "bare", "cut", "list", "no ties", "odd ties", "odd names", "no names"],
)
def test_a_file_that_this_program_has_not_written_is_refused_in_one_line(content: bytes, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)

    with pytest.raises(ContentError, match=r"^cannot read the weights .*net\.safetensors: ") as caught:
        read(path)

    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("about", "names"),
    [
        ({"state": ["a", "b"], "tied": {}}, "b"),
        ({"state": [], "tied": {}}, "a"),
        ({"state": ["b"], "tied": {}}, "a, b"),
    ],
)
def test_names_that_are_not_those_of_the_arrays_are_refused(about: dict[str, Any], names: str, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(save(ARRAY, {"harness": json.dumps({"tied": {}, **about})}))

    with pytest.raises(ContentError, match=f"do not fit their list of names: {names}$"):
        read(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ContentError, match=r"^cannot read the weights "):
            read(path)
