"""Settings as options: options before the environment, and all of it handed on to children."""

from pathlib import Path

import pytest
import typer

from darkroom.command import flags
from darkroom.settings import Settings


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without .env, an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DARKROOM_{name.upper()}", raising=False)


def test_option_goes_before_environment_before_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("DARKROOM_PORT=1\nDARKROOM_HOST=file\nDARKROOM_LEASE_S=11\n")
    monkeypatch.setenv("DARKROOM_PORT", "2")
    monkeypatch.setenv("DARKROOM_HOST", "variable")
    settings = flags.read_settings(port=3, host=None)
    assert (settings.port, settings.host, settings.lease_s) == (3, "variable", 11)


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:1/0", "unix:///a/b", "unix://u:p@/a/b?db=1"]
)
def test_addresses_of_redis(url: str) -> None:
    assert flags.read_settings(redis_url=url).redis_url == url


@pytest.mark.parametrize("url", ["", "x", "http://h", "redis://h:x", "redis://h:0", "unix://a"])
def test_what_is_no_address_of_a_redis_is_told(url: str, capsys) -> None:
    with pytest.raises(typer.Exit):
        flags.read_settings(redis_url=url)
    assert "Error: --redis-url: Must be redis://HOST:PORT" in capsys.readouterr().err


def test_help_names_the_kinds_of_values_in_words(capsys) -> None:
    @flags.with_settings(*Settings.model_fields)
    def command(settings: Settings) -> None:
        """Takes all of them."""

    app = typer.Typer()
    app.command()(command)
    with pytest.raises(SystemExit):
        app(["--help"])
    told = capsys.readouterr().out
    assert "--redis-url" in told
    assert "Annotated" not in told
    assert "function" not in told


def test_children_read_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(port=1234, state_dir=Path("a b"), worker_models="x,y", torch_threads=2)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_every_setting_belongs_to_a_process() -> None:
    named = {*flags.EVERYWHERE, *flags.API, *flags.WORKER, *flags.KEEPER}
    assert named == set(Settings.model_fields)


def test_every_setting_is_explained() -> None:
    assert [n for n, field in Settings.model_fields.items() if not field.description] == []
