"""Ports of this machine: which are free; used by `up` and the embedded Valkey."""

import socket


def free_port(host: str = "127.0.0.1", port: int = 0) -> int:
    """`port` of `host`, or any that is free. Raises OSError if it is taken."""
    with socket.create_server((host, port), family=_family(host)) as free:
        return int(free.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
