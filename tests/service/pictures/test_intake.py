import asyncio
import base64
import io
import os
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

import pytest
from PIL import Image

from darkroom.draft import Draft
from darkroom.errors import ImageNotFoundError, InvalidRequestError
from darkroom.images import ImageStore, StoredImage
from darkroom.job import new_image_id
from darkroom.outbound.client import Outbound
from darkroom.outbound.policy import Policy
from service.access import EVERYBODY
from service.pictures.fetching import Fetcher
from service.pictures.intake import InputImages, Taken
from service.pictures.pool import Decoders
from tests.outside import outside, replies
from tests.picture_files import encoded, noise
from tests.stored import file_of

PICTURE = base64.b64encode(encoded(noise())).decode()
OTHER = base64.b64encode(encoded(noise((8, 8)))).decode()


@pytest.fixture
def store(tmp_path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.fixture
def take(store) -> Callable[..., Taken]:
    """Takes in the pictures of a request."""

    def take(**values: object) -> Taken:
        return asyncio.run(_take(store, values))

    return take


async def _take(store: ImageStore, values: dict[str, object]) -> Taken:
    class All:
        async def find_image(self, image_id: str) -> StoredImage:
            return store.find(image_id)

        async def require_input(self, input_id: str) -> None:
            pass

    return await with_inputs(store, lambda inputs: inputs.take(Draft("any", values), All()))


class NoRights:
    """Of who names none that are in the store."""

    asker = EVERYBODY


async def with_inputs(
    store: ImageStore,
    use: Callable[[InputImages], Awaitable[Taken]],
    fetcher: Fetcher | None = None,
) -> Taken:
    async with InputImages(
        store, Decoders(1, 10**6), fetcher, max_pixels=4096, max_opened_pixels=10**6
    ) as inputs:
        return await use(inputs)


def test_a_file_that_is_used_as_a_mask_is_read_as_one(take, store):
    grey = base64.b64encode(encoded(noise((8, 8)).convert("L").convert("RGB"))).decode()
    picture = take(image=grey).draft.values["image"]
    mask = take(image=PICTURE, mask_image=picture).draft.values["mask_image"]
    assert mask != picture
    assert (shown(store, picture).mode, shown(store, mask).mode) == ("RGB", "L")
    assert take(image=picture, mask_image=mask).draft.values == {
        "image": picture,
        "mask_image": mask,
    }
    assert mask == take(mask_image=grey).draft.values["mask_image"]


def test_a_picture_is_kept_by_itself(store):
    async def keep(inputs):
        return [await inputs.keep(encoded(noise((8, 4))), kind, "#ffffff") for kind in KINDS]

    picture, mask = asyncio.run(with_inputs(store, keep))
    assert picture.size == mask.size == (8, 4)
    assert [len(store.read_input(each.input.id)) for each in (picture, mask)] == [
        picture.bytes,
        mask.bytes,
    ]


KINDS = ("picture", "mask")


def shown(store: ImageStore, input_id: str) -> Image.Image:
    return Image.open(io.BytesIO(store.read_input(input_id)))


EVERYWHERE = [
    ("image", lambda value: value, "/image"),
    ("mask_image", lambda value: value, "/mask_image"),
    ("controls", lambda value: [{"name": "edges", "image": value}], "/controls/0/image"),
    ("reference_images", lambda value: [PICTURE, value], "/reference_images/1"),
]


@pytest.mark.parametrize(("field", "around", "_"), EVERYWHERE)
@pytest.mark.parametrize(
    ("image_format", "prefix"), [("png", ""), ("jpeg", ""), ("webp", "/api/v1/images/")]
)
def test_a_finished_picture_can_be_the_input_of_the_next(
    store, take, field, around, _, image_format, prefix
):
    image_id = new_image_id()
    store.put(image_id, encoded(noise(), image_format), image_format)
    values = take(**{field: around(prefix + image_id)}).draft.values
    [*_, taken] = values[field] if isinstance(values[field], list) else [values[field]]
    input_id = taken["image"] if isinstance(taken, dict) else taken
    store.delete([image_id])
    assert shown(store, input_id).size == (32, 32)
    assert take(**{field: around(input_id)}).draft.values == values


@pytest.mark.parametrize(("field", "around", "pointer"), EVERYWHERE)
def test_a_url_is_taken_wherever_a_picture_goes(store, field, around, pointer):
    def take(url: str) -> Taken:
        draft = Draft("any", {field: around(url)})
        fetcher = Fetcher(Outbound(Policy(networks=(ip_network("127.0.0.1/32"),))), 10**6)
        return asyncio.run(
            with_inputs(store, lambda inputs: inputs.take(draft, NoRights()), fetcher)
        )

    with outside(replies(body=encoded(noise()))) as server:
        taken = take(f" {server.url}/a.png\n")
        assert len(server.asked) == 1
    assert taken.written
    with pytest.raises(InvalidRequestError) as caught:
        take("http://127.0.0.2/")
    assert caught.value.errors[0].pointer == pointer


@pytest.mark.parametrize(("field", "around", "pointer"), EVERYWHERE)
@pytest.mark.parametrize(
    "lost", ["img_" + "0" * 32, "file_" + "0" * 64, "file_1", "img_1", "é", "http://x/y.png"]
)
def test_what_cannot_be_had_is_told_at_its_field_and_leaves_nothing(
    store, take, field, around, pointer, lost
):
    with pytest.raises(InvalidRequestError) as caught:
        take(**{field: around(lost)})
    [error] = caught.value.errors
    assert (error.pointer, error.code) == (pointer, "invalid_input_image")
    assert list(store.input_ids(-10)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Is empty"),
        (" \n", "Is empty"),
        ("data:image/png;base64,", "Is empty"),
        ("img_1", "Is not the id of a picture"),
        ("img_" + "0" * 33, "Is not the id of a picture"),
        ("img_" + "0" * 31 + "G", "Is not the id of a picture"),
        ("/api/v1/images/img_019A", "Is not the id of a picture"),
        ("job_" + "0" * 32, "Is the id of a job; give that of one of its pictures"),
        ("/api/v1/jobs/job_" + "0" * 32, "Is the id of a job"),
        ("\ufeffjob_1", "Is the id of a job"),
    ],
)
def test_of_what_is_no_id_of_a_picture_it_is_said_what_is_wrong(take, text, told):
    with pytest.raises(InvalidRequestError, match=told):
        take(image=text)


