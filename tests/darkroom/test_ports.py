import socket

import pytest

from darkroom.ports import free_port


def test_a_free_port_can_be_listened_on_and_a_taken_one_is_refused() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(OSError, match="in use"):
            free_port(port=port)
        assert free_port() != port
