"""Names of this service, and pages of other sites."""

from collections.abc import Callable

import httpx2
import pytest

from darkroom.job import new_image_id
from darkroom.settings import Settings, SettingsError
from service.origins import names, origins
from tests.service.conftest import Served, png
from tests.service.wire import answer_and_close, head, status_of

APP = "https://app.example"
EVIL = "http://evil.example"


def is_ours(host: str, /, **settings: str) -> bool:
    return names(Settings(_env_file=None, **settings))(host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8000", "localhost.", "studio.localhost:1", "127.0.0.1",
        "127.0.0.1:8000", "127.9.9.9", "[::1]", "[::1]:8000", "[::ffff:127.0.0.1]", "localhost:",
    ],
)  # fmt: skip
def test_names_of_this_machine_are_ours(host):
    assert is_ours(host)
    assert is_ours(host, host="0.0.0.0")
    assert is_ours(host, allowed_hosts="darkroom.example")


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
        "notlocalhost", "0.0.0.0:8000", "192.0.2.1", "[2001:db8::1]", "localhost:80:80",
        "localhost@evil.example", "evil.example@localhost", "localhost/", "localhost evil.example",
        "[::1", "::1", "127.1", "2130706433", "localhost,evil.example", "localhost:99999999",
    ],
)  # fmt: skip
def test_other_names_are_not_while_only_this_machine_can_ask(host):
    assert not is_ours(host)
    assert not is_ours(host, host="::1")
    assert not is_ours(host, host="localhost")


def test_names_can_be_added():
    def added(host: str) -> bool:
        return is_ours(host, allowed_hosts="darkroom.example, *.studio.example")

    assert added("darkroom.example:443")
    assert added("a.studio.example")
    assert not added("studio.example.evil.example")
    assert not added("xdarkroom.example")
    assert is_ours("evil.example", allowed_hosts="*")


def test_elsewhere_than_on_loopback_names_bind_where_they_are_given():
    assert is_ours("any.example", host="0.0.0.0")
    given = {"host": "0.0.0.0", "allowed_hosts": "darkroom.example"}
    assert not is_ours("any.example", **given)
    assert is_ours("192.0.2.1:8000", **given)  # as probes ask; an address cannot be rebound


@pytest.mark.parametrize(
    "wrong", ["http://darkroom.example", "darkroom.example:8000", "a b", "darkroom.example/x"]
)
def test_what_is_no_name_is_told_at_the_start(wrong):
    with pytest.raises(SettingsError, match="DARKROOM_ALLOWED_HOSTS"):
        names(Settings(_env_file=None, allowed_hosts=wrong))


@pytest.mark.parametrize("wrong", ["localhost:3000", "https://a.example/x", "null", "a.example"])
def test_what_is_no_origin_is_told_at_the_start(wrong):
    with pytest.raises(SettingsError, match="DARKROOM_CORS_ORIGINS"):
        origins(Settings(_env_file=None, cors_origins=wrong))


def test_g1_a_rebound_name_is_told_what_to_do(api):
    for method, path in (("GET", "/api/v1/jobs"), ("POST", "/api/v1/jobs"), ("GET", "/livez")):
        refused = api.request(method, path, headers={"Host": "evil.example:8000", "Origin": EVIL})
        assert (refused.status_code, refused.json()["code"]) == (421, "misdirected_request")
        assert "DARKROOM_ALLOWED_HOSTS" in refused.json()["detail"]
        assert refused.headers["connection"] == "close"


