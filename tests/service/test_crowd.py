"""Who is here at once, in all and by address."""

import pytest

from darkroom.errors import BusyError, TooManyAtOnceError
from darkroom.settings import Settings, SettingsError
from service.crowd import Crowd, trusted


def entered(crowd: Crowd, *hosts: str | None) -> int:
    """How many of them get in, one after the other."""
    for count, host in enumerate(hosts):
        try:
            crowd.enter(host)
        except (BusyError, TooManyAtOnceError):
            return count
    return len(hosts)


def test_one_address_leaves_room_for_others():
    crowd = Crowd("connections", 10, 2)
    assert entered(crowd, *["192.0.2.1"] * 5) == 2
    assert entered(crowd, *["192.0.2.2"] * 5) == 2
    crowd.leave("192.0.2.1")
    assert entered(crowd, *["192.0.2.1"] * 5) == 1
    assert crowd.size == 4


def test_all_together_are_bounded_too():
    crowd = Crowd("connections", 3, 2)
    assert entered(crowd, "192.0.2.1", "192.0.2.2", None, "192.0.2.3") == 3
    with pytest.raises(BusyError, match="3 connections"):
        crowd.enter("127.0.0.1")


@pytest.mark.parametrize(
    "same",
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "unknown"),
    ],
)
def test_one_client_by_two_names_is_one(same):
    assert entered(Crowd("connections", 10, 1), *same) == 1
    assert entered(Crowd("connections", 10, 1), "2001:db8::1", "2001:db8:0:1::1") == 2


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "127.8.8.8", "::ffff:127.0.0.1", None, "10.1.2.3"]
)
def test_this_machine_and_trusted_proxies_are_not_counted_by_address(host):
    settings = Settings(_env_file=None, trusted_proxies="10.0.0.0/8, 192.0.2.7")
    crowd = Crowd("connections", 10, 1, exempt=trusted(settings))
    assert entered(crowd, *[host] * 5) == 5
    for _ in range(5):
        crowd.leave(host)
    assert crowd.size == 0


def test_a_place_is_given_back_whatever_happens():
    crowd = Crowd("event streams", 1, 1)
    with pytest.raises(ZeroDivisionError), crowd.place("192.0.2.1"):
        raise ZeroDivisionError
    with crowd.place("192.0.2.1"):
        assert crowd.size == 1
    assert crowd.size == 0


def test_a_proxy_that_is_no_address_is_named():
    with pytest.raises(SettingsError, match="DARKROOM_TRUSTED_PROXIES: 'nginx'"):
        trusted(Settings(_env_file=None, trusted_proxies="10.0.0.1, nginx"))
