"""The description of the API, for programs and as a page; in the service only.

Nothing of it is fetched from elsewhere: Swagger UI's files come from the package `fastapi-swagger`,
which holds them as its makers release them.
"""

import hashlib
from functools import cache
from importlib import resources

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from service.negotiation import unless_known

router = APIRouter(include_in_schema=False)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Swagger UI draws its icons from data URIs and sets styles by itself; a picture that was tried
there is a blob."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Darkroom: API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/start.js" defer></script>
</head>
<body>
<noscript>Without JavaScript: <a href="openapi.json">openapi.json</a>.</noscript>
<main id="page"></main>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: "none",
});
"""

_TYPES = {"css": "text/css", "js": "text/javascript", "png": "image/png"}

_FILES = ("favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css")


@router.get("/openapi.json", response_class=JSONResponse)
async def read_openapi(http: Request) -> Response:
    """The API, for programs."""
    app: FastAPI = http.app
    return JSONResponse(app.openapi())


@router.get("/docs", response_class=Response)
async def read_docs() -> Response:
    """The API, to be read and tried."""
    return _answer(_PAGE.encode(), "text/html")


@router.get("/docs/", response_class=Response)
async def lead_to_docs() -> Response:
    """The page's own links count from its name."""
    return RedirectResponse("../docs", 308)


@router.get("/docs/{name}", response_class=Response)
async def read_asset(http: Request, name: str) -> Response:
    """A file of the page."""
    if name != "start.js" and name not in _FILES:
        raise HTTPException(404, "The page about the API has no such file.")
    response = _answer(_content(name), _TYPES[name.rpartition(".")[2]])
    response.headers["ETag"] = _tag(name)
    return unless_known(http, response)


def _answer(content: bytes, media_type: str) -> Response:
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "no-referrer",
    }
    return Response(content, 200, headers, media_type)


@cache
def _content(name: str) -> bytes:
    if name == "start.js":
        return _START.encode()
    return resources.files("fastapi_swagger").joinpath("resources", name).read_bytes()


@cache
def _tag(name: str) -> str:
    return f'"{hashlib.sha256(_content(name)).hexdigest()[:32]}"'
