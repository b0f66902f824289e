"""Addresses and ports of this machine: which are its own alone, which are free; any process."""

import errno
import socket
from ipaddress import ip_address

from darkroom.errors import DarkroomError


class CannotListenError(DarkroomError):
    """A port is taken, or the address is none of this machine; the message says what to do."""

    code = "cannot_listen"


def free_port(host: str = "127.0.0.1", port: int = 0) -> int:
    """`port` of `host`, or any that is free. Raises OSError if it is taken."""
    with socket.create_server((host, port), family=_family(host)) as free:
        return int(free.getsockname()[1])


def refuse_taken_port(host: str, port: int, *, another: str) -> None:
    """Raises CannotListenError unless the API can listen there; `another` says how to name another
    port."""
    try:
        free_port(host, port)
    except OSError as error:
        # Behind a bracket Python says again what it tried.
        reason = str(error.strerror).partition(" (while")[0]
        remedy = "Name an address of this machine: --host 127.0.0.1"
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            remedy = f"Name another port: {another}"
        raise CannotListenError(
            f"The API cannot listen on {host}, port {port}: {reason}. {remedy}"
        ) from error


def is_loopback(name: str) -> bool:
    """Whether a name or address, in small letters, leads no further than to this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if not is_address(name):
        return False
    address = ip_address(name.strip("[]"))
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_address(name: str) -> bool:
    """Whether it is an address, in brackets or not."""
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
