"""LiteLLM and LangChain against the base URL that is given; prints what they got as JSON. Runs with
an interpreter of its own, which has what they need."""

import json
import sys
from pathlib import Path

import litellm
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

litellm.suppress_debug_info = True  # it would be printed between
base, picture, mask = sys.argv[1:]
asked = {"model": "openai/pix", "api_base": base, "api_key": "none"}
told = {}

made = litellm.image_generation(prompt="a cat", n=2, size="64x64", seed=7, **asked)
told["made"] = [bool(image.b64_json) for image in made.data]
with Path(picture).open("rb") as image, Path(mask).open("rb") as clear:
    edited = litellm.image_edit(image=image, mask=clear, prompt="blue", **asked)
told["edited"] = [bool(image.b64_json) for image in edited.data]
try:
    litellm.image_generation(prompt="a cat", size="big", **asked)
except litellm.BadRequestError as error:
    told["refused"] = str(error)
try:
    litellm.image_generation(
        prompt="a cat", model="openai/pix", api_base=f"{base}/x", api_key="none"
    )
except litellm.NotFoundError as error:
    told["missing"] = type(error).__name__

wrapper = DallEAPIWrapper(base_url=base, api_key="none", model="dall-e-3", size="64x64", n=2)
told["joined"] = wrapper.run("a cat")
print(json.dumps(told))
