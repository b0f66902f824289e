import inspect

from darkroom import errors


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
