"""The page about the API: whole without any network."""

import re
import shutil
import subprocess

import pytest


def test_its_name_with_a_slash_leads_to_it(api):
    assert api.get("/docs/", follow_redirects=True).url.path == "/docs"


def test_all_of_the_page_comes_from_here(api):
    page = api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 5
    for link in links:
        assert not re.match(r"[a-z]+:|/", link)
        assert api.get(f"/{link}").status_code == 200, link
    assert "http" not in page.text + api.get("/docs/start.js").text


def test_g2_nothing_but_this_service_can_be_reached_from_the_page(api):
    for path in ("/docs", "/docs/start.js"):
        policy = api.get(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in policy
        assert not re.search(r"[ ]\*", policy)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ],
)
def test_a_file_of_the_page_is_sent_once(api, name, kind):
    first = api.get(f"/docs/{name}")
    assert first.headers["content-type"] == kind
    again = api.get(f"/docs/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["main.py", "__init__.py", "..%2fmain.py", "swagger-ui.js"])
def test_no_other_file_is_served(api, name):
    response = api.get(f"/docs/{name}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.long
def test_a_browser_without_a_network_shows_the_page(served, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium is installed here")
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--virtual-time-budget=10000",
        "--enable-logging=stderr",
        "--dump-dom",
        f"{served.url}/docs#/jobs/create_job",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    for seen in ("/api/v1/jobs/{job_id}/events", "Try it out", "a red apple"):
        assert seen in re.sub(r"<[^>]+>|\u200b", "", done.stdout), done.stderr[-2000:]
    assert "Content Security Policy" not in done.stderr
