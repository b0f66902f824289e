"""Fetches files of repositories into the Hugging Face cache, and goes on where an earlier attempt
was cut off; for `darkroom models pull`, knows neither cards nor torch.

huggingface_hub goes on after a connection was cut as long as its process lives, and throws away
what it has of a file when that ends. So large files are written here, beside the place they belong
to, and it finds them there.
"""

import fcntl
import glob
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import huggingface_hub
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE, HF_HUB_CACHE, MAX_HTTP_DOWNLOAD_SIZE
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers

AT_ONCE = 4
"""Large files that are fetched side by side."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 2**22


class DamagedError(OSError):
    """What came is not what the repository holds."""


def fetch(source: str, revision: str | None, commit: str, sizes: Mapping[str, int]) -> Path:
    """Fetch files of a repository, by names and sizes in bytes, as they are in `commit`, to which
    `revision` leads. Returns the folder of the cache that then holds them.

    Raises OSError, ValueError, and httpx2.HTTPError once the server was away for some seconds."""
    # It writes in pieces of that size, and takes what is larger than the other by ways of its own.
    large = [
        name for name, size in sizes.items() if DOWNLOAD_CHUNK_SIZE < size <= MAX_HTTP_DOWNLOAD_SIZE
    ]
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for each in [pool.submit(_fetch_large, source, commit, name) for name in large]:
            each.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # nobody waits for gigabytes to be told
    names = [glob.escape(name) for name in sizes]
    return Path(huggingface_hub.snapshot_download(source, revision=revision, allow_patterns=names))


def begun(source: str) -> int:
    """Bytes of files of a repository that earlier attempts left unfinished."""
    # Those of huggingface_hub have a second dot, and are of no use to anybody.
    parts = (each for each in _blobs(source).glob("*.incomplete") if each.name.count(".") == 1)
    return sum(each.stat().st_size for each in parts)


def _blobs(source: str) -> Path:
    return Path(HF_HUB_CACHE, repo_folder_name(repo_id=source, repo_type="model"), "blobs")


def _fetch_large(source: str, commit: str, name: str) -> None:
    """Put a file where huggingface_hub looks for it, by the hash that the repository has of it."""
    url = huggingface_hub.hf_hub_url(source, name, revision=commit)
    about = huggingface_hub.get_hf_file_metadata(url)
    if not about.etag or not about.size:
        return
    blob = _blobs(source) / about.etag
    if blob.exists():
        return
    with _begun_file(blob) as file:
        if file is None:
            return
        at = file.seek(0, os.SEEK_END)
        if at < about.size:
            http_get(
                url,
                file,
                resume_size=at,
                headers=build_hf_headers(),
                expected_size=about.size,
                displayed_filename=name,
            )
        file.flush()
        _verify(file, about.etag, name)
        os.replace(file.name, blob)


@contextmanager
def _begun_file(blob: Path) -> Iterator[BinaryIO | None]:
    """What there is of a file, for this process alone; None if another has just finished it."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.with_name(f"{blob.name}.incomplete")
    with part.open("ab+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not blob.exists():
            yield file
            return
    part.unlink(missing_ok=True)
    yield None


def _verify(file: BinaryIO, hash_: str, name: str) -> None:
    """Compare a file with the hash that names it, where that is one of its bytes. Raises
    DamagedError, and then leaves nothing of the file."""
    if not _SHA256.fullmatch(hash_):
        return
    file.seek(0)
    found = hashlib.sha256()
    while piece := file.read(_READ_BYTES):
        found.update(piece)
    if found.hexdigest() != hash_:
        Path(file.name).unlink()
        raise DamagedError(f"{name} came damaged, and was thrown away: pull again")
