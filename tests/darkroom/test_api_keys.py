"""Keys: their form, what is kept of them, and that no text tells their secret."""

import hmac
import traceback
from datetime import UTC, datetime, timedelta

import pytest

from darkroom import api_keys
from darkroom.api_keys import (
    NO_LIMITS,
    ApiKey,
    KeyNameError,
    Limits,
    Token,
    fits,
    life_of,
    limit_of,
    new_key,
    parse,
    scopes_of,
)


def test_a_key_fits_what_is_kept_of_it_and_nothing_else_does() -> None:
    key, token = new_key("web")
    assert parse(token.reveal()) == token
    assert fits(token, key)
    assert not fits(Token(token.id, "0" * 64), key)
    assert not fits(token, None)
    assert not fits(Token(token.id, ""), None)  # what an unknown id is compared with
    renewed, another = key.renewed()
    assert (renewed.id, renewed.name, another.id) == (key.id, key.name, token.id)
    assert not fits(token, renewed)
    assert fits(another, renewed)


def test_a2_a_key_that_does_not_exist_is_compared_just_the_same(monkeypatch) -> None:
    compared, compare = [], hmac.compare_digest

    def note(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(api_keys.hmac, "compare_digest", note)
    key, token = new_key("web")
    assert fits(token, key)
    assert not fits(Token(token.id, "0" * 64), key)
    assert not fits(token, None)
    assert compared == [(64, 64)] * 3


def test_no_text_tells_a_secret() -> None:
    key, token = new_key("web")
    try:
        raise ValueError(token)
    except ValueError as error:
        raised = "".join(traceback.format_exception(error))
    texts = [
        repr(token),
        str(token),
        f"{token}",
        repr(key),
        str(key),
        key.model_dump_json(),
        raised,
    ]
    assert [text for text in texts if token.secret in text] == []
    assert len(token.secret) == 64
    assert all(key.digest not in text for text in (repr(key), str(key)))


@pytest.mark.parametrize(
    "text",
    [
        *("", "dk_", "dk_0_1", "0" * 64),
        *(f"ak_{'0' * 16}_{'0' * 64}", f"dk_{'0' * 16}_{'0' * 63}", f"dk_{'A' * 16}_{'0' * 64}"),
        *(f"dk_{'0' * 16}_{'0' * 64} ", f" dk_{'0' * 16}_{'0' * 64}"),
        f"dk_{'0' * 16}_" + "\u0660" * 64,
        f"dk_{'0' * 16}_{'0' * 64}" + "\n",
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("name", ["", " ", "a" * 65, "a\nb", "a\x00", "\u202eb", " a", "a\u009b"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(KeyNameError):
        new_key(name)


def test_a_key_that_was_taken_for_a_name_is_not_told() -> None:
    _, token = new_key("web")
    with pytest.raises(KeyNameError) as raised:
        new_key(token.reveal())
    assert token.secret not in str(raised.value)


def test_scopes() -> None:
    assert scopes_of("submit, read") == ("read", "submit")
    for wrong in ("", "read,", "write"):
        with pytest.raises(ValueError, match="none of"):
            scopes_of(wrong)
    key, _ = new_key("web", ("read",))
    assert key.allows("read")
    assert not key.allows("submit")
    boss, _ = new_key("boss", ("admin",))
    assert boss.allows("read")
    assert boss.allows("submit")


def test_time() -> None:
    assert life_of("30d") == timedelta(days=30)
    for wrong in ("", "0d", "-1d", "30", "d", "1.5d", "999999w", "30 days"):
        with pytest.raises(ValueError, match="no time"):
            life_of(wrong)
    now = datetime.now(UTC)
    key, _ = new_key("web", life=timedelta(hours=1))
    assert 3599 < key.left_s(now) <= 3600.1
    assert key.left_s(now + timedelta(hours=2)) < 0
    assert new_key("web")[0].left_s() == float("inf")


def test_limits() -> None:
    assert [limit_of(text) for text in ("1", " 60", "1000000", "none")] == [1, 60, 1000000, 0]
    for text in ("0", "-1", "1.5", "1000001", "99999999", "many", "", "\u0663", "1e3"):
        with pytest.raises(ValueError, match="no number from 1 to 1000000"):
            limit_of(text)
    assert str(NO_LIMITS) == "none"
    assert str(Limits(max_active=2, per_minute=60)) == "max_active=2, per_minute=60"


def test_a_share_is_of_the_jobs_that_may_be_queued_in_all() -> None:
    assert NO_LIMITS.among(1000) == NO_LIMITS
    assert Limits(share=10).among(1000).max_queued == 100
    assert Limits(share=10, max_queued=7).among(1000).max_queued == 7
    assert Limits(share=10, max_queued=700).among(1000).max_queued == 100
    assert Limits(share=1).among(20).max_queued == 1, "or the key could send nothing"
    assert [limit_of(text, 100) for text in ("100", "none")] == [100, 0]
    for text in ("101", "0", "10%"):
        with pytest.raises(ValueError, match="no number from 1 to 100"):
            limit_of(text, 100)


def test_a_key_of_before_limits_has_none() -> None:
    key, _ = new_key("web", limits=Limits(max_queued=3))
    assert ApiKey.model_validate_json(key.model_dump_json()) == key
    old = ApiKey.model_validate(key.model_dump(mode="json", exclude={"limits"}))
    assert old.limits == NO_LIMITS
