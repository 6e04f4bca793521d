#!/usr/bin/env bash
# CutMix: MONAI returns the label of the other image alone, and Keras returns a share that is not the share of pixels.
#
# Versions: monai 1.6.1, keras 3.15.1, torch 2.14.1, torchvision 0.29.1.
# Expected: the label is mixed by the share of pixels (Yun et al. 2019, https://arxiv.org/abs/1905.04899, section 3.1),
#   as in torchvision.
# Observed: MONAI treats the one-hot label as an image without height and width and replaces all of the label: an image
#   that keeps 90 % of its pixels has the label of the other image with weight 1. MixUp raises ValueError for one-hot
#   labels. Keras takes the area of a box with real corners, so the share is wrong by up to 0.12 for images of 16x16
#   and 0.07 for 28x28.
# Matters: with MONAI a network learns mostly wrong labels, without a message. Compute the labels from the images, or
#   use torchvision.transforms.v2.CutMix.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile monai==1.6.1 keras==3.15.1 torch==2.14.1 torchvision==0.29.1 \
    numpy==2.4.6
cd "$folder"
export KERAS_BACKEND=torch OMP_NUM_THREADS=1
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log" >&2; exit 1; }
import keras
import monai.transforms
import numpy as np
import torch
from torchvision.transforms import v2

CLASSES = 6  # image i has ones in channel i only, so the mean of channel i is the share of the pixels of image i
SEEDS = 60
LABELS = torch.eye(CLASSES)


def batch(size):
    """Return a batch with an image of each class, channels first."""
    return LABELS[:, :, None, None].expand(-1, -1, size, size).clone()


def torchvision_cutmix(images, seed):
    """Return mixed images and labels of torchvision."""
    torch.manual_seed(seed)
    return v2.CutMix(num_classes=CLASSES)(images, torch.arange(CLASSES))


def monai_cutmix(images, seed):
    """Return mixed images and labels of MONAI."""
    transform = monai.transforms.CutMix(batch_size=CLASSES, alpha=1.0)
    transform.set_random_state(seed)
    return transform(images, LABELS.clone())


def keras_cutmix(images, seed):
    """Return mixed images and labels of Keras."""
    layer = keras.layers.CutMix(seed=seed, data_format="channels_first")
    mixed = layer({"images": images, "labels": LABELS.clone()}, training=True)
    return mixed["images"], mixed["labels"]


def compare(cutmix, size):
    """Return the shares of pixels and the labels for each seed, image and class, and the largest difference."""
    results = [cutmix(batch(size), seed) for seed in range(SEEDS)]
    pixels = torch.stack([torch.as_tensor(images).mean((2, 3)) for images, _ in results])
    labels = torch.stack([torch.as_tensor(labels) for _, labels in results])
    own = torch.arange(CLASSES)
    difference = (pixels - labels).abs().amax().item()
    foreign_pixels, foreign_label = (1 - shares[:, own, own].mean().item() for shares in (pixels, labels))
    print(f"{cutmix.__name__:18} {size}x{size}: largest difference {difference:.3f}, "
          f"mean share of the other image {foreign_pixels:.3f}, mean weight of its label {foreign_label:.3f}")
    return pixels, labels, difference


for size in (16, 28):
    assert compare(torchvision_cutmix, size)[2] < 1e-6
    pixels, labels, difference = compare(monai_cutmix, size)
    assert difference > 0.95 and set(labels.unique().tolist()) == {0.0, 1.0}
    kept = pixels.diagonal(dim1=1, dim2=2)
    wrong = (kept > 0.9) & (kept < 1) & (labels.diagonal(dim1=1, dim2=2) == 0)
    print("  MONAI: images with more than 90 % of their pixels and weight 0 for their label:", int(wrong.sum()))
    assert wrong.sum() > 20
    _, _, difference = compare(keras_cutmix, size)
    assert (0.10 if size == 16 else 0.05) < difference < 0.15

try:
    monai.transforms.MixUp(batch_size=CLASSES, alpha=1.0)(batch(16), LABELS.clone())
except ValueError as error:
    print("MONAI, MixUp with one-hot labels:", error)
else:
    raise AssertionError("MixUp accepts one-hot labels")
PYTHON
