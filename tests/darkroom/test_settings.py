"""Settings: where they come from, and how a child process gets the same."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from darkroom.settings import NO_SETTINGS, Settings, mistyped


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that no `.env` is read but a test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_arguments_go_before_the_environment_and_that_before_the_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("DARKROOM_PORT=1\nDARKROOM_LEASE_S=2\nDARKROOM_GRACE_S=3\n")
    monkeypatch.setenv("DARKROOM_PORT", "10")
    monkeypatch.setenv("DARKROOM_LEASE_S", "20")
    settings = Settings(port=100)
    assert (settings.port, settings.lease_s, settings.grace_s) == (100, 20, 3)


def test_a_child_process_reads_what_this_one_has(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        redis_url="unix:///x", store=elsewhere / "pictures", max_jobs=3, lease_s=1.5
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_what_is_called_as_a_setting_is_and_is_none_is_told(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DARKROOM_LEASE_S", "darkroom_port", *NO_SETTINGS):
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("DARKROOM_EMPTY", "")
    assert list(mistyped()) == []
    monkeypatch.setenv("DARKROOM_LEASES", "3")
    (elsewhere / ".env").write_text("DARKROOM_GRACE=3\nDARKROOM_WHATEVER=1\nOTHER=1\n")
    assert list(mistyped()) == [
        "DARKROOM_GRACE is no setting and is ignored. Did you mean DARKROOM_GRACE_S?",
        "DARKROOM_LEASES is no setting and is ignored. Did you mean DARKROOM_LEASE_S?",
        "DARKROOM_WHATEVER is no setting and is ignored.",
    ]


def test_images_lie_in_the_state_directory_unless_a_store_is_named() -> None:
    assert Settings(state_dir="here").store_dir == Path("here/images")
    assert Settings(state_dir="here", store="there").store_dir == Path("there")


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "127.0.0.2"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": ""}, True),
        ({"host": "192.0.2.1"}, True),
        ({"host": "darkroom.example"}, True),
        ({"host": "0.0.0.0", "keys": "off"}, False),
        ({"keys": "on"}, True),
        ({"host": "0.0.0.0", "published": "127.0.0.1"}, False),
        ({"host": "0.0.0.0", "published": "192.0.2.1"}, True),
        ({"host": "127.0.0.1", "published": "0.0.0.0"}, True),
    ],
)
def test_keys_are_asked_for_where_others_reach_the_api(given: dict, asks: bool) -> None:
    assert Settings(_env_file=None, **given).asks_for_keys == asks


def test_models_to_serve_are_named_with_commas() -> None:
    assert Settings(worker_models=" emoji, sdxl ,").serves == ("emoji", "sdxl")
    assert Settings().serves == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 65536},
        {"max_jobs": 0},
        {"metadata": "some"},
        {"log_level": "loud"},
        {"device": "gpu"},
    ],
)
def test_a_value_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_what_loads_models_never_uses_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HF_HUB_OFFLINE": "0", "MINE": "yes"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_ENABLE_PARALLEL_LOADING", raising=False)
    told = Settings(_env_file=None, port=8123).environment_of_models()
    assert (told["HF_HUB_OFFLINE"], told["MINE"], told["DARKROOM_PORT"]) == ("1", "yes", "8123")
    assert told["HF_ENABLE_PARALLEL_LOADING"] == "1"
    monkeypatch.setenv("HF_ENABLE_PARALLEL_LOADING", "0")
    again = Settings(_env_file=None).environment_of_models()
    assert again["HF_ENABLE_PARALLEL_LOADING"] == "0"
