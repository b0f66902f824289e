from darkroom.api_keys import SCOPES
from darkroom.job import NO_WORKER, PAUSED
from tests.service.conftest import bearer
from tests.service.routes.test_jobs import problem


def test_queues_show_what_waits_and_runs(api, submitted, work):
    submitted()
    submitted()
    submitted(priority="high")
    work.claim()
    queues = {queue["name"]: queue for queue in api.get("/api/v1/queue").json()["data"]}
    assert set(queues) == {"pix.high", "pix.normal"}
    assert (queues["pix.high"]["queued"], queues["pix.high"]["running"]) == (0, 1)
    assert queues["pix.normal"]["queued"] == 2
    assert queues["pix.normal"]["oldest_age_s"] > 0


def test_without_jobs_there_are_no_queues(api):
    told = {"object": "list", "data": [], "paused": {"all": False, "models": []}}
    assert api.get("/api/v1/queue").json() == told


def test_a_paused_queue_is_seen_wherever_its_jobs_are(api, here, submitted, announced, work):
    announced(serves=("pix", "other"), models=("pix", "other"))
    here.outlook.outdate()  # it may be of a test before
    before = submitted()
    assert before["queue"]["eta_s"] is not None
    assert before["queue"]["reason"] is None
    assert api.post("/api/v1/queue/pause?model=demo").json() == {"all": False, "models": ["pix"]}
    told = api.get("/api/v1/queue").json()
    assert told["paused"] == {"all": False, "models": ["pix"]}
    assert [state["paused"] for state in told["data"]] == [True]
    for job in (api.get(before["urls"]["self"]).json(), submitted()):
        assert (job["queue"]["eta_s"], job["queue"]["reason"]) == (None, PAUSED)
    dry = api.post("/api/v1/jobs?dry_run=true", json={"prompt": "a cat"}).json()
    assert (dry["eta_s"], dry["reason"]) == (None, PAUSED)
    ready = api.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["detail"] == "An operator paused the queues of pix; their jobs wait."
    assert api.post("/api/v1/queue/resume").json() == {"all": False, "models": []}
    assert api.get("/readyz").json()["checks"]["queues"] == "ok"
    assert work.claim().job_id == before["id"]


def test_a_job_that_nobody_serves_says_so(api, here, submitted):
    here.outlook.outdate()
    waits = api.get(submitted()["urls"]["self"]).json()["queue"]
    assert (waits["eta_s"], waits["reason"]) == (None, NO_WORKER)


def test_models_that_can_be_paused(api, jobs):
    problem(api.post("/api/v1/queue/pause?model=pox"), 404, "model_not_found")
    assert api.post("/api/v1/queue/pause?model=pox").json()["near"] == ["pix"]
    assert api.post("/api/v1/queue/pause?modell=pix").status_code == 422
    jobs.submit({}, model="old")  # which is no longer on offer
    assert api.post("/api/v1/queue/pause?model=old").json()["models"] == ["old"]
    jobs.redis.delete("darkroom:queues")
    assert api.post("/api/v1/queue/resume?model=old").json()["models"] == []
    assert api.post("/api/v1/queue/pause").json() == {"all": True, "models": []}


def test_pausing_takes_a_key_with_the_scope_admin(http, made):
    for verb in ("pause", "resume"):
        path = f"/api/v1/queue/{verb}"
        problem(http.post(path, headers=bearer(made(verb))), 403, "forbidden")
        assert http.post(path, headers=bearer(made(f"{verb}s", SCOPES))).status_code == 200
