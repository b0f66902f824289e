"""Ports of this machine: which are free; used by `up`, the embedded Valkey and the service."""

import errno
import socket

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


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
