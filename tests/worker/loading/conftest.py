"""Models with adapters, loaded once: tests read them."""

import pytest

from tests.adapter_kit import FAMILIES, Kit


@pytest.fixture(scope="session")
def kits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kit]:
    return {family: Kit(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}