@pytest.mark.parametrize("blank", ["\xa0", "\u200b", "\ufeff", "\u3000\r\n", "\u2060\u200d\x85 \t"])
@pytest.mark.parametrize("form", ["{}", "data:image/png;base64,{}"])
def test_unseen_blanks_around_a_picture_say_nothing(take, blank, form):
    plain = take(image=PICTURE).draft.values
    assert take(image=blank + form.format(PICTURE) + blank).draft.values == plain
    assert take(image=blank + plain["image"] + blank).draft.values == plain


def test_a_mask_is_read_as_one_and_told_of(store, take):
    with_hole = noise()
    with_hole.putalpha(Image.linear_gradient("L").resize((32, 32)))
    text = base64.b64encode(encoded(with_hole)).decode()
    taken = take(image=text, mask_image=text, background="#ff0000")
    assert shown(store, taken.draft.values["mask_image"]).mode == "L"
    assert shown(store, taken.draft.values["image"]).getpixel((0, 0))[0] > 250
    [warning] = taken.draft.warnings
    assert warning.startswith("mask_image was read by its transparency")
    assert taken.image_size == (32, 32)


def test_padding_shrinks_with_its_picture(take):
    large = base64.b64encode(encoded(Image.new("L", (256, 64)))).decode()
    padding = {"left": 128, "top": 64, "right": 0, "bottom": 2}
    taken = take(image=large, padding=padding)
    assert taken.image_size == (128, 32)
    assert taken.draft.values["padding"] == {"left": 64, "top": 32, "right": 0, "bottom": 1}


def test_only_what_is_new_is_given_up_again(store, take):
    kept = take(image=PICTURE).written
    taken = take(image=PICTURE, mask_image=OTHER)
    assert [each.id for each in taken.written] == [taken.draft.values["mask_image"]]
    asyncio.run(with_inputs(store, lambda inputs: inputs.give_up(taken.written)))
    assert list(store.input_ids(-10)) == [each.id for each in kept]


def test_what_somebody_else_sent_or_read_meanwhile_is_kept(store, take):
    for use in (lambda _: take(image=PICTURE), store.read_input):
        written = take(image=PICTURE).written
        use(written[0].id)
        asyncio.run(with_inputs(store, lambda inputs, w=written: inputs.give_up(w)))
        assert list(store.input_ids(-10)) == [written[0].id]
        file_of(store, written[0].id).unlink()


def test_a_picture_after_which_another_is_refused_leaves_nothing(store, take):
    with pytest.raises(InvalidRequestError):
        take(image=PICTURE, mask_image="junk")
    assert list(store.input_ids(-10)) == []


def test_who_leaves_leaves_nothing(store):
    async def leave(inputs: InputImages) -> None:
        read, write = os.pipe()

        class Slow:
            async def find_image(self, _: str) -> StoredImage:
                os.write(write, b".")
                await asyncio.sleep(3600)
                raise ImageNotFoundError("never")

        draft = Draft("any", {"image": PICTURE, "mask_image": "img_" + "0" * 32})
        work = asyncio.ensure_future(inputs.take(draft, Slow()))
        await asyncio.to_thread(os.read, read, 1)
        assert len(list(store.input_ids(-10))) == 1
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(with_inputs(store, leave))
    assert list(store.input_ids(-10)) == []
