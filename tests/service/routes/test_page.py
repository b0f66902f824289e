"""The root, for programs and for browsers, and the files of the page: whole without any network."""

import re

import pytest

from service.page_files import page_files

BROWSER = {"Accept": "text/html,application/xhtml+xml,image/webp,*/*;q=0.8"}


def test_the_root_says_where_everything_is(api):
    response = api.get("/")
    told = response.json()
    assert told["name"] == "darkroom"
    for name in ("docs", "openapi", "health"):
        assert api.get(told[name]).status_code == 200
    assert set(response.links) == {"service-desc", "service-doc"}


def test_a_browser_gets_a_page_and_all_that_it_names(api):
    page = api.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert {"Accept", "Accept-Encoding"} == set(page.headers["vary"].split(", "))
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    links += re.findall(r'"\./(web/[^"]+)"', page.text)
    assert len(links) > 30
    for link in links:
        assert not re.match(r"[a-z]+:|/", link), "below a proxy's path too"
        assert api.get(f"/{link}").status_code == 200, link


def test_nothing_but_this_service_can_be_reached_from_the_page_and_nothing_in_it_runs(api):
    one, other = (api.get("/", headers=BROWSER) for _ in range(2))
    policy = one.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    for directive in ("frame-ancestors 'none'", "base-uri 'none'", "connect-src 'self'"):
        assert directive in policy
    assert "unsafe" not in policy
    assert "://" not in policy
    [nonce] = re.findall("'nonce-([^']+)'", policy)
    assert re.findall('<script[^>]*nonce="([^"]+)"', one.text) == [nonce]
    assert nonce not in other.text
    assert not re.search(r"<script(?![^>]*(nonce|src)=)|<style|\bon\w+=|style=", one.text)


def test_a_file_is_sent_once_and_packed_where_it_may_be(api):
    path, file = "/web/app/main.js", page_files()["app/main.js"]
    packed = api.get(path, headers={"Accept-Encoding": "gzip"})
    plain = api.get(path, headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == file.content
    assert packed.headers["etag"] != plain.headers["etag"]
    for first in (packed, plain):
        assert first.headers["content-type"] == "text/javascript; charset=utf-8"
        known = {"If-None-Match": first.headers["etag"]}
        known["Accept-Encoding"] = first.request.headers["accept-encoding"]
        again = api.get(path, headers=known)
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["__init__.py", "index.html", "app", "app/", "..%2fapp.py", ""])
def test_no_other_file_is_served(api, name):
    response = api.get(f"/web/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
