"""The version; that the changelog has it is in tests/test_docs.py."""

import re

import darkroom
from darkroom.version import __version__


def test_the_version_is_a_semantic_one_and_that_of_the_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert darkroom.__version__ == __version__
