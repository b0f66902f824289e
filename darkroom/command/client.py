"""A client of any Darkroom URL, for the command line; knows HTTP, nothing of queue or models."""

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import ValidationError

from darkroom import __version__
from darkroom.errors import DarkroomError
from darkroom.job import JOB_ID, Job

SHORTEST_ID = 4
"""Characters that tell one job from others."""
LOOKED_AT = 1000
LARGEST_PAGE = 100

DEFAULT_URL = "http://127.0.0.1:8000"
LONG_POLL_S = 20
"""Longest wait for a change of a job; a proxy in between gives up later than that."""


class ClientError(DarkroomError):
    """The service refused: its own sentence, `code` of the problem document and HTTP status."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "http_error",
        status: int = 0,
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.fields = tuple(fields)
        """What is wrong in the request: JSON pointers and sentences."""


class NoServiceError(DarkroomError):
    """Nothing that is a Darkroom answers at the URL."""

    code: str = "no_service"


class ConnectionLostError(NoServiceError):
    """It broke before the answer came: the request may or may not have been carried out."""


class Client:
    """Requests to one Darkroom. Use as a context manager."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NoServiceError(f"{url!r} is no URL of a Darkroom, such as {DEFAULT_URL}.")
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url,
            timeout=httpx2.Timeout(timeout_s, connect=5.0),
            headers={"User-Agent": f"darkroom/{__version__}"},
            # A proxy of the environment cannot reach this machine's loopback.
            trust_env=parts.hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, body: dict[str, Any]) -> Job:
        """Send a request. The key makes a repeat after a lost answer harmless."""
        key = {"Idempotency-Key": uuid.uuid4().hex}
        try:
            return self._job(self._call("POST", "/api/v1/jobs", json=body, headers=key))
        except ConnectionLostError:
            return self._job(self._call("POST", "/api/v1/jobs", json=body, headers=key))

    def job(self, job_id: str) -> Job:
        return self._job(self._call("GET", _job_path(job_id)))

    def cancel(self, job_id: str) -> Job:
        return self._job(self._call("POST", f"{_job_path(job_id)}/cancel"))

    def follow(self, job_id: str, patience_s: float = 60.0) -> Iterator[Job]:
        """The job now and after each change, the last time when it has ended. A service that
        goes away meanwhile (a restart) is waited for."""
        etag, lost_at = "", None
        while True:
            try:
                answer = self._call(
                    "GET",
                    _job_path(job_id),
                    params={"wait": LONG_POLL_S} if etag else {},
                    headers={"If-None-Match": etag} if etag else {},
                    timeout=LONG_POLL_S + 10,
                )
            except (NoServiceError, ClientError) as error:
                lost_at = lost_at or time.monotonic()
                gone = isinstance(error, NoServiceError) or error.status in (502, 503, 504)
                if not gone or time.monotonic() - lost_at > patience_s:
                    raise
                time.sleep(0.5)
                continue
            lost_at = None
            if answer.status_code == 304:
                continue
            job = self._job(answer)
            yield job
            if job.status.terminal:
                return
            if etag == (etag := answer.headers.get("etag", "")) or not etag:
                time.sleep(0.2)

    def jobs(self, *, limit: int, **filters: Any) -> Iterator[Job]:
        """At most `limit` jobs, newest first; `status`, `model`."""
        params = {name: value for name, value in filters.items() if value is not None}
        while limit > 0:
            params["limit"] = min(limit, LARGEST_PAGE)
            page = self._json(self._call("GET", "/api/v1/jobs", params=params))
            yield from (_as_job(values) for values in page["data"])
            limit -= len(page["data"])
            if not page.get("next_cursor"):
                return
            params["cursor"] = page["next_cursor"]

    def find(self, part: str) -> str:
        """The id of the job whose id begins or ends with `part`, among the latest ones.

        Raises ClientError unless there is just one."""
        if JOB_ID.fullmatch(part):
            return part
        wanted = part.removeprefix("job_").lower()
        looked_at = self.jobs(limit=LOOKED_AT) if len(wanted) >= SHORTEST_ID else ()
        found = [
            job.id
            for job in looked_at
            if job.id.startswith(f"job_{wanted}") or job.id.endswith(wanted)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            several = ", ".join(found[:5]) + (", ..." if found[5:] else "")
            raise ClientError(f"The ids of several jobs begin or end with {part!r}: {several}")
        raise ClientError(
            f"{part[:50]!r} is no job's id, nor the beginning or end, of {SHORTEST_ID} characters "
            f"or more, of one of the latest {LOOKED_AT} jobs; `darkroom jobs ls` lists them."
        )

    def models(self) -> list[dict[str, Any]]:
        return list(self._json(self._call("GET", "/api/v1/models"))["data"])

    def workers(self) -> list[dict[str, Any]]:
        return list(self._json(self._call("GET", "/api/v1/workers"))["data"])

    def image(self, image_id: str) -> bytes:
        return self._call("GET", f"/api/v1/images/{image_id}").content

    def ready(self) -> bool:
        """Whether the service is up and reaches its queue and store."""
        try:
            self._call("GET", "/readyz", timeout=5.0)
        except (ClientError, NoServiceError):
            return False
        return True

    def _call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **options)
        except httpx2.ConnectError as error:
            if "SSL" in str(error):
                raise NoServiceError(self._without_tls(str(error))) from error
            raise NoServiceError(
                f"No Darkroom answers at {self.url}. Start one with `darkroom up`, or name "
                "another with --url or DARKROOM_URL."
            ) from error
        except httpx2.TransportError as error:
            raise ConnectionLostError(
                f"The connection to {self.url} broke: {error or type(error).__name__}"
            ) from error
        if answer.is_success or answer.status_code == 304:
            return answer
        raise _refusal(answer)

    def _without_tls(self, why: str) -> str:
        if "CERTIFICATE" in why:
            return f"The certificate of {self.url} is not accepted: {why}"
        plain = self.url.replace("https:", "http:", 1)
        return f"What answers at {self.url} speaks no TLS ({why}). Perhaps it is {plain}"

    def _job(self, answer: httpx2.Response) -> Job:
        return _as_job(self._json(answer))

    def _json(self, answer: httpx2.Response) -> Any:
        try:
            return answer.json()
        except ValueError as error:
            raise NoServiceError(
                f"{self.url} answers, but not as a Darkroom does ({answer.url.path})."
            ) from error


