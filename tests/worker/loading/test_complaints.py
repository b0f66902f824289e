import logging
import subprocess
import sys

import pytest
from safetensors import SafetensorError

from darkroom.errors import ModelLoadError
from worker.loading.complaints import first_lines, reason_of, strict_logs

LIBRARIES = ("diffusers", "transformers")


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_libraries_say_is_heard_and_not_printed(
    library: str, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger(f"{library}.models")
    with strict_logs() as complaints:
        logger.warning("Some weights were newly initialized: a.b\nTrain them.")
        assert complaints.about("newly") == "Some weights were newly initialized: a.b"
        assert complaints.about("dora_scale") == ""
        with pytest.raises(ModelLoadError, match=r"are missing: Some weights .* a\.b$"):
            complaints.refuse_missing()
    logger.warning("newly initialized: c")
    assert complaints.about("c") == ""
    assert capfd.readouterr() == ("", "")


def test_nothing_missing_is_no_fault() -> None:
    with strict_logs() as complaints:
        logging.getLogger("diffusers").warning("slow")
        complaints.refuse_missing()


def test_reasons_are_one_line_and_not_too_long() -> None:
    assert first_lines(ValueError("a\n  b")) == "ValueError: a b"
    assert len(first_lines(OSError("x" * 1000))) == len("OSError: ") + 300
    assert reason_of(OSError("gone")) == "OSError: gone"
    assert reason_of(SafetensorError("cut off")) == "damaged: SafetensorError: cut off"


def test_who_only_words_an_error_loads_no_library() -> None:
    code = "import sys, worker.loading.hub as hub; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
