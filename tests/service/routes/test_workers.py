"""Who works: listed, told to drain; and what is wrong with the service's machine."""

import json
from dataclasses import replace

from darkroom.api_keys import SCOPES
from darkroom.queue.workers import Workers
from service import doctor
from tests.service.conftest import bearer
from tests.service.routes.test_jobs import problem


def test_workers_are_shown_while_they_live(api, announced, redis):
    assert api.get("/api/v1/workers").json()["data"] == []
    info = announced(name="gpu-0", serves=("pix",), models=("pix",))
    (worker,) = api.get("/api/v1/workers").json()["data"]
    assert (worker["max_jobs"], "cap" in worker) == (8, False)
    assert (worker["name"], worker["serves"], worker["models"]) == ("gpu-0", ["pix"], ["pix"])
    Workers(redis).leave(info.name)
    assert api.get("/api/v1/workers").json()["data"] == []


def test_a_worker_is_told_to_drain(api, announced, redis):
    info = announced(name="gpu/0", serves=("pix",))
    for _ in range(2):
        told = api.post("/api/v1/workers/gpu/0/drain")
        assert (told.status_code, told.json()["name"]) == (202, "gpu/0")
    assert Workers(redis).announce(info, ttl_s=10)
    announced(name="other")
    assert not Workers(redis).announce(replace(info, name="other"), ttl_s=10)
    for name in ("gpu", "gpu/1", "gpu%00", "x" * 200):
        problem(api.post(f"/api/v1/workers/{name}/drain"), 404, "worker_not_found")
    Workers(redis).leave(info.name)
    problem(api.post("/api/v1/workers/gpu/0/drain"), 404, "worker_not_found")


def test_draining_and_examining_take_a_key_with_the_scope_admin(http, made, announced):
    announced(name="gpu-0")
    asked = (("POST", "/api/v1/workers/gpu-0/drain"), ("GET", "/api/v1/doctor"))
    usual, admin = made(), made("admin", SCOPES)
    for method, path in asked:
        problem(http.request(method, path, headers=bearer(usual)), 403, "forbidden")
    assert http.post(asked[0][1], headers=bearer(admin)).status_code == 202


def test_what_the_doctor_finds_is_told(api, monkeypatch):
    """What it does find is in tests/service/test_doctor.py."""
    check = {"name": "disk", "state": "note", "found": "1.0 GiB free", "remedy": "Free some."}
    monkeypatch.setattr(doctor, "COMMAND", ("-S", "-c", f"print({json.dumps([check])!r})"))
    assert api.get("/api/v1/doctor").json() == {"object": "list", "data": [check]}
