#!/usr/bin/env bash
# tonic's ToFrame with n_time_bins loses the end of a recording: with overlap, and if times have few steps per bin.
#
# Versions: tonic 1.7.0.
# Expected: "overlap 0.1 signifies that the bin will be enlarged by 10 %. Amount of bins stays the same": the bins cover
#   the recording, and without overlap each event is counted once, in whatever unit the times are.
# Observed: the distance between bins shrinks as well, by the factor 1 - overlap^2: 30 bins with overlap 0.5 end at
#   78 % of the recording, with 0.75 at 48 %; n_event_bins is the same. The length of a bin is rounded down to a whole
#   number: 160 bins of 300 ms count 53 % of the events if times are in milliseconds, and none if times are in seconds.
# Matters: spiking networks and CNNs on event cameras do not see the end of a gesture, and a search over bins and
#   overlap compares different parts of the recording; there is no message. Pass time_window, and times in microseconds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile tonic==1.7.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from tonic.slicers import slice_events_by_event_bins
from tonic.transforms import ToFrame

EVENTS = 10_000
DURATION = 300_000  # microseconds
rng = np.random.default_rng(0)
times = np.sort(rng.integers(0, DURATION, EVENTS))
columns = np.arange(EVENTS) * 100 // EVENTS  # the column of an event tells its hundredth of the recording


def recording(times):
    events = np.zeros(EVENTS, dtype=[("x", int), ("y", int), ("t", times.dtype), ("p", int)])
    events["x"] = columns
    events["t"] = times
    return events


def frames(times, **options):
    return ToFrame(sensor_size=(100, 1, 1), **options)(recording(times))


for overlap in (0.0, 0.1, 0.25, 0.5, 0.75):
    ends = []
    for option in ("n_time_bins", "n_event_bins"):
        answer = frames(times, overlap=overlap, **{option: 30})
        assert len(answer) == 30
        ends.append(int(np.flatnonzero(answer.sum(axis=(0, 1, 2))).max()) + 1)
    print(f"30 bins, overlap {overlap}: frames end at {ends} % of the recording")
    expected = 100 * (1 + overlap) * (1 + 29 * (1 - overlap)) / 30
    assert all(abs(end - min(expected, 100)) < 3 for end in ends), (ends, expected)
events_per_bin = slice_events_by_event_bins(recording(times), 30, 0.75)
assert sum(len(part) for part in events_per_bin) > 1.7 * EVENTS, "the bins themselves are enlarged as stated"

units = {"microseconds": times, "milliseconds": times // 1000, "seconds": times / 1e6}
for bins in (30, 100, 160):
    counted = {unit: int(frames(values, n_time_bins=bins).sum()) / EVENTS for unit, values in units.items()}
    print(f"{bins} bins without overlap, events counted: {counted}")
    assert counted["microseconds"] > 0.99
    assert counted["seconds"] == 0
assert 0.5 < counted["milliseconds"] < 0.56, counted
assert frames(units["seconds"], time_window=0.3 / 160, include_incomplete=True).sum() > 0.99 * EVENTS
PYTHON
