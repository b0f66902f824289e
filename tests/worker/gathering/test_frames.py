import weakref

import torch

from worker.gathering.frames import drop_frames


def failing() -> tuple[BaseException, list[weakref.ref[torch.Tensor]]]:
    """An error that came from two others, each raised beside a tensor."""
    tensors: list[weakref.ref[torch.Tensor]] = []

    def hold() -> torch.Tensor:
        tensor = torch.zeros(1)
        tensors.append(weakref.ref(tensor))
        return tensor

    def first() -> None:
        _held = hold()
        raise KeyError("first")

    def second() -> None:
        _held = hold()
        try:
            first()
        except KeyError:
            raise ValueError("second")  # noqa: B904  # as libraries do

    try:
        try:
            second()
        except ValueError as error:
            raise OSError("third") from error
    except OSError as error:
        return error, tensors
    raise AssertionError


def test_an_error_that_is_kept_keeps_no_tensor() -> None:
    error, tensors = failing()
    assert len(tensors) == 2
    assert all(tensor() is not None for tensor in tensors)
    assert drop_frames(error) is error
    assert all(tensor() is None for tensor in tensors)


def test_errors_that_came_from_one_another_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__cause__ = other, one
    assert drop_frames(one) is one
