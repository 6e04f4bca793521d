#!/usr/bin/env bash
# timm: DropBlock2d with drop_prob=0.1 removes 93 % of the activations of a 7x7 map.
#
# Versions: timm 1.0.31, torch 2.13.0, torchvision 0.28.0.
# Expected: drop_prob is about the fraction of activations that become zero, as in the article on DropBlock and in
#   torchvision.ops.DropBlock2d, which removes 9 to 10 % for each size of map and block.
# Observed: with drop_prob=0.1 and blocks of 7x7, the default, 93 % of a 7x7 map, 21 % of a 14x14 map and 13 % of a
#   28x28 map are zero. The rate of the block centres is computed for centres whose block lies inside the map; a 7x7 map
#   has a single such centre, but centres are drawn at all 49 positions. The mean is kept, so the few remaining
#   activations grow to 14 times the value.
# Matters: small networks have maps of 7x7 and 14x14 after one or two poolings of 28x28 images. A rate of 0.1 then acts
#   as 0.93, nothing is reported, and evaluation is not affected. Use torchvision's layer, or a block_size of 3 or less.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile torch==2.13.0 torchvision==0.28.0 numpy==2.4.6 timm==1.0.31
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch

try:
    import torchvision
except RuntimeError:  # operators of a torchvision for GPUs are absent beside a torch for CPUs; DropBlock needs none
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    import torchvision
import timm.layers

RATE = 0.1
removed = {}
for size, block in ((7, 3), (7, 7), (14, 7), (28, 7)):
    layers = {
        "timm": timm.layers.DropBlock2d(drop_prob=RATE, block_size=block),
        "torchvision": torchvision.ops.DropBlock2d(RATE, block),
    }
    for name, layer in layers.items():
        torch.manual_seed(0)
        outputs = layer.train()(torch.ones(10_000, 1, size, size))
        fraction = float((outputs == 0).float().mean())
        removed[name, size, block] = fraction
        print(
            f"{name:11} {size:2}x{size:<2} map, {block}x{block} blocks: {fraction:.3f} are zero, "
            f"the others are {float(outputs.max()):5.2f}, mean {float(outputs.mean()):.3f}"
        )
        assert abs(float(outputs.mean()) - 1) < 0.01
for (name, size, block), fraction in removed.items():
    if name == "torchvision":
        assert 0.085 < fraction < 0.105, (size, block, fraction)
assert removed["timm", 7, 7] > 0.9
assert removed["timm", 14, 7] > 0.19
assert removed["timm", 7, 3] > 0.13
assert 0.12 < removed["timm", 28, 7] < 0.14
PYTHON
