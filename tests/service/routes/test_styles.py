"""Styles as clients see and name them; what becomes of them is in tests/darkroom/test_styles.py."""


def test_styles_are_listed_and_named_in_requests(api, work):
    assert api.get("/api/v1/styles").json()["data"] == [
        {"name": "ink", "model": None, "prompt": "{prompt}, ink", "negative_prompt": "photo"},
        {"name": "ink", "model": "other", "prompt": "{prompt}, blue ink", "negative_prompt": ""},
    ]
    made = {}
    for model in ("pix", "other"):
        body = {"model": model, "prompt": "a cat", "style": "ink"}
        job = api.post("/api/v1/jobs", json=body).json()
        made[model] = job["request"]["prompt"], job["request"]["negative_prompt"]
        assert "style" not in job
        assert "style" not in job["request"]
    assert made == {"pix": ("a cat, ink", "photo"), "other": ("a cat, blue ink", "")}
    assert {work.claim().request["prompt"] for _ in made} == {"a cat, ink", "a cat, blue ink"}


def test_a_model_tells_which_styles_it_has(api):
    model = api.get("/api/v1/models/other").json()
    assert model["styles"] == ["ink"]
    assert model["schemas"]["text-to-image"]["properties"]["style"]["enum"] == ["ink", None]


def test_a_style_that_there_is_not_is_refused(api):
    refused = api.post("/api/v1/jobs", json={"prompt": "a cat", "style": "inky"})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/style", "not_one_of")
    assert "Did you mean ink?" in error["detail"]
