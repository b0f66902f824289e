from darkroom.job_options import JobMarks, JobOptions
from darkroom.webhook import Webhook


def test_what_is_left_out_says_nothing() -> None:
    options = JobOptions.model_validate({"tags": None, "webhook": None})
    assert (options.priority, options.tags, options.webhook) == ("normal", [], None)
    assert JobMarks() == JobMarks(tags=None, starred=None)


def test_a_webhook_is_an_object() -> None:
    options = JobOptions.model_validate({"webhook": {"url": "https://a.example/"}})
    assert options.webhook == Webhook(url="https://a.example/")
