#!/usr/bin/env bash
# torchdata: after a resume with a seeded generator, StatefulDataLoader shuffles the next epoch in another order.
#
# Versions: torchdata 0.11.0, torch 2.13.0.
# Expected: a loader with shuffle=True and generator=torch.Generator().manual_seed(0), restored with load_state_dict in
#   the second batch of an epoch, goes on as an uninterrupted loader: the rest of this epoch and all later epochs.
# Observed: the rest of the epoch is equal. The order of the next epochs is not, nor after a state that was saved at the
#   end of an epoch. With a sampler that owns the generator, a state of the middle of an epoch restores the later
#   epochs, too; a state of the end does not.
# Matters: a search that resumes trainings from checkpoints does not have the results of an uninterrupted search with
#   the same seeds. Pass sampler=RandomSampler(images, generator=...) and save in the middle of an epoch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==2.4.6 torchdata==0.11.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch.utils.data import RandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

IMAGES = list(range(20))


def loader_generator():
    generator = torch.Generator().manual_seed(0)
    return StatefulDataLoader(IMAGES, batch_size=2, shuffle=True, generator=generator)


def sampler_generator():
    sampler = RandomSampler(IMAGES, generator=torch.Generator().manual_seed(0))
    return StatefulDataLoader(IMAGES, batch_size=2, sampler=sampler)


def epoch(loader):
    return [image for batch in loader for image in batch.tolist()]


equal = {}
for create in (loader_generator, sampler_generator):
    whole = create()
    orders = [epoch(whole) for _ in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    first = create()
    batches = iter(first)
    for _ in range(2):
        next(batches)
    resumed = create()
    resumed.load_state_dict(first.state_dict())
    rest = epoch(resumed)
    later = [epoch(resumed) for _ in range(2)]
    finished = create()
    epoch(finished)
    restored = create()
    restored.load_state_dict(finished.state_dict())
    after_end = [epoch(restored) for _ in range(2)]
    equal[create.__name__] = rest == orders[0][4:], later == orders[1:], after_end == orders[1:]
    print(f"{create.__name__}: equal rest, later epochs, epochs after a state of the end: {equal[create.__name__]}")
assert equal["loader_generator"] == (True, False, False), equal
assert equal["sampler_generator"] == (True, True, False), equal
PYTHON
