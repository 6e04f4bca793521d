"""Evaluate a file of records/weights on the test images of MNIST. Requires only torch, numpy and safetensors.

    python examples/evaluate_plain.py records/weights/ROW/seed-0000.safetensors DATA [records/ROW.json]

DATA is a folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. With a record, the wrongly classified
images and the predicted classes are compared with the record; the exit code is 1 if they differ. The weights are not
compared; `harness evaluate` also checks the hash of the weights.
"""

import gzip
import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file


def posed(kernel, poses):
    """Return the rotated and mirrored copies of a kernel: (out, in, k, k) -> (out * poses, in, k, k)."""

    def after(second, first):  # composition of two poses; 4 to 7 mirror before the rotation
        if poses < 8:
            return (first + second) % poses
        turn = second % 4 + (-(first % 4) if second >= 4 else first % 4)
        return turn % 4 + 4 * ((first >= 4) != (second >= 4))

    found = []
    # Rotations are counterclockwise. The channels of an input with poses are permuted accordingly.
    for pose in range(poses):
        seen = kernel
        if kernel.shape[1] > 1:
            order = [next(f for f in range(poses) if after(pose, f) == place) for place in range(poses)]
            seen = kernel.unflatten(1, (-1, poses))[:, :, order].flatten(1, 2)
        seen = seen.flip(3) if pose >= 4 else seen
        found.append(torch.rot90(seen, pose * (2 if poses == 2 else 1), (2, 3)))
    return torch.stack(found, 1).flatten(0, 1)


def ops(text):
    """Split "conv3x3(8, bias) bn | res(...)" into pairs (name, text in the parentheses)."""
    while text := text.strip(" |"):
        name = re.match(r"\w+", text)[0]
        end = len(name)
        if text[end : end + 1] == "(":
            depth = 1
            while depth:
                end += 1
                depth += {"(": 1, ")": -1}.get(text[end], 0)
            yield name, text[len(name) + 1 : end]
            end += 1
        else:
            yield name, ""
        text = text[end:]


def run(x, text, weights, prefix="ops."):
    """Return the output of the ops for x, a tensor (images, channels, rows, columns)."""
    for number, (name, inside) in enumerate(ops(text)):
        w = {key.removeprefix(f"{prefix}{number}."): value for key, value in weights.items()}
        given = {key: int(value) for key, value in re.findall(r"(pad|stride|groups|poses)=(\d+)", inside)}
        poses, size = given.get("poses", 1), int((re.match(r"\d+", inside) or [2])[0])
        if name == "res":
            x = x + run(x, inside, weights, f"{prefix}{number}.ops.")
        elif "conv" in name:
            kernel = posed(w["weight"], poses)
            longest = max(kernel.shape[2:])  # shorter edges have no padding
            pad = [given.get("pad", (edge - 1) // 2) if edge == longest else 0 for edge in kernel.shape[2:]]
            bias = w["bias"].repeat_interleave(poses) if "bias" in w else None
            groups = x.shape[1] // kernel.shape[1]
            x = F.conv2d(x, kernel, bias, given.get("stride", 1), pad, groups=groups)
        elif name == "bn":
            scale, shift = (w[part].repeat_interleave(poses) if part in w else None for part in ("weight", "bias"))
            alike = poses if "shared" in inside else 1
            mean, variance = (w[part].repeat_interleave(alike) for part in ("running_mean", "running_var"))
            x = F.batch_norm(x, mean, variance, scale, shift)
        elif name in ("maxpool", "avgpool"):
            x = {"maxpool": F.max_pool2d, "avgpool": F.avg_pool2d}[name](x, size)
        elif name == "relu":
            x = F.relu(x)
        elif name == "gap":
            x = x.mean((2, 3), keepdim=True)
        elif name == "poselinear":
            by_channel, by_pose = w["weight"][:, :-poses, None], w["weight"][:, None, -poses:]
            x = F.linear(x.flatten(1), (by_channel * (1 + by_pose)).flatten(1), w["bias"])
        elif name == "linear":
            x = F.linear(x.flatten(1), w["weight"], w["bias"])
        elif "dropout" not in name:
            raise SystemExit(f"unsupported op: {name}")
    return x


def idx(data, kind, header):
    """Return the bytes of an MNIST test file without the header."""
    found = next(Path(data).rglob(f"t10k-{kind}*.gz"), None) or sys.exit(f"{data} has no t10k-{kind}*.gz")
    packed = found.read_bytes()
    return torch.from_numpy(np.frombuffer(gzip.decompress(packed), np.uint8, offset=header).copy())


def main(path, data, record=None):
    """Print the number of test errors of a weights file, and compare the errors with the record."""
    about = json.loads(safe_open(path, "pt").metadata()["harness"])
    of = json.loads(Path(record).read_text()) if record else about
    kept = load_file(path)
    # Compute the hash and the number of parameters from the content of the file, not from the metadata.
    about["hash"] = hashlib.sha256(about["architecture"].replace(" |", "").encode()).hexdigest()[:12]
    about["parameters"] = sum(value.numel() for name, value in kept.items() if ".running_" not in name)
    for name in ("hash", "parameters", "architecture", "recipe_hash", "dataset"):
        if of[name] != about[name]:
            sys.exit(f"{name} differs: {of[name]} in the record, {about[name]} in the weights")
    weights = kept | {name: kept[first] for name, first in about["tied"].items()}
    pixels, labels = idx(data, "images", 16).reshape(-1, 1, 28, 28), idx(data, "labels", 8)
    images = (pixels / 255 - float(about["pixel_mean"])) / float(about["pixel_deviation"])
    with torch.inference_mode():
        said = torch.cat([run(part, about["architecture"], weights).flatten(1).argmax(1) for part in images.split(500)])
    wrong = [[index, int(said[index])] for index in (said != labels).nonzero().flatten().tolist()]
    print(f"{about['hash']}, seed {about['seed_index']}, errors: {len(wrong)} of {len(labels)} test images")
    if record:
        recorded = next(run["wrong"] for run in of["seeds"] if run["index"] == int(about["seed_index"]))
        if wrong != recorded:
            sys.exit(f"NOT as recorded ({len(recorded)} errors)")
        print("the same images and classes as recorded")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or not all(Path(path).exists() for path in sys.argv[1:]):
        sys.exit(f"a path is missing or does not exist\n{__doc__}")
    main(*sys.argv[1:])
