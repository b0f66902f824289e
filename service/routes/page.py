"""What people see first: the root, which is a page for browsers, and the files of that page; in the
service only. Knows no job: the page asks the API, as any client does."""

import secrets
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from darkroom import __version__
from service.negotiation import unless_known
from service.page_files import PREFIX, first_modules, page_files
from service.preferences import takes_gzip, wants_page

router = APIRouter(include_in_schema=False)

INDEX = "index.html"
NONCE = b"{nonce}"
"""Where the page wants the number that this answer's policy names."""
MODULES = b"<!-- modules -->"
"""Where it names all that it begins with, so that none waits for another to name it."""
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The nonce is for the import map, which browsers take from within a page alone. Early pictures are
blobs, since they are fetched with a key."""


_PRIVATE = {"Referrer-Policy": "no-referrer"}


class Root(BaseModel):
    """Where to go on."""

    name: Literal["darkroom"] = "darkroom"
    version: str = __version__
    api: str = "/api/v1"
    docs: str = "/docs"
    openapi: str = "/openapi.json"
    health: str = "/readyz"


@router.get("/", response_model=Root)
async def read_root(http: Request) -> Response:
    """The page, for a browser; for programs where everything is."""
    links = '</openapi.json>; rel="service-desc", </docs>; rel="service-doc"'
    headers = {"Link": links, "Vary": "Accept, Accept-Encoding", "Cache-Control": "no-cache"}
    if not wants_page(http.headers):
        return Response(Root().model_dump_json(), 200, headers, "application/json")
    nonce = secrets.token_urlsafe(16)
    content = page_files()[INDEX].content.replace(NONCE, nonce.encode())
    policy = {"Content-Security-Policy": _POLICY.format(nonce=nonce), "Cache-Control": "no-store"}
    content = content.replace(MODULES, _modules())
    return Response(content, 200, headers | policy | _PRIVATE, "text/html")


@router.get(f"{PREFIX}{{name:path}}", response_class=Response)
async def read_page_file(http: Request, name: str) -> Response:
    """A file of the page."""
    file = page_files().get(name)
    if file is None or name == INDEX:
        raise HTTPException(404, "The page has no such file.")
    headers = {"Cache-Control": "no-cache", "ETag": file.tag, "Vary": "Accept-Encoding"}
    content = file.content
    if takes_gzip(http.headers):
        headers |= {"Content-Encoding": "gzip", "ETag": f'{file.tag[:-1]}-gzip"'}
        content = file.packed
    headers |= {"Content-Security-Policy": "default-src 'none'", **_PRIVATE}
    return unless_known(http, Response(content, 200, headers, file.media_type))


def _modules() -> bytes:
    links = [f'<link rel="modulepreload" href="web/{name}">' for name in first_modules()]
    return "\n".join(links).encode()
