"""E3 to E6 of the attacks: redirects, proxies, giants, drips, and what errors tell."""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpcore2
import pytest

from darkroom.outbound.addresses import Address
from darkroom.outbound.client import Answer, Outbound
from darkroom.outbound.policy import NOWHERE, OutboundError, Policy
from tests.outside import closed_port, outside, replies

LOOPBACK = Policy(networks=(ip_network("127.0.0.1/32"),))
MOST = 100_000
TRUST = httpcore2.default_ssl_context()


async def nearby(_host: str, _port: int) -> Sequence[Address]:
    """Every name is this machine."""
    return [ip_address("127.0.0.1")]


def get(url: str, policy: Policy = LOOPBACK, timeout_s: float = 10, **options: object) -> bytes:
    async def asked() -> bytes:
        outbound = Outbound(policy, **({"trust": TRUST} | options))
        return await outbound.get(url, accept="image/*", max_bytes=MOST, timeout_s=timeout_s)

    return asyncio.run(asked())


def post(url: str, body: bytes, timeout_s: float = 10, **headers: str) -> Answer:
    async def asked() -> Answer:
        return await Outbound(LOOPBACK, trust=TRUST).post(url, body, headers, timeout_s=timeout_s)

    return asyncio.run(asked())


def test_what_lies_at_a_url_is_fetched_with_nothing_but_what_is_needed() -> None:
    with outside(replies(body=b"picture")) as server:
        assert get(f"{server.url}/a%20b?c=d#e") == b"picture"
        (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/a%20b?c=d")
    assert asked.headers.keys() == {
        *("host", "user-agent", "connection", "accept", "accept-encoding")
    }
    assert asked.headers["accept-encoding"] == "identity"


def test_e4_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with outside(replies(body=b"own")) as server, outside(replies(body=b"proxy")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert get(server.url) == b"own"
        assert proxy.asked == []


def test_e3_redirects_are_followed_three_times_without_cookies() -> None:
    def onward(to: BaseHTTPRequestHandler, _: bytes) -> None:
        step = int(to.path[1:])
        if step == 0:
            return replies(body=b"there")(to, b"")
        return replies(302, Location=f"/{step - 1}", Set_Cookie="a=b")(to, b"")

    with outside(onward) as server:
        assert get(f"{server.url}/3") == b"there"
        assert server.paths == ["/3", "/2", "/1", "/0"]
        assert not any("cookie" in each.headers for each in server.asked)
        with pytest.raises(OutboundError, match="more than 3 times"):
            get(f"{server.url}/4")


@pytest.mark.parametrize(
    "location",
    [
        *("http://127.0.0.2/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/"),
        *("file:///etc/passwd", "//10.0.0.1/x", "http://a@127.0.0.1/", "http://0/", "ftp://a/"),
        "http://127.1/",
    ],
)
def test_e3_each_redirect_is_judged_anew(location: str) -> None:
    with outside(replies(302, Location=location)) as server:
        with pytest.raises(OutboundError) as refused:
            get(server.url)
        assert "reached" not in str(refused.value)
        assert len(server.asked) == 1


def test_a_redirect_leads_to_no_host_but_those_that_the_operator_names() -> None:
    policy = Policy(LOOPBACK.networks, hosts=("127.0.0.1",))
    with outside() as server:
        server.answer = replies(302, Location=f"http://a.example:{server.port}/")
        with pytest.raises(OutboundError, match="none of those"):
            get(server.url, policy, resolve=nearby)
        assert server.paths == ["/"]


def test_e2_e3_a_redirect_to_a_name_that_turned_near_is_refused() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    async def turning(_host: str, _port: int) -> Sequence[Address]:
        return [ip_address(each) for each in answers.pop(0)]

    with outside(replies(302, Location="/again")) as server:
        with pytest.raises(OutboundError, match=NOWHERE):
            get(f"http://a.example:{server.port}/", resolve=turning)
        assert server.paths == ["/"]
        assert server.asked[0].headers["host"] == f"a.example:{server.port}"


@pytest.mark.parametrize("declared", [True, False])
def test_e5_what_is_too_large_is_left(declared: bool) -> None:
    sent = 0

    def endless(to: BaseHTTPRequestHandler, _: bytes) -> None:
        nonlocal sent
        to.send_response(200)
        if declared:
            to.send_header("Content-Length", str(10**9))
        to.end_headers()
        while sent < 10**9:
            sent += to.wfile.write(b"x" * 65536)

    with outside(endless) as server, pytest.raises(OutboundError, match=r"more than 0\.09"):
        get(server.url)
    assert sent < 10**8


def test_e5_what_is_compressed_is_left() -> None:
    with (
        outside(replies(body=b"x", Content_Encoding="gzip")) as server,
        pytest.raises(OutboundError, match="compressed"),
    ):
        get(server.url)


def _drip(to: BaseHTTPRequestHandler, _: bytes) -> None:
    to.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        to.wfile.write(b"X: y\r\n")
        time.sleep(0.05)


def _drip_body(to: BaseHTTPRequestHandler, _: bytes) -> None:
    to.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
    while True:
        to.wfile.write(b"x")
        time.sleep(0.05)


def _say_nothing(to: BaseHTTPRequestHandler, _: bytes) -> None:
    to.rfile.read(1)


@pytest.mark.parametrize("slow", [_drip, _drip_body, _say_nothing])
def test_e5_who_is_slow_has_so_long_in_all(slow: object) -> None:
    with outside(slow) as server:
        with pytest.raises(OutboundError, match=r"longer than 0\.3 seconds"):
            get(server.url, timeout_s=0.3)
        if slow is not _drip_body:
            with pytest.raises(OutboundError, match=r"longer than 0\.3 seconds"):
                post(server.url, b"", timeout_s=0.3)


def test_a_head_without_end_is_left() -> None:
    def endless(to: BaseHTTPRequestHandler, _: bytes) -> None:
        to.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            to.wfile.write(b"X: y\r\n" * 1000)

    with outside(endless) as server, pytest.raises(OutboundError, match="no HTTP"):
        get(server.url)


def test_errors_tell_what_a_server_of_the_internet_did() -> None:
    with outside(replies(404)) as server, pytest.raises(OutboundError, match="answered 404"):
        get(server.url)
    with pytest.raises(OutboundError, match="cannot be reached"):
        get(f"http://127.0.0.1:{closed_port()}/")

    def nonsense(to: BaseHTTPRequestHandler, _: bytes) -> None:
        to.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")

    with outside(nonsense) as server, pytest.raises(OutboundError, match="no HTTP"):
        get(server.url)


def test_e3_a_post_sends_the_body_and_follows_nothing() -> None:
    with outside(replies(307, b"secret", Location="/other", Retry_After="7")) as server:
        answer = post(f"{server.url}/hook", b'{"a": 1}', X_Y="z")
        (asked,) = server.asked
    assert (answer.status, answer.headers["retry-after"]) == (307, "7")
    assert (asked.method, asked.path, asked.body) == ("POST", "/hook", b'{"a": 1}')


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """For hook.example, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", "/CN=x", "-addext", "subjectAltName=DNS:hook.example"]
    out = ["-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*command.split(), *subject, *out], check=True, capture_output=True)
    return paths


def test_tls_goes_by_the_name_though_an_address_is_connected_to(
    certificate: tuple[Path, Path],
) -> None:
    trust = httpcore2.default_ssl_context()
    trust.load_verify_locations(certificate[0])
    with outside(replies(body=b"safe"), certificate=certificate) as server:
        url = f"https://hook.example:{server.port}/"
        assert get(url, resolve=nearby, trust=trust) == b"safe"
        for wrong in (
            {"url": url, "resolve": nearby},
            {"url": url.replace("hook", "other"), "resolve": nearby, "trust": trust},
            {"url": f"https://127.0.0.1:{server.port}/", "trust": trust},
        ):
            with pytest.raises(OutboundError, match="certificate"):
                get(**wrong)


def test_what_is_no_tls_is_told() -> None:
    with outside() as server, pytest.raises(OutboundError, match="no TLS"):
        get(f"https://127.0.0.1:{server.port}/")
