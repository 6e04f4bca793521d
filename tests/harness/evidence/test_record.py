"""Records and weight files: round trips, and contents that are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from harness.evidence import record
from harness.evidence.record import Record, SeedRun, read_recorded, read_weights
from harness.spaces.network import MNIST
from harness.spaces.notation import parse_network
from harness.system.errors import ContentError
from harness.training.result import Epoch, Purpose, Status
from harness.training.run import to_safetensors
from harness.training.torch_network import TorchNetwork, build
from tests.factories import make_record, make_result, make_summary


def test_record_round_trip_is_exact(tmp_path: Path):
    evidence = make_record([55, 60], name="a 'name', \u05d0", search_summary=make_summary(), assumed=("momentum",))

    record.write(tmp_path, evidence)

    assert record.read_all(tmp_path) == [evidence]


def test_first_result_of_seed_is_kept(tmp_path: Path):
    record.write(tmp_path, make_record([55]))
    record.write(tmp_path, make_record([40]))

    [evidence] = record.read_all(tmp_path)

    assert evidence.seeds[0].test_errors == 55
    assert evidence.with_seeds(make_record([40]).seeds[0]) == evidence


def test_concurrently_written_seeds_are_all_kept(tmp_path: Path):
    records = [make_record([50 + index], first=index) for index in range(12)]

    # The lock belongs to an open file, so threads behave as processes.
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda made: record.write(tmp_path, made), records))

    [evidence] = record.read_all(tmp_path)
    assert [run.index for run in evidence.seeds] == list(range(12))
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == [".lock"]


def write_edited(folder: Path, base: Record, change: Callable[[dict[str, Any]], None]) -> Path:
    record.write(folder, base)
    path = base.path(folder)
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d.update(parameters=900), "parameters"),
        (lambda d: d.update(macs=1), "macs"),
        (lambda d: d.update(hash="0" * 12), "hash"),
        (lambda d: d["recipe"].update(epochs=99), "recipe_hash"),
        (lambda d: d.update(architecture="conv3x3(8) | gap | linear(10)"), "hash"),
        (lambda d: d.update(architecture=d["architecture"] + " "), "architecture"),
        (lambda d: d.update(architecture="conv3x3("), "architecture"),
        (lambda d: d.update(target_pct=98.0), "file name"),
        (lambda d: d["seeds"][0].update(test_errors=40), "test_errors of seed 0"),
        (lambda d: d["seeds"][0].update(wrong=d["seeds"][0]["wrong"][::-1]), "wrong images of seed 0"),
        (lambda d: d["seeds"][0]["wrong"].__setitem__(0, [99_999, 1]), "wrong images of seed 0"),
        (lambda d: d["seeds"][0]["wrong"][0].__setitem__(1, 99), "predicted classes of seed 0"),
        (lambda d: [seed.update(weights_sha256="ab" * 32) for seed in d["seeds"]], "number of different weights"),
        (lambda d: d["seeds"][0].update(best_test_errors=56), "best_test_errors of seed 0"),
        (lambda d: d["seeds"][1].update(seed=7), "value of seed 1"),
        (lambda d: d["seeds"].reverse(), "order of seeds"),
        (lambda d: d["seeds"].append(d["seeds"][0]), "order of seeds"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d.pop("macs"), "macs"),
        (lambda d: d["seeds"][0].update(status="splendid"), "seeds.0.status"),
        (lambda d: d.update(schema_version=2), "schema_version"),
        (lambda d: d.update(parameters="12088"), "parameters"),
    ],
)
def test_edited_record_is_refused_with_field_name(tmp_path: Path, change: Callable[[dict[str, Any]], None], field: str):
    path = write_edited(tmp_path, make_record([55, 60]), change)

    damage: list[ContentError] = []
    assert record.read_all(tmp_path, damage) == record.read_all(tmp_path) == []
    assert str(path) in damage[0].message
    assert field in damage[0].message


@pytest.mark.parametrize("content", ["", "[]", "null", "{", "\ufeff{}", '{"schema_version": 1}'])
def test_file_that_is_not_a_record_is_refused(tmp_path: Path, content: str):
    (tmp_path / "a-b.json").write_text(content, encoding="utf-8")

    evidence = make_record([55, 60])
    record.write(tmp_path, evidence)

    damage: list[ContentError] = []
    assert record.read_all(tmp_path, damage) == [evidence]
    assert len(damage) == 1


def test_seed_run_keeps_best_epoch():
    history = tuple(Epoch(epoch, 0.1, None, 1.0, test_errors=count) for epoch, count in ((1, 80), (2, 58), (3, 61)))
    result = make_result(
        purpose=Purpose.VERIFY,
        seed_index=4,
        status=Status.DIVERGED,
        test_errors=2,
        test_size=10_000,
        wrong=((5, 1), (9, 0)),
        history=history,
    )

    run = SeedRun.of(result, attempt=7)

    assert (run.index, run.test_errors, run.best_test_errors, run.attempt) == (4, 2, 58, 7)
    assert run.accuracy_pct == 99.98
    assert run.status is Status.DIVERGED


# Weights ------------------------------------------------------------------------------------------------------------

NETWORK = "conv3x3(4) bn relu | conv3x3(4, tie=t1) bn res(conv3x3(4, tie=t1) bn) | gap | linear(10)"


def network_of_seed(seed: int) -> TorchNetwork:
    torch.manual_seed(seed)
    return build(parse_network(NETWORK), MNIST)


def digest(network: TorchNetwork) -> str:
    """Return the digest as in records: of all floating-point tensors in ``state_dict``, tied tensors once per name."""
    tensors = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()


@pytest.fixture
def evidence() -> Record:
    """A record of the seeds 2 to 5, with the digests of the networks of ``network_of_seed``."""
    base = make_record([60] * 4, NETWORK, first=2)
    seeds = tuple(replace(run, weights_sha256=digest(network_of_seed(run.index))) for run in base.seeds)
    return replace(base, seeds=seeds)


def write_weights(folder: Path, evidence: Record, index: int, content: bytes | None = None) -> Path:
    path = evidence.weights_path(folder, index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or to_safetensors(network_of_seed(index), {"architecture": NETWORK}))
    return path


def test_read_weights_returns_torch_state_with_tied_kernel_once(evidence: Record, tmp_path: Path):
    network = network_of_seed(3)

    weights = read_weights(write_weights(tmp_path, evidence, 3))

    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    assert weights.state == tuple(state)
    assert weights.tied == {"ops.5.ops.0.weight": "ops.3.weight"}
    assert weights.arrays.keys() == state.keys() - weights.tied.keys()
    assert all(np.array_equal(value, state[name].numpy()) for name, value in weights.arrays.items())
    assert weights.about == {"architecture": NETWORK}
    assert weights.sha256 == digest(network)


@pytest.mark.parametrize(
    ("seed", "metadata"),
    [
        (5, {"architecture": NETWORK}),
        (4, {}),
        (4, {"architecture": NETWORK.replace("bn relu", "relu bn")}),
        *((4, {"architecture": NETWORK, name: "1"}) for name in ("pixel_mean", "parameters", "weights_sha256")),
    ],
)
def test_weights_that_differ_from_record_are_refused(
    seed: int, metadata: dict[str, str], evidence: Record, tmp_path: Path
):
    write_weights(tmp_path, evidence, 4)
    assert read_recorded(tmp_path, evidence, 4).sha256 == evidence.seeds[2].weights_sha256
    without_digest = replace(evidence, seeds=(replace(evidence.seeds[2], weights_sha256=None),))
    with pytest.raises(ContentError):
        read_recorded(tmp_path, without_digest, 4)
    write_weights(tmp_path, evidence, 4, to_safetensors(network_of_seed(seed), metadata))

    with pytest.raises(ContentError):
        read_recorded(tmp_path, evidence, 4)


ARRAY = {"a": np.zeros(2, dtype=np.float32)}


def file_with_metadata(metadata: object) -> bytes:
    return save(ARRAY, {"harness": json.dumps(metadata)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no weights",
        save(ARRAY),
        *(save(ARRAY, {"harness": about}) for about in ("{", "[]")),
        *map(
            file_with_metadata,
            [
                {"state": ["a"]},
                {"state": ["a"], "tied": [1]},
                {"state": [["a"]], "tied": {}},
                {"state": 3, "tied": {}},
                {"state": ["a", "b"], "tied": {}},
                {"state": [], "tied": {}},
            ],
        ),
    ],
)
def test_foreign_weight_file_is_refused_in_one_line(content: bytes, tmp_path: Path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)

    with pytest.raises(ContentError) as caught:
        read_weights(path)

    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
