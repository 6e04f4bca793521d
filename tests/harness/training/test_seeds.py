from __future__ import annotations

import hashlib

import pytest

from harness.training.result import PROTOCOL_VERSION, Purpose, derive_seed


def test_the_seeds_of_a_verification_do_not_change():
    # SHA-256 of "1|d5e9c2abeb4c|d0a55561f5cb|verify|0", its first six bytes: records hold such numbers.
    assert PROTOCOL_VERSION == 1
    assert derive_seed("d5e9c2abeb4c", "d0a55561f5cb", Purpose.VERIFY, 0) == int(
        hashlib.sha256(b"1|d5e9c2abeb4c|d0a55561f5cb|verify|0").hexdigest()[:12], 16
    )
    assert derive_seed("d5e9c2abeb4c", "d0a55561f5cb", Purpose.VERIFY, 0) == 134737750845096


@pytest.mark.parametrize("purpose", Purpose)
def test_only_runs_of_a_search_depend_on_the_seed_of_the_study(purpose: Purpose):
    seeds = {derive_seed("a", "b", purpose, 0, study_seed) for study_seed in (0, 1, 2)}
    assert len(seeds) == (3 if purpose in (Purpose.SEARCH, Purpose.CONFIRM) else 1)


def test_seeds_differ_by_network_recipe_purpose_and_index_and_fit_in_48_bits():
    seeds = [
        derive_seed(network, recipe, purpose, index)
        for network in ("aa", "ab")
        for recipe in ("aa", "ba")
        for purpose in Purpose
        for index in range(20)
    ]

    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**48 for seed in seeds)
    # Spread over the whole range: the largest of 400 is below half of it once in 2**400 times.
    assert max(seeds) > 2**47


def test_a_json_reader_that_keeps_doubles_keeps_a_seed():
    seed = derive_seed("a", "b", Purpose.TRAIN, 3)
    assert int(float(seed)) == seed
