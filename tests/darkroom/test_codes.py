"""All codes that clients can meet are listed, and say truly whether a repeat can help."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from darkroom import errors
from darkroom.codes import CODES, retryable
from darkroom.errors import Canceled, DarkroomError, DeadlineExceeded
from darkroom.job import JobError
from service.errors import code_of
from worker.job_errors import job_error

ROOT = Path(__file__).parents[2]
RAISED = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, DarkroomError) and cls.code != "not_found"
]
HOPELESS = {"canceled", "internal", "invalid_parameters", "poison", "safety_blocked", "unsupported"}


@pytest.mark.parametrize("cls", RAISED)
def test_an_error_and_its_code_agree_whether_a_repeat_can_help(cls):
    assert CODES[cls.code].retryable is cls.retryable


def test_what_never_changes_is_not_worth_a_repeat():
    assert not [code for code in HOPELESS if retryable(code)]
    assert not retryable("no_such_code")


def test_a_job_says_what_its_code_says():
    assert JobError(code="out_of_memory", message="Too large.").retryable
    for error in (IndexError("index 25 is out of bounds"), KeyError("x"), RuntimeError("x")):
        assert not job_error(error).retryable


def given_codes() -> set[str]:
    """Those written into the sources as plain text."""
    found = {Canceled.code, DeadlineExceeded.code}
    for package in ("darkroom", "service", "worker"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                if node.func.id not in ("Fault", "JobError", "Interrupted"):
                    continue
                said = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "code")]
                found |= {each.value for each in said if isinstance(each, ast.Constant)}
    return found


def test_every_code_that_is_given_is_listed():
    assert len(given_codes()) > 5
    assert given_codes() <= set(CODES)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 408, 412, 413, 415, 416, 431, 505])
def test_a_status_of_http_has_a_code_that_is_listed(status):
    assert code_of(status) in CODES


def test_codes_are_words_with_a_meaning():
    for code, row in CODES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert row.meaning.endswith(".")
    assert list(CODES) == sorted(CODES)