def _job_path(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


def _as_job(values: Any) -> Job:
    try:
        # A newer service may say more than this client knows.
        return Job.model_validate(values, extra="ignore")
    except ValidationError as error:
        raise NoServiceError(f"The service's answer is no job: {error}") from error


def _refusal(answer: httpx2.Response) -> ClientError:
    """The problem document (RFC 9457) as a sentence, with one line per wrong field."""
    try:
        problem = answer.json()
        fields = [(str(e["pointer"]), str(e["detail"])) for e in problem.get("errors", ())]
        lines = [f"{pointer.lstrip('/') or 'the request'}: {said}" for pointer, said in fields]
        lines = lines or [str(problem.get("detail") or problem["title"])]
        code = str(problem.get("code", "http_error"))
    except (ValueError, KeyError, TypeError, AttributeError):
        lines, code, fields = [_without_a_problem(answer)], "http_error", []
    if code == "not_found":  # a client asks for nothing else than this
        lines = [
            f"{answer.url} is no path of a Darkroom. Is the address right? It ends at the port."
        ]
    if "retry-after" in answer.headers:
        lines.append(f"Try again in {answer.headers['retry-after']} s.")
    return ClientError("\n".join(lines), code=code, status=answer.status_code, fields=fields)


def _without_a_problem(answer: httpx2.Response) -> str:
    said = f"{answer.status_code} {answer.reason_phrase}".strip()
    return f"The service answered {said}, and not as a Darkroom does. Is the address right?"
