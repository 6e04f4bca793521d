#!/usr/bin/env bash
# grain: with drop_remainder=False the DataLoader leaves out the remainder, and repeats small shards in place of it.
#
# Versions: grain 0.2.18, NumPy 2.4.6.
# Expected: ShardOptions(drop_remainder=False) gives the remainder to the first shards, so that all shards of an epoch
#   together contain each record once, as MapDataset with the slice [shard::count] does.
# Observed: each shard of IndexSampler yields a share of the records rounded down. Of 10 records in 3 shards an epoch
#   lacks one, of 7 records in 4 shards it lacks three, although the shards own 2, 2, 2 and 1 records. In 5 epochs of
#   7 records the last record appears 8 times and the rest 4 times, and a shard begins its epochs at different times.
# Matters: a test set that is divided over processes is evaluated in part, without a message. Slice a MapDataset, or pad
#   the records to a multiple of the number of shards.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile grain==0.2.18 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
from collections import Counter

import grain


def sampled(records, shards, epochs, drop_remainder=False):
    """Return the records that each shard of a DataLoader yields."""
    results = []
    for shard in range(shards):
        options = grain.sharding.ShardOptions(shard, shards, drop_remainder=drop_remainder)
        sampler = grain.samplers.IndexSampler(records, shard_options=options, num_epochs=epochs, seed=0)
        results.append(list(grain.DataLoader(data_source=range(records), sampler=sampler, worker_count=0)))
    return results


for records, shards, lost in ((10, 3, 1), (7, 4, 3), (1000, 8, 0)):
    loader = sampled(records, shards, epochs=1)
    sliced = [list(grain.MapDataset.range(records)[shard::shards]) for shard in range(shards)]
    print(f"{records} records, {shards} shards: lengths with DataLoader {list(map(len, loader))}, "
          f"with slices {list(map(len, sliced))}")
    if records < 100:
        print("  DataLoader", loader, "slices", sliced)
    assert sorted(sum(sliced, [])) == list(range(records))
    assert len(set(sum(loader, []))) == records - lost

loader = sampled(7, 4, epochs=5)
counts = Counter(sum(loader, []))
print("five epochs of 7 records in 4 shards:", loader, "times of each record:", dict(sorted(counts.items())))
assert counts == {**dict.fromkeys(range(6), 4), 6: 8}
dropped = sampled(7, 4, epochs=5, drop_remainder=True)
print("the same with drop_remainder=True:", dropped)
assert set(map(len, dropped)) == {5}
PYTHON
