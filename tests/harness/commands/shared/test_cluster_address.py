"""Which words name a cluster."""

from __future__ import annotations

import click
import pytest

from harness.commands.shared.options import ClusterAddress


@pytest.mark.parametrize("address", ["", "here", "localhost", "localhost:", ":6379", "localhost:0", "a:70000", "a:6e3"])
def test_what_is_no_address_is_refused_before_anything_is_connected(address: str):
    with pytest.raises(click.BadParameter, match="is none of local, auto and HOST:PORT"):
        ClusterAddress().convert(address, None, None)


@pytest.mark.parametrize("address", ["local", "auto", "localhost:6379", "10.0.0.1:65535", "::1:6379"])
def test_addresses_of_clusters(address: str):
    assert ClusterAddress().convert(address, None, None) == address