def test_http_1_0_does_without_a_name(served):
    assert status_of(answer_and_close(served.url, b"GET /livez HTTP/1.0\r\n\r\n")) == 200
    assert status_of(answer_and_close(served.url, head("GET /livez HTTP/1.0", host="x.y"))) == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_g1_pages_of_other_sites_change_nothing(api, submitted, headers):
    job = submitted()
    for method, path, body in (
        ("POST", "/api/v1/jobs", {"prompt": "x"}),
        ("POST", job["urls"]["cancel"], None),
        ("DELETE", job["urls"]["self"], None),
    ):
        refused = api.request(method, path, json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
    assert api.get(job["urls"]["self"], headers=headers).json()["status"] == "queued"


def test_our_own_pages_may(api, served):
    for headers in (
        {},
        {"Origin": served.url},
        {"Origin": served.url, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://darkroom.example", "Sec-Fetch-Site": "same-origin"},  # behind a proxy
        {"Sec-Fetch-Site": "none"},
    ):
        assert api.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers).status_code == 202


def test_nothing_is_for_other_sites_to_embed(api):
    for path in ("/livez", "/nowhere", "/api/v1/models", "/docs"):
        assert api.get(path).headers["cross-origin-resource-policy"] == "same-origin"


@pytest.fixture(scope="session")
def opened(serving: Callable[..., Served], valkey, tmp_path_factory) -> Served:
    """A service that lets in one other site."""
    state_dir = tmp_path_factory.mktemp("state")
    return serving(redis_url=valkey.url, state_dir=state_dir, cors_origins=f"{APP}/, {EVIL}:81")


@pytest.fixture
def page(opened, here) -> httpx2.Client:  # noqa: ARG001
    """A page of that site."""
    with httpx2.Client(base_url=opened.url, headers={"Origin": APP}) as client:
        yield client


def asks_first(page: httpx2.Client, path: str, method: str, origin: str = APP) -> httpx2.Response:
    asked = {"Access-Control-Request-Method": method, "Origin": origin}
    asked |= {"Access-Control-Request-Headers": "content-type, idempotency-key, prefer"}
    return page.options(path, headers=asked)


def test_g1_a_page_that_is_let_in_may_do_everything(page):
    for method in ("POST", "DELETE"):
        allowed = asks_first(page, "/api/v1/jobs", method)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == APP
        assert method in allowed.headers["access-control-allow-methods"]
        assert "prefer" in allowed.headers["access-control-allow-headers"]
    site = {"Sec-Fetch-Site": "cross-site"}
    made = page.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=site)
    assert made.status_code == 202
    assert made.headers["access-control-allow-origin"] == APP
    assert "access-control-allow-credentials" not in made.headers
    assert made.headers["cross-origin-resource-policy"] == "cross-origin"
    assert {"Location", "Retry-After", "Link"} <= set(
        made.headers["access-control-expose-headers"].split(", ")
    )
    with page.stream("GET", made.json()["urls"]["events"]) as events:
        assert events.headers["access-control-allow-origin"] == APP
    wrong = page.post("/api/v1/jobs", json={"prompt": 1})
    assert (wrong.status_code, wrong.headers["access-control-allow-origin"]) == (422, APP)


def test_g1_other_pages_are_still_kept_out(page):
    refused = asks_first(page, "/api/v1/jobs", "POST", origin=EVIL)
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "access-control-allow-origin" not in refused.headers
    evil = {"Origin": EVIL}
    assert page.post("/api/v1/jobs", json={"prompt": "x"}, headers=evil).status_code == 403
    read = page.get("/api/v1/jobs", headers=evil)
    assert "access-control-allow-origin" not in read.headers
    assert read.headers["cross-origin-resource-policy"] == "same-origin"
    assert "Origin" in read.headers["vary"]


def test_all_pages_can_be_let_in(serving, valkey, tmp_path, here):  # noqa: ARG001
    served = serving(redis_url=valkey.url, state_dir=tmp_path, cors_origins="*")
    with httpx2.Client(base_url=served.url, headers={"Origin": "null"}) as page:
        made = page.post("/api/v1/jobs", json={"prompt": "x"})
        assert (made.status_code, made.headers["access-control-allow-origin"]) == (202, "*")
        assert asks_first(page, "/api/v1/jobs", "POST").status_code == 200


def test_a_page_that_is_let_in_may_show_pictures(opened, page):
    image_id = new_image_id()
    opened.here.store.put(image_id, png())
    shown = httpx2.get(f"{opened.url}/api/v1/images/{image_id}")  # as `<img>` asks: without Origin
    assert shown.headers["cross-origin-resource-policy"] == "cross-origin"
    read = page.get(f"/api/v1/images/{image_id}")
    assert read.headers["access-control-allow-origin"] == APP
