from __future__ import annotations

import pytest
import torch

from harness.training.modules import FastDropout


@pytest.mark.parametrize("p", [0.01, 0.069, 0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_keeps_the_mean(p: float):
    dropout = FastDropout(p)
    dropout.generator = torch.Generator().manual_seed(1)

    dropped = dropout(torch.ones(100, 10, 40, 25))

    count = dropped.numel()
    zeroed = int((dropped == 0).sum())
    # Four deviations of a binomial count, and what rounding p to 1/65,536 may add.
    assert abs(zeroed - p * count) < 4 * (p * (1 - p) * count) ** 0.5 + count / 131_072
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - p)])
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)


def test_dropout_zeroes_neighbours_independently_of_each_other():
    # Four values share one 64-bit draw; a mask that repeated itself would show as correlation at these lags.
    dropout = FastDropout(0.5)
    dropout.generator = torch.Generator().manual_seed(2)
    kept = (dropout(torch.ones(400_000)) != 0).double() - 0.5
    for lag in (1, 2, 3, 4, 8):
        correlation = float((kept[:-lag] * kept[lag:]).mean()) * 4
        assert abs(correlation) < 4 / 400_000**0.5


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_dropout_takes_any_number_of_values(size: int):
    assert FastDropout(0.5)(torch.ones(size)).shape == (size,)


def test_channel_dropout_zeroes_whole_channels_each_image_by_itself():
    dropout = FastDropout(0.3, channels=True)
    dropout.generator = torch.Generator().manual_seed(3)

    dropped = dropout(torch.ones(500, 20, 4, 4).contiguous(memory_format=torch.channels_last))

    zeroed = (dropped == 0).flatten(2)
    assert bool((zeroed.all(2) == zeroed.any(2)).all())
    share = zeroed.all(2).double()
    assert float(share.mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)
    assert len(share.unique(dim=0)) > 400
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / 0.7])


@pytest.mark.parametrize("channels", [False, True])
def test_dropout_is_the_identity_in_evaluation_and_at_rate_zero(channels: bool):
    values = torch.randn(3, 4, 5, 5)
    assert FastDropout(0.5, channels=channels).eval()(values) is values
    assert FastDropout(0.0, channels=channels).train()(values) is values


def test_dropout_keeps_the_memory_order_of_its_values():
    values = torch.randn(3, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    dropped = FastDropout(0.5)(values)
    assert dropped.is_contiguous(memory_format=torch.channels_last)
    assert set((dropped / values).unique().round().tolist()) == {0.0, 2.0}


def test_the_mask_lies_over_the_values_in_the_order_of_their_memory():
    values = torch.ones(3, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    dropout, kept = FastDropout(0.5), []
    for order in (values, values.permute(0, 2, 3, 1)):
        dropout.generator = torch.Generator().manual_seed(4)
        kept.append(dropout(order))
    assert torch.equal(kept[0].permute(0, 2, 3, 1), kept[1])


def test_dropout_passes_the_gradient_where_it_kept_the_value():
    values = torch.ones(1000, requires_grad=True)
    dropped = FastDropout(0.25)(values)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())
