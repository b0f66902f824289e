"""The files of the page for browsers, read once; in the service only, knows no request.

They are those of the package `web`: what is asked for is looked up among them, so that no path of a
request ever leads to a folder.
"""

import gzip
import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "svg": "image/svg+xml",
}
"""By the endings of names; what ends otherwise is not served."""
PREFIX = "/web/"
"""Before the name of each file in its path."""


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent."""

    content: bytes
    packed: bytes
    """The same, by gzip."""
    media_type: str
    tag: str
    """Its ETag."""


FIRST = "app/main.js"
VENDORED = {
    "preact": "vendor/preact.mjs",
    "preact/hooks": "vendor/hooks.mjs",
    "htm": "vendor/htm.mjs",
    "@preact/signals": "vendor/signals.mjs",
    "@preact/signals-core": "vendor/signals-core.mjs",
}
"""The libraries, by the names that modules import; the page's import map says the same."""

_IMPORTS = re.compile(r"""(?:from|^import) *"([\w@./-]+)";""", re.MULTILINE)
_COMMENTS = re.compile(rb"/\*\*.*?\*/|^\s*//.*?$", re.DOTALL | re.MULTILINE)


@cache
def page_files() -> Mapping[str, PageFile]:
    """All files by their names, such as `app/main.js`."""
    return dict(_files(resources.files("web"), ""))


@cache
def page_paths() -> frozenset[str]:
    """Where they are served."""
    return frozenset(f"{PREFIX}{name}" for name in page_files())


@cache
def first_modules() -> tuple[str, ...]:
    """The modules that the page begins with: all that `app/main.js` imports, and what these do."""
    files, found, waiting = page_files(), dict.fromkeys([FIRST]), [FIRST]
    while waiting:
        name = waiting.pop()
        for imported in _IMPORTS.findall(files[name].content.decode()):
            near = posixpath.normpath(f"{posixpath.dirname(name)}/{imported}")
            other = near if imported.startswith(".") else VENDORED[imported]
            if other not in found:
                found[other] = None
                waiting.append(other)
    return tuple(found)


def _files(folder: Traversable, before: str) -> Iterator[tuple[str, PageFile]]:
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        name = f"{before}{entry.name}"
        if entry.is_dir():
            yield from _files(entry, f"{name}/")
        elif kind := TYPES.get(entry.name.rpartition(".")[2]):
            content = _sent(name, entry.read_bytes())
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            yield name, PageFile(content, gzip.compress(content, mtime=0), kind, tag)


def _sent(name: str, content: bytes) -> bytes:
    """Our own modules without comments and types, a quarter of them; lines keep their numbers."""
    if not (name.startswith("app/") and name.endswith(".js")):
        return content
    return _COMMENTS.sub(lambda found: b"\n" * found[0].count(b"\n"), content)
