"""Whose pictures are: those that jobs made, those that were sent; sends nothing itself.

Each function is an exchange (`exchange.py`).
"""

from collections.abc import Iterable

from darkroom.queue.exchange import Exchange, Send, run, send


def owns_image(image_id: str, owner: str) -> Exchange[bool]:
    """Whether a job of this owner's made the picture. One that was made before there were owners,
    or by a worker of a version that knew of none, is nobody's."""
    return bool((yield from run("owns_image", image_id, owner)))


def has_sent(input_id: str, owner: str) -> Exchange[bool]:
    """Whether a job of this owner's, of the time that input pictures are kept for, had it, or they
    keep it as a file."""
    sent, kept = yield Send(
        (
            ("ZSCORE", f"darkroom:inputs:{owner}", input_id),
            ("HEXISTS", f"darkroom:file:{input_id}", owner),
        )
    )
    return sent is not None or bool(kept)


def is_loose(input_id: str) -> Exchange[bool]:
    """Whether something let go of an input picture, and nobody has looked yet who else has it."""
    return bool((yield from send("SISMEMBER", "darkroom:loose_inputs", input_id)))


def forget_images(image_ids: Iterable[str]) -> Exchange[None]:
    """These pictures are no more."""
    if names := list(image_ids):
        yield from send("HDEL", "darkroom:images", *names)
