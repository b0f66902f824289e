import pytest

from darkroom.costs import Work
from darkroom.errors import DeviceMemoryError, UnsupportedError
from darkroom.request import TextToImage
from tests.worker.test_running import job
from worker.job_errors import job_error, too_large


def test_what_was_foreseen_is_told_in_its_own_words():
    error = job_error(UnsupportedError("It takes no masks."))
    assert (error.code, error.message, error.retryable) == (
        "unsupported",
        "It takes no masks.",
        False,
    )


def test_of_what_nobody_foresaw_the_class_is_told_and_no_word_more():
    error = job_error(ValueError("a secret prompt"))
    assert (error.code, error.retryable) == ("internal", False)
    assert "ValueError" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("retryable", [True, False])
def test_a_job_that_fits_nowhere_is_told_its_size(retryable):
    one = job()
    one.asked = TextToImage.model_construct(model="pix", num_images=2)
    one.work = Work(size=(512, 768), images=2, rounds=1, rows=2, steps=4)
    error = too_large(one, DeviceMemoryError("out of memory in unet"), retryable=retryable)
    assert "2 x 512 x 768" in str(error)
    assert error.retryable is retryable
