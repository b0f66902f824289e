"""Whose batches are whose is in routes/test_batches.py; here, what a batch does to others."""

import pytest

from tests.service.conftest import NAMES

BATCH = "/api/v1/jobs/batch"
TWO = {"prompt": "a cat", "grid": {"seed": [1, 2]}}


def test_what_is_foreseen_of_others_counts_it_at_once(api, here, announced):
    announced(serves=NAMES, models=NAMES, max_jobs=1)
    here.outlook.outdate()
    alone = api.post("/api/v1/jobs?dry_run=true", json={"prompt": "a cat"}).json()["eta_s"]
    assert api.post(BATCH, json=TWO).status_code == 202
    later = api.post("/api/v1/jobs?dry_run=true", json={"prompt": "a cat"}).json()["eta_s"]
    assert later == pytest.approx(3 * alone, rel=0.05)
    here.outlook.outdate()
