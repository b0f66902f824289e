from pathlib import Path

import pytest

from tests.commands import opened
from tests.running import darkroom


@pytest.mark.timeout(600)
def test_demo_makes_a_picture_and_leaves_nothing_running(tmp_path: Path) -> None:
    models = Path(__file__).parents[3] / "models.toml"
    done = darkroom("demo", "--state-dir", tmp_path / "state", "--models", models, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path, seed = done.stdout.strip().split("  seed ")
    assert path.startswith("out/")
    assert seed.isdigit()
    assert opened(tmp_path / path).format == "PNG"
    assert "step 25/25" in done.stderr
