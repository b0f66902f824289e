import socket

import pytest

from darkroom.ports import free_port, is_loopback


def test_a_free_port_can_be_listened_on_and_a_taken_one_is_refused() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(OSError, match="in use"):
            free_port(port=port)
        assert free_port() != port


@pytest.mark.parametrize(
    ("name", "leads_here"),
    [
        *((name, True) for name in ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")),
        *((name, True) for name in ("[::1]", "::ffff:127.0.0.1")),
        *(
            (name, False)
            for name in ("", "0.0.0.0", "::", "192.0.2.1", "notlocalhost", "localhost.x")
        ),
    ],
)
def test_what_leads_no_further_than_to_this_machine(name: str, leads_here: bool) -> None:
    assert is_loopback(name) == leads_here
