"""Whether two versions of Darkroom make the same pictures, byte for byte, on one machine.

    python -m benchmarks.same_pictures --write FILE.json
    python -m benchmarks.same_pictures --compare FILE.json

Starts `darkroom up` with the demo models and a tiny random one of each family, and sends the same
jobs in three rounds: `apart`, all at once, each `deterministic`; `alone`, without that and one
after another; `together`, without that and all at once, those that company does not change. Writes
down what each job became: its request as the service filled it in and the SHA-256 of each picture,
of the file and of its pixels; or compares with what was written and exits with 1 if anything
differs or a job failed.

Knows the command line, HTTP and the tests' models, so that modules can move meanwhile. On another
kind of processor or with another torch the bits may be others; files with metadata tell the
version. Without `deterministic` company may change a last bit, and who shares a pass depends on the
clock: where `together` alone differs, run it again.
"""

import argparse
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

from benchmarks.picture_jobs import Body, all_jobs
from benchmarks.picture_models import DEMO, write_models
from tests.running import RunningUp

Records = dict[str, Any]

CHANGED_BY_COMPANY = (
    *(", emoji, ", ", flux, ", ", ldm, ", ", upscaler, "),
    *("sd15, DDIM", "sd15, UniPC", "sdxl, rescaled", "sd15, loras", "sdxl, loras"),
    *("inpaint, sd3, plain", "inpaint, gligen, plain"),
)
"""Parts of the names of jobs that `together` leaves out: in eighteen rounds of all jobs, half of
them shuffled, the pictures of some of these were not always the same."""
LONGEST_S = 300.0
"""How long a round may take."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--write", type=Path, metavar="FILE")
    wanted.add_argument("--compare", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    before = json.loads(arguments.compare.read_text()) if arguments.compare else None
    with tempfile.TemporaryDirectory() as folder:
        now = measure(Path(folder))
    if arguments.write:
        arguments.write.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    return show(now, before)


def measure(folder: Path) -> dict[str, Records]:
    """What the weight files hold, and what each job became."""
    models = folder / "models"
    write_models(models)
    jobs = {
        name: body | {"output": {"metadata": "none"} | body.get("output", {})}
        for name, body in all_jobs()
    }
    with (
        RunningUp(folder / "state", models / "models.toml", "--device", "cpu") as up,
        httpx2.Client(base_url=up.ready(), timeout=60, trust_env=False) as http,
    ):
        records = rounds(http, jobs)
    weights = dict(digests(models)) | dict(digests(DEMO))
    return {"weights": weights, "jobs": records}


def rounds(http: httpx2.Client, jobs: Mapping[str, Body]) -> Records:
    apart = {f"apart: {name}": body | {"deterministic": True} for name, body in jobs.items()}
    records = made(http, apart)
    for name, body in jobs.items():
        records |= made(http, {f"alone: {name}": body})
    together = {f"together: {name}": body for name, body in jobs.items() if steady(name)}
    return records | made(http, together)


def steady(name: str) -> bool:
    return not any(part in name for part in CHANGED_BY_COMPANY)


def show(now: Mapping[str, Records], before: Mapping[str, Records] | None) -> int:
    """Print what failed and what differs; returns the exit status."""
    failed = {name: job for name, job in now["jobs"].items() if job["status"] != "succeeded"}
    for name, job in failed.items():
        print(f"{job['status']}: {name}: {job['error']}")
    pictures = sum(len(job["pictures"]) for job in now["jobs"].values())
    print(f"{len(now['jobs'])} jobs, {pictures} pictures, {len(failed)} not succeeded")
    if before is None:
        return 1 if failed else 0
    differing = [
        line for part in ("weights", "jobs") for line in differences(before[part], now[part])
    ]
    print("\n".join([*differing, f"{len(differing)} differ"]))
    return 1 if failed or differing else 0


def differences(before: Records, now: Records) -> Iterator[str]:
    """A line for each name whose records are not equal, with the fields that are not."""
    for name in sorted(before.keys() | now.keys()):
        if name not in before or name not in now:
            yield f"only {'before' if name in before else 'now'}: {name}"
        elif before[name] != now[name]:
            fields = before[name].keys() | now[name].keys() if isinstance(now[name], dict) else ()
            unequal = [
                each for each in sorted(fields) if before[name].get(each) != now[name].get(each)
            ]
            yield f"differs: {name} {' '.join(unequal)}".rstrip()


def made(http: httpx2.Client, jobs: Mapping[str, Body]) -> Records:
    """Send all jobs, then wait for each."""
    sent = {name: submitted(http, name, body) for name, body in jobs.items()}
    return {name: record(http, ended(http, job)) for name, job in sent.items()}


def submitted(http: httpx2.Client, name: str, body: Body) -> dict[str, Any]:
    answer = http.post("/api/v1/jobs", json=body)
    if answer.status_code != 202:
        raise SystemExit(f"{name} is refused: {answer.text}")
    return answer.json()


def ended(http: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + LONGEST_S
    while job["status"] in ("queued", "running"):
        if time.monotonic() > end:
            raise SystemExit(f"Not done after {LONGEST_S:g} s: {json.dumps(job)}")
        url = f"/api/v1/jobs/{job['id']}"
        job = http.get(url, params={"wait": 20}).raise_for_status().json()
    return job


def record(http: httpx2.Client, job: dict[str, Any]) -> dict[str, Any]:
    files = [http.get(each["url"]).raise_for_status().content for each in job["images"]]
    return {
        "status": job["status"],
        "error": job["error"] and job["error"]["message"],
        "request": job["request"],
        "pictures": [sha256(file) for file in files],
        "pixels": [pixels(file) for file in files],
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def pixels(file: bytes) -> str:
    image = Image.open(io.BytesIO(file))
    return f"{image.format} {image.mode} {image.width}x{image.height} {sha256(image.tobytes())}"


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """The SHA-256 of each weight file below."""
    for path in sorted(folder.rglob("*.safetensors")):
        yield path.relative_to(folder).as_posix(), sha256(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
