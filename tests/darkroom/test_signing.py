"""What is signed, and that nothing else is taken for it."""

import re

import pytest

from darkroom import signing
from darkroom.signing import Signed, UrlSecrets, fits, may_be_signed, read, sign

PATH = f"/api/v1/images/img_{'a' * 32}"
NEW, OLD, OTHER = ("1" * 64, "2" * 64, "3" * 64)
DIGEST, KEY = "d" * 64, "e" * 16


def signed(secret: str = NEW, **other: object) -> Signed:
    given = {"path": PATH, "expires": 1000, "key_id": KEY, "digest": DIGEST} | other
    return sign(**given, secret=secret)


def test_a_signature_fits_what_was_signed_and_nothing_else() -> None:
    secrets = UrlSecrets(NEW, OLD)
    assert fits(signed(), DIGEST, secrets)
    assert fits(signed(OLD), DIGEST, secrets)
    assert not fits(signed(OTHER), DIGEST, secrets)
    assert not fits(signed(), "f" * 64, secrets)
    right = signed()
    for changed in (
        {"path": PATH.replace("a", "b")},
        {"expires": 1001},
        {"key_id": "f" * 16},
        {"signature": "0" * 64},
    ):
        values = vars(right) | changed
        assert not fits(Signed(**values), DIGEST, secrets), changed


def test_an_address_is_read_as_it_was_written() -> None:
    right = signed()
    assert re.fullmatch(rf"{PATH}\?expires=1000&key={KEY}&signature=[0-9a-f]{{64}}", right.url)
    parameters = dict(each.split("=") for each in right.url.partition("?")[2].split("&"))
    assert read(PATH, parameters) == right


@pytest.mark.parametrize(
    "changed",
    [
        {"expires": ""},
        {"expires": "-1"},
        {"expires": "1e3"},
        {"expires": "\u0661"},
        {"expires": "9" * 12},
        {"key": "E" * 16},
        {"key": ""},
        {"signature": "0" * 63},
        {"signature": "G" * 64},
    ],
)
def test_what_can_be_no_signature(changed: dict[str, str]) -> None:
    given = {"expires": "1000", "key": KEY, "signature": "0" * 64}
    assert read(PATH, given)
    assert read(PATH, given | changed) is None
    assert read("/api/v1/jobs", given) is None


@pytest.mark.parametrize(
    ("path", "may"),
    [
        (PATH, True),
        (f"/api/v1/jobs/job_{'0' * 32}/events", True),
        (f"/api/v1/files/file_{'0' * 64}/content", True),
        (f"/api/v1/jobs/job_{'0' * 32}", False),
        (f"/api/v1/files/file_{'0' * 64}", False),
        (f"{PATH}/", False),
        (f"{PATH}\n", False),
        (f"/{PATH}", False),
        (f"{PATH}?w=16", False),
        (PATH.upper(), False),
        ("/api/v1/images", False),
        ("/metrics", False),
    ],
)
def test_what_may_be_signed(path: str, may: bool) -> None:
    assert may_be_signed(path) == may


def test_no_text_tells_a_secret() -> None:
    assert NEW not in repr(UrlSecrets(NEW, OLD))
    assert signed().signature not in repr(signed())
    assert signing.PARAMETERS == ("expires", "key", "signature")
