"""The guard of tests/conftest.py: no test reaches the network."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_connecting_beyond_this_machine_fails(host: str) -> None:
    with socket.socket() as client, pytest.raises(pytest.fail.Exception, match="no network"):
        client.connect((host, 80))


def test_connecting_to_this_machine_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
