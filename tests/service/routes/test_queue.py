from darkroom.queue.workers import Workers


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
    assert api.get("/api/v1/queue").json() == {"object": "list", "data": []}


def test_workers_are_shown_while_they_live(api, announced, redis):
    assert api.get("/api/v1/workers").json()["data"] == []
    info = announced(name="gpu-0", serves=("pix",), models=("pix",))
    (worker,) = api.get("/api/v1/workers").json()["data"]
    assert (worker["max_jobs"], "cap" in worker) == (8, False)
    assert (worker["name"], worker["serves"], worker["models"]) == ("gpu-0", ["pix"], ["pix"])
    Workers(redis).leave(info.name)
    assert api.get("/api/v1/workers").json()["data"] == []
