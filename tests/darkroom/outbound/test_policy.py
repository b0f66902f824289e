"""What URLs may be asked, by their form, their host and the address that it leads to."""

from ipaddress import ip_address

import pytest

from darkroom.outbound.policy import NOWHERE, OutboundError, Policy, Target
from darkroom.settings import Settings, SettingsError

PLAIN = Policy(http=True)

DRESSED = [
    *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f.1/"),
    *("http://017700000001/", "http://0/", "http://0.0.0.0/", "http://127.0.0.1./"),
    *("http://0x7f000001/", "http://127.0x0.1/", "http://%31%32%37.0.0.1/"),
    *("http://127\u30020\u30020\u30021/", "http://\uff11\uff12\uff17.0.0.1/"),
    *("http://[::]/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::127.0.0.1]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fec0::1]/"),
    *("http://[fe80::1%25eth0]/", "http://[fd00:ec2::254]/", "http://169.254.169.254/latest/"),
    *("http://100.64.0.1/", "http://198.18.0.1/", "http://192.0.0.170/", "http://224.0.0.1/"),
]


@pytest.mark.parametrize("url", DRESSED)
def test_e1_an_address_that_is_near_may_not_be_asked_in_any_form(url: str) -> None:
    with pytest.raises(OutboundError):
        PLAIN.target(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        *((url, "absolute URL") for url in ("", "x", "//x/y", "https://", "https:///x")),
        *(
            (url, "absolute URL")
            for url in ("file:///etc/passwd", "ftp://a.example/", "gopher://a/")
        ),
        *((url, "absolute URL") for url in ("data:image/png;base64,", "unix:///run/x.sock")),
        *((url, "user") for url in ("https://a@b.example/", "https://a:b@b.example/")),
        ("https://a.example:443@127.0.0.1/", "user"),
        *((url, "neither") for url in ("https://a\\b.example/", "https://a b.example/")),
        *((url, "neither") for url in ("https://a..b/", "https://-a.example/")),
        ("https://" + "a." * 150 + "example/", "neither"),
        *((url, "can be read") for url in ("https://a\tb.example/", "https://a.example/\r\nX: y")),
        *(
            (url, "can be read")
            for url in ("https://a.example:x/", "https://[::1", "https://[v1.a]/")
        ),
        *((url, "port is none") for url in ("https://a.example:0/", "https://a.example:65536/")),
        ("https://a.example/" + "a" * 2048, "2048"),
    ],
)
def test_e1_other_forms_are_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(OutboundError, match=reason):
        PLAIN.target(url)


def test_a_url_is_taken_apart_once() -> None:
    assert Policy().target("HTTPS://Pictures.Example/a b?q=\u00fc#part") == Target(
        "https", "pictures.example", 443, "/a%20b?q=%C3%BC"
    )
    assert Policy().target("https://b\u00fccher.example").host == "xn--bcher-kva.example"


def test_e4_only_the_usual_ports_and_https_may_be_asked() -> None:
    with pytest.raises(OutboundError, match="Must be https"):
        Policy().target("http://a.example/")
    assert PLAIN.target("http://a.example/").port == 80
    for url in ("https://a.example:8443/", "http://a.example:443/", "http://8.8.8.8:22/"):
        with pytest.raises(OutboundError, match="on port"):
            PLAIN.target(url)


def test_networks_of_the_operator_may_be_asked_on_any_port() -> None:
    policy = Policy.of(Settings(_env_file=None, outbound_networks="127.0.0.0/8, fd00::/8"))
    target = policy.target("http://127.0.0.1:9999/")
    policy.require(target, [ip_address("127.0.0.1"), ip_address("fd00::1")])
    with pytest.raises(OutboundError, match="Must be https"):
        policy.require(target, [ip_address("8.8.8.8")])
    with pytest.raises(OutboundError, match=NOWHERE):
        policy.target("http://10.0.0.1:9999/")


def test_each_address_of_a_host_must_do() -> None:
    target = Policy().target("https://a.example/")
    Policy().require(target, [ip_address("8.8.8.8"), ip_address("2606:4700::1")])
    for near in ("127.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0"):
        with pytest.raises(OutboundError, match=NOWHERE):
            Policy().require(target, [ip_address("8.8.8.8"), ip_address(near)])
    with pytest.raises(OutboundError, match=NOWHERE):
        Policy().require(target, [])


def test_e7_hosts_can_be_named() -> None:
    policy = Policy.of(Settings(_env_file=None, outbound_hosts="a.example, *.b.example"))
    for url in ("https://a.example/", "https://A.example./", "https://x.y.b.example/"):
        policy.target(url)
    for url in ("https://b.example/", "https://xb.example/", "https://a.example.evil/"):
        with pytest.raises(OutboundError, match="none of those"):
            policy.target(url)


def test_networks_that_are_none_are_refused_with_the_name_of_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"^DARKROOM_OUTBOUND_NETWORKS: .* has host bits"):
        Policy.of(Settings(_env_file=None, outbound_networks="10.0.0.1/8"))
