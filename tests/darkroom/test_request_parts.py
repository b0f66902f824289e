import pytest
from pydantic import ValidationError

from darkroom.request_parts import Control, Lora, Padding, Region


@pytest.mark.parametrize(
    ("cls", "given"),
    [
        (Lora, {"name": "ink", "scale": 10.5}),
        (Control, {"name": "edges", "image": "x", "scale": 2.5}),
        (Control, {"name": "edges", "image": "x", "preprocess": "depth"}),
        (Padding, {"left": -1}),
        (Region, {"phrase": "", "box": [0.0, 0.0, 1.0, 1.0]}),
        (Region, {"phrase": "a cat", "box": [0.5, 0.0, 0.5, 1.0]}),
    ],
)
def test_what_is_out_of_bounds_is_refused(cls, given) -> None:
    with pytest.raises(ValidationError):
        cls.model_validate(given)
