"""What holds for every route."""

import pytest

from darkroom.settings import Settings
from service.app import SettingsError, create_app


def test_other_sites_are_not_let_in(api):
    response = api.get("/api/v1/models", headers={"Origin": "https://evil.test"})
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_unknown_routes_and_methods_are_problems(api):
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/jobs/../../etc", 404, "not_found"),
        ("PUT", "/api/v1/jobs", 405, "method_not_allowed"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
    ):
        response = api.request(method, path)
        assert response.headers["content-type"] == "application/problem+json"
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_without_a_redis_it_says_what_to_do(models_toml):
    with pytest.raises(SettingsError, match="DARKROOM_REDIS_URL"):
        create_app(Settings(_env_file=None, models=models_toml))


def test_building_it_needs_no_redis(models_toml, tmp_path):
    settings = Settings(_env_file=None, models=models_toml, redis_url=f"unix://{tmp_path}/none")
    assert create_app(settings).title == "Darkroom"
