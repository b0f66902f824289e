"""What signs addresses; tests/service/test_signatures.py has what they open."""

from tests.service.conftest import bearer


def test_each_path_has_its_address(http, made):
    paths = [f"/api/v1/images/img_{digit * 32}" for digit in "0123"]
    asked = {"paths": paths, "expires_s": 60}
    answer = http.post("/api/v1/signed-urls", json=asked, headers=bearer(made()))
    assert answer.headers["cache-control"] == "private, no-store"
    data = answer.json()["data"]
    assert [each["path"] for each in data] == paths
    assert len({each["url"].partition("signature=")[2] for each in data}) == 4
    assert {each["object"] for each in data} == {"signed_url"}


def test_what_is_no_json_is_refused(api):
    refused = api.post("/api/v1/signed-urls", content=b"x", headers={"Content-Type": "text/plain"})
    assert refused.status_code == 415
