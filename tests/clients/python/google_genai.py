"""Google's client against the base URL that is given, and one that asks for the key that is given;
prints what it got as JSON. Runs with an interpreter of its own, which has what it needs."""

import asyncio
import io
import json
import sys
from pathlib import Path

from google import genai
from google.genai import errors, types
from PIL import Image

base, guarded, key, picture = sys.argv[1:]


def connect(url, key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


def sizes(answer):
    """Of the pictures in it."""
    return [
        Image.open(io.BytesIO(part.inline_data.data)).size
        for candidate in answer.candidates
        for part in candidate.content.parts
    ]


def refusal(call, **asked):
    try:
        call(**asked)
    except errors.APIError as error:
        return [error.code, error.status, error.message]


client = connect(base, "none")
ask = client.models.generate_content
told = {"models": [model.name for model in client.models.list(config={"page_size": 2})]}
told["model"] = client.models.get(model="pix").supported_actions

shape = types.ImageConfig(aspect_ratio="2:1")
config = types.GenerateContentConfig(
    seed=7, candidate_count=2, response_modalities=["IMAGE"], image_config=shape
)
made = ask(model="pix", contents="a cat", config=config)
told["made"] = sizes(made)
told["about"] = [made.model_version, made.response_id, made.candidates[0].finish_reason.value]
told["header"] = made.sdk_http_response.headers["x-darkroom-job-id"]

image = types.Part.from_bytes(data=Path(picture).read_bytes(), mime_type="image/png")
told["edited"] = sizes(ask(model="pix", contents=[image, "bluer"]))

chat = client.chats.create(model="pix")
chat.send_message("a dog")
told["chatted"] = sizes(chat.send_message("now a green one"))

told["later"] = sizes(
    asyncio.run(client.aio.models.generate_content(model="imagen-x", contents="a cow"))
)
told["refused"] = refusal(ask, model="pix", contents="a", config={"candidate_count": 9})
told["failed"] = refusal(ask, model="pix", contents="a failure")

stranger, friend = (connect(guarded, each) for each in ("no", key))
told["unknown"] = refusal(stranger.models.get, model="pix")
told["known"] = friend.models.get(model="pix").name
print(json.dumps(told))
