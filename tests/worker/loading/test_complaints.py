import logging
import subprocess
import sys
import warnings

import pytest
from safetensors import SafetensorError

from darkroom.errors import ModelLoadError
from worker.loading.complaints import first_lines, reason_of, strict_logs

LIBRARIES = ("diffusers", "transformers")
INVITATIONS = ("weights_only", "trust_remote_code", "allow_pickle")
"""What no operator should be told to turn on or off."""


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
    code = "import sys, worker.loading.pulling; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("word", INVITATIONS)
def test_nobody_is_told_how_to_let_files_run_code(word: str) -> None:
    told = first_lines(OSError(f"Re-running with `{word}` set will likely succeed"))
    assert told == "it could run code when it is read; only safetensors are loaded"


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("keys did not match any targeted module and were ignored", UserWarning),
        ("some layers were not used", RuntimeWarning),
    ],
)
def test_a_warning_of_python_about_weights_is_a_fault(said: str, category: type[Warning]) -> None:
    with strict_logs() as complaints:
        warnings.warn(said, category, stacklevel=1)
        with pytest.raises(ModelLoadError, match=f"may not be at work: {said}"):
            complaints.refuse_any()


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("weights of old formats are deprecated", FutureWarning),
        ("Already found a `peft_config` attribute in the model.", UserWarning),
        ("it is slow here", UserWarning),
    ],
)
def test_what_means_nothing_is_none(said: str, category: type[Warning]) -> None:
    with strict_logs() as complaints:
        warnings.warn(said, category, stacklevel=1)
        complaints.refuse_any()
        assert complaints.of_weights() is None


def test_of_a_table_the_rows_that_matter_are_told() -> None:
    table = """\x1b[1mCLIPTextModel LOAD REPORT\x1b[0m from: /secret/place
Key                     | Status     |
------------------------+------------+-
embeddings.position_ids | UNEXPECTED |
"""
    with strict_logs() as complaints:
        logging.getLogger("transformers").warning(table)
        assert complaints.of_weights() is None
        logging.getLogger("transformers").warning(f"{table}layers.9.weight | UNEXPECTED |\n")
        assert complaints.of_weights() == "CLIPTextModel: layers.9.weight unexpected"
        logging.getLogger("transformers").warning(f"{table}layers.0.weight | MISSING |\n")
        with pytest.raises(ModelLoadError, match=r"CLIPTextModel: layers\.0\.weight missing$"):
            complaints.refuse_missing()


def test_a_package_that_is_missing_is_named_with_what_brings_it() -> None:
    said = "Qwen2VLVideoProcessor requires the Torchvision library but it was not found."
    assert reason_of(ImportError(said)).endswith("pip install -e '.[vision]'")
    assert "vision" not in reason_of(ImportError("no module named 'x'"))
