import inspect

from darkroom import errors
from darkroom.errors import FieldError, InvalidRequestError


def classes() -> list[type]:
    return [
        c
        for _, c in inspect.getmembers(errors, inspect.isclass)
        if issubclass(c, errors.DarkroomError | errors.JobInterrupt)
    ]


def test_the_drawn_tree_names_every_class():
    drawn = errors.__doc__ or ""
    assert [c.__name__ for c in classes() if c.__name__ not in drawn] == []


def test_the_drawn_tree_names_the_code_of_every_error_a_client_can_see():
    leaves = [
        c for c in classes() if not c.__subclasses__() and issubclass(c, errors.DarkroomError)
    ]
    drawn = errors.__doc__ or ""
    missing = [
        c.__name__ for c in leaves if c.code not in drawn and c.__module__ == errors.__name__
    ]
    assert missing == []


def test_no_handler_of_exceptions_catches_an_interrupt():
    assert not issubclass(errors.JobInterrupt, Exception)


def test_of_many_faults_fifty_are_told_and_how_many_more() -> None:
    faults = [FieldError(f"/k{number}", "Is wrong.", "invalid") for number in range(10_000)]
    error = InvalidRequestError(faults)
    assert error.errors == (*faults[:50], FieldError("", "And 9950 more.", "more"))
    assert str(error) == "/k0: Is wrong. /k1: Is wrong. /k2: Is wrong. And 9997 more."
    assert str(InvalidRequestError(faults[:2])) == "/k0: Is wrong. /k1: Is wrong."
    assert InvalidRequestError(faults[:50]).errors == tuple(faults[:50])


def test_what_a_client_made_long_is_cut() -> None:
    [told] = InvalidRequestError([FieldError("/" + "k" * 10**6, "x" * 10**6, "invalid")]).errors
    assert (len(told.pointer), len(told.detail)) == (100, 600)
    assert told.pointer.endswith("\u2026")
