"""From bodies of Google's API of pictures to native ones."""

import pytest

from darkroom.errors import InvalidRequestError
from service.dialects.google_requests import generated, native_of, predicted
from tests.offers import FLUX2, SD, UNSEEN

BOTH = {"inline_data": {"mime_type": "image/png", "data": "AAAA"}, "fileData": {"fileUri": "file_"}}


def content(*parts, **config):
    return {"contents": [{"parts": list(parts)}], "generationConfig": config}


def refused(call, *arguments):
    with pytest.raises(InvalidRequestError) as error:
        call(*arguments)
    [wrong] = error.value.errors
    return wrong.pointer, wrong.code


def test_one_may_stand_where_a_list_belongs() -> None:
    one = predicted({"instances": {"prompt": "a cat"}})
    assert one == predicted({"instances": [{"prompt": "a cat"}], "parameters": None})
    part = {"text": "a cat"}
    alone = generated({"contents": {"parts": part}})
    assert alone == generated({"contents": [{"role": "user", "parts": [part]}]})


def test_pictures_come_in_a_part_or_by_a_name() -> None:
    parts = [{name: value} for name, value in BOTH.items()]
    asked = generated(content({"text": "a"}, *parts, {"text": "b"}))
    assert (asked.prompt, asked.images) == ("a\nb", ("AAAA", "file_"))
    assert generated(content(parts[0])).prompt is None


def test_two_equal_turns_are_two() -> None:
    ask = {"role": "user", "parts": [{"text": "another"}]}
    shown = {"role": "model", "parts": [{"inlineData": {"data": "BBBB"}}]}
    asked = generated({"contents": [ask, shown, ask]})
    assert (asked.prompt, asked.images, len(asked.told)) == ("another", ("BBBB",), 1)


def test_the_model_may_have_the_last_word() -> None:
    shown = {"role": "model", "parts": [{"inlineData": {"data": "BBBB"}}]}
    asked = generated({"contents": [{"parts": [{"text": "a cat"}]}, shown]})
    assert (asked.prompt, asked.images) == ("a cat", ())


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ({}, None),
        ({"aspectRatio": "1:1"}, (64, 64)),
        ({"aspectRatio": "2:1"}, (88, 48)),
        ({"aspectRatio": "9:16"}, (48, 88)),
        ({"aspectRatio": "64:1"}, (512, 8)),  # down to the longest side
    ],
)
def test_the_shape_has_the_models_number_of_pixels_or_what_is_nearest(shape, sides) -> None:
    asked = generated(content({"text": "a"}, imageConfig=shape))
    body, _ = native_of(asked, (), SD)
    assert (body.get("width"), body.get("height")) == (sides or (None, None))


def test_what_has_no_size_here_is_refused() -> None:
    def sized(offer, images=(), **shape):
        asked = generated(content({"text": "a"}, *images, imageConfig=shape))
        return refused(native_of, asked, asked.images, offer)

    where = "/generationConfig/imageConfig"
    assert sized(SD, aspectRatio="69:1") == (f"{where}/aspectRatio", "out_of_range")
    assert sized(SD, imageSize="4K") == (f"{where}/imageSize", "out_of_range")
    assert sized(UNSEEN, aspectRatio="1:1") == (f"{where}/aspectRatio", "unsupported_field")
    picture = {"inlineData": {"data": "AAAA"}}
    assert sized(FLUX2, [picture], imageSize="1K") == (f"{where}/imageSize", "missing")


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ({}, {"format": "png"}),
        ({"compressionQuality": 5}, {"format": "png"}),
        ({"mimeType": "image/jpeg"}, {"format": "jpeg"}),
        ({"mimeType": "image/webp", "compressionQuality": 0}, {"format": "webp", "quality": 1}),
    ],
)
def test_the_file(given, output) -> None:
    asked = predicted({"instances": {"prompt": "a"}, "parameters": {"outputOptions": given}})
    assert native_of(asked, (), SD)[0]["output"] == output


def test_pictures_are_none_of_predicts() -> None:
    for name in ("image", "mask", "referenceImages"):
        body = {"instances": [{"prompt": "a", name: [{"bytesBase64Encoded": "AAAA"}]}]}
        assert refused(predicted, body) == ("/instances/0", "unsupported_field")
    assert predicted({"instances": [{"prompt": "a", "image": None}]}).prompt == "a"
