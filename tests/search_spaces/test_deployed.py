"""What an integer deployment ships and holds, against a walk along the graph that torch traces of the built network."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks import latency
from harness.training.modules import build
from search_spaces.catalog import PRESETS, space
from search_spaces.modules import FastDropout
from search_spaces.network import MNIST, Architecture, Task, analyse
from search_spaces.notation import parse_network
from search_spaces.space import draw_uniform

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.PixelUnshuffle)
WEIGHTED = (nn.Conv2d, nn.Linear)


class _Leaves(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return not isinstance(module, nn.Sequential) and not hasattr(module, "ops")


def _traced(architecture: Architecture, task: Task) -> tuple[dict[fx.Node, nn.Module | None], list[fx.Node]]:
    """Return the graph's nodes without dropout, which is nothing at inference, and the module of each."""
    network = build(architecture, task).eval()
    graph = _Leaves().trace(network)
    ShapeProp(fx.GraphModule(network, graph)).propagate(torch.zeros(1, *task.input_shape))
    modules = {node: network.get_submodule(node.target) if node.op == "call_module" else None for node in graph.nodes}
    for node in list(graph.nodes):
        if isinstance(modules[node], FastDropout) or (node.op == "call_function" and node.target is torch.flatten):
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            del modules[node]
    return modules, [node for node in graph.nodes if node.op != "output"]


def _shipped(architecture: Architecture, task: Task) -> int:
    modules, nodes = _traced(architecture, task)
    kernels, constants, folds = {}, 0, set()
    for node in nodes:
        module = modules[node]
        if isinstance(module, WEIGHTED):
            kernels[module.weight.data_ptr()] = module.weight.numel()
            constants += 8 * node.meta["tensor_meta"].shape[1]
            folds.add(node)
        elif isinstance(module, _BatchNorm):
            (source,) = node.all_input_nodes
            if source in folds and len(source.users) == 1:
                folds.add(node)
            else:
                constants += 8 * node.meta["tensor_meta"].shape[1]
        elif module is not None:
            constants += 4 * sum(parameter.numel() for parameter in module.parameters())
    return sum(kernels.values()) + constants


def _held(architecture: Architecture, task: Task) -> int:
    modules, nodes = _traced(architecture, task)
    size = {node: math.prod(node.meta["tensor_meta"].shape) for node in nodes}

    def in_place(node: fx.Node) -> bool:
        return not isinstance(modules[node], (*WEIGHTED, *POOLS))

    buffer = {nodes[0]: 0}
    sizes, most = [size[nodes[0]]], 0
    fused: set[fx.Node] = set()
    for step, node in enumerate(nodes):
        if node.op == "placeholder" or node in fused:
            continue
        needed = {buffer[each] for each in buffer if any(user in nodes[step + 1 :] for user in each.users)}
        read = [buffer[each] for each in node.all_input_nodes]
        written = node
        if isinstance(modules[node], nn.Conv2d):
            chain = [node]
            while len(chain[-1].users) == 1 and (after := next(iter(chain[-1].users))) in size:
                if modules[after] is None or isinstance(modules[after], WEIGHTED):
                    break
                chain.append(after)
                if isinstance(modules[after], POOLS):
                    written = after
                    fused.update(chain[1:])
                    buffer.update(dict.fromkeys(chain[:-1], -1))
                    break
        free = [each for each in read if each not in needed and sizes[each] == size[node]]
        if in_place(node) and free:
            buffer[written] = free[0]
        else:
            buffer[written] = len(sizes)
            sizes.append(size[written])
        most = max(most, sum(sizes[each] for each in {*needed, *read, buffer[written]} - {-1}))
    return most


SPACES = {"all": MNIST, "tiny": MNIST, "card": MNIST, "seeds": MNIST}
SPACES |= {"small": Task((4, 7, 9), 6), "series": Task((3, 1, 60), 4)}


@pytest.mark.parametrize("name", SPACES)
def test_drawn_networks_ship_and_hold_what_the_traced_graph_does(name: str):
    rng, task = random.Random(7), SPACES[name]
    for _ in range(25):
        network = draw_uniform(space(name, task), rng).architecture
        analysis = analyse(network, task)

        assert analysis.weight_bytes == _shipped(network, task), str(network)
        assert analysis.ram_bytes == _held(network, task), str(network)


FORMS = [*PRESETS.values()]
FORMS += [
    "conv3x3(4) | res(bn relu conv3x3(4)) | gap | linear(10)",
    "conv3x3(4) bn | res(relu dropout(0.1) conv3x3(4) bn) prelu | avgpool(4) | linear(10)",
    "relu conv5x5(6, stride=2) bn bn | res(res(conv3x3(6) bn relu) conv1x1(6)) swish | unshuffle(2) | gap linear(10)",
    "maxpool | conv3x3(8) bn relu maxpool | conv1x1(10, bias) | gap",
    "conv3x3(6) bn | res(conv3x3(6)) bn | gap | linear(10)",
]


@pytest.mark.parametrize("text", FORMS)
def test_forms_ship_and_hold_what_the_traced_graph_does(text: str):
    network = parse_network(text)
    analysis = analyse(network, MNIST)

    assert (analysis.weight_bytes, analysis.ram_bytes) == (_shipped(network, MNIST), _held(network, MNIST))


def test_a_network_by_hand():
    # Weights: 4 kernels of 9, 4 channels of 8; a BN behind a ReLU, 4 of 8; 10 x 4 and 10 of 8.
    # Maps: the image of 784 and what the pooled convolution writes, 4 x 14 x 14.
    analysis = analyse(parse_network("conv3x3(4) relu bn maxpool | gap | linear(10)"), MNIST)

    assert (analysis.weight_bytes, analysis.ram_bytes) == (36 + 32 + 32 + 40 + 80, 784 + 784)


def test_the_latency_is_that_of_the_fitted_coefficients():
    fitted = json.loads(latency.RESULTS.read_text(encoding="utf-8"))
    for name in ("all", "card", "tiny"):
        analysis = analyse(draw_uniform(space(name), random.Random(name), 20_000).architecture, MNIST)
        pairs = zip(fitted["coefficients"], latency.terms(analysis), strict=True)
        assert analysis.latency_us == math.ceil(math.fsum(each * term for each, term in pairs))
