"""E2 of the attacks: names that answer one thing when they are judged, another afterwards."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import httpcore2
import pytest

from darkroom.outbound.addresses import Address
from darkroom.outbound.network import JudgedNetwork, addresses_of
from darkroom.outbound.policy import NOWHERE, OutboundError, Policy
from tests.outside import closed_port, outside

LOOPBACK = Policy(networks=(ip_network("127.0.0.0/8"),))


class Names:
    """Answers in turn, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _host: str, _port: int) -> Sequence[Address]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ip_address(each) for each in answer]


def connect(policy: Policy, url: str, names: Names) -> str:
    """The address that was connected to."""

    async def connected() -> str:
        target = policy.target(url)
        network = JudgedNetwork(policy, target, names)
        stream = await network.connect_tcp(target.host, target.port, timeout=5)
        try:
            return str(stream.get_extra_info("server_addr")[0])
        finally:
            await stream.aclose()

    return asyncio.run(connected())


def test_e2_a_name_is_asked_once_and_what_was_judged_is_connected_to() -> None:
    with outside() as server:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        assert connect(LOOPBACK, f"http://a.example:{server.port}/", names) == "127.0.0.1"
        assert names.asked == 1


def test_e2_a_name_with_one_address_that_is_near_is_refused() -> None:
    with outside() as server:
        names = Names(["127.0.0.1", "10.0.0.1"])
        with pytest.raises(OutboundError, match=NOWHERE):
            connect(LOOPBACK, f"http://a.example:{server.port}/", names)
    with pytest.raises(OutboundError, match=NOWHERE):
        connect(Policy(), "https://metadata.google.internal/", Names(["169.254.169.254"]))


def test_the_next_address_is_tried_where_nobody_answers() -> None:
    with outside() as server:
        names = Names(["127.0.0.9", "127.0.0.1"])
        assert connect(LOOPBACK, f"http://a.example:{server.port}/", names) == "127.0.0.1"
    with pytest.raises(httpcore2.ConnectError):
        connect(LOOPBACK, f"http://a.example:{closed_port()}/", Names(["127.0.0.1"]))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "017700000001", "localhost"])
def test_e1_what_this_system_makes_of_a_host_is_judged(host: str) -> None:
    """Behind the check of the form, which refuses most of these: what `getaddrinfo` takes for an
    address is one."""
    found = asyncio.run(addresses_of(host, 80))
    assert {str(each) for each in found} <= {"127.0.0.1", "::1"}
    target = Policy(http=True).target("http://a.example/")
    with pytest.raises(OutboundError, match=NOWHERE):
        Policy(http=True).require(target, found)


def test_e6_a_name_that_does_not_exist_gets_the_same_words() -> None:
    async def nothing(_host: str, port: int) -> Sequence[Address]:
        return await addresses_of("no-such-name.invalid", port)

    async def ask() -> None:
        target = Policy().target("https://a.example/")
        await JudgedNetwork(Policy(), target, nothing).connect_tcp(target.host, target.port)

    with pytest.raises(OutboundError, match=NOWHERE):
        asyncio.run(ask())
