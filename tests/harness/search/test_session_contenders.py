"""The networks that a search asks about after each event: all that matter, and few that do not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.search import loop as exploration
from harness.search import race, session
from harness.search.loop import poll
from harness.search.nearest_miss import nearest_miss
from harness.search.session import Session
from tests.harness import scripted
from tests.harness.raced import THRESHOLD, candidate, result
from tests.harness.scripted import Made, Trainer


def test_settled_networks_are_left_out(trainer: Trainer, tmp_path: Path):
    networks = [Made(4, first=None), Made(5, first=90.0), Made(6), Made(7, fresh=(99.4, 99.4)), Made(8, fresh=(90.0,))]

    assert list(scripted.opened(tmp_path, networks).contenders) == [0, 2, 3]


def test_a_settled_network_comes_back_when_seeds_that_were_in_flight_let_it_stand(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(20, fresh=(98.5,))])
    network = opened.candidates[0]
    assert opened.contenders == {}

    network.fresh += [result(40, index=index) for index in (1, 2, 3)]
    session.update_contenders(opened, network)

    assert opened.contenders == {0: network}


@pytest.mark.parametrize("seed", range(5))
def test_no_answer_of_a_race_changes_when_it_is_asked_of_the_contenders_alone(
    seed: int, trainer: Trainer, tmp_path: Path
):
    rng, opened = random.Random(seed), scripted.opened(tmp_path, [])
    known = opened.candidates
    for _ in range(300):
        if not known or rng.random() < 0.4:
            changed = candidate(first=None, trial=len(known), parameters=rng.randrange(100, 3_000))
            known[len(known)] = changed
        else:
            changed = rng.choice(list(known.values()))
            errors = round(rng.gauss(95, 12))
            if changed.first is None:
                changed.first = candidate(first=errors).first
            elif rng.random() < 0.2:
                changed.repeats += 1
            else:
                changed.fresh = [*changed.fresh, result(errors, index=len(changed.fresh))]
        session.update_contenders(opened, changed)
        every, some = list(known.values()), list(opened.contenders.values())

        assert race.final_order(some, THRESHOLD) == race.final_order(every, THRESHOLD)
        assert session.smallest_standing(opened) is race.smallest_standing(every, THRESHOLD)
        assert race.next_to_confirm(some, THRESHOLD, 5_000, {}) is race.next_to_confirm(every, THRESHOLD, 5_000, {})
    assert len(opened.contenders) < len(known)


@pytest.mark.parametrize("workers", [1, 20])
def test_what_a_search_shows_is_what_all_of_its_networks_say(
    workers: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: set[str] = set()

    def checked(found: Session, seconds: float = 0.5) -> None:
        poll(found, seconds)
        every, threshold_pct = list(found.candidates.values()), found.config.threshold_pct
        standing = race.smallest_standing(every, threshold_pct)
        assert session.smallest_standing(found) is standing
        assert found.nearest == (nearest_miss(every, threshold_pct) if standing is None else None)
        seen.add("standing" if standing else "nearest" if found.nearest else "neither")

    monkeypatch.setattr(exploration, "poll", checked)
    config = scripted.config(sampler="surrogate")

    scripted.run(tmp_path, config, scripted.effort(workers=workers, trials=12))
    scripted.run(tmp_path, config, scripted.effort(workers=workers, trials=24))

    assert seen == {"neither", "nearest", "standing"}
