"""Whole jobs on today's transformers, made by stock pipelines in company: what they make alone.

Texts are given as embeddings: how pipelines get at these is no concern of a gather.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.guiders import AdaptiveProjectedMixGuidance
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image

from tests import tiny, tiny_transformers
from tests.gathering import difference, tick, values, witnessed
from tests.tiny_transformers import TEXT
from worker.gathering.gather import Gather

CALL_TOLERANCE = 1e-12
JOB_TOLERANCE = 1e-9


MASK = Image.new("L", (16, 16))
MASK.paste(255, (4, 4, 12, 12))


@dataclass(frozen=True)
class Job:
    pipeline: str
    seed: int
    steps: int = 3
    guidance: float = 0.0
    images: int = 1
    tokens: int = 6
    """Of the prompt, where prompts come at any length."""
    strength: float | None = None
    references: tuple[int, ...] = ()
    """The sides of pictures to look at, in pixels."""

    @property
    def picture(self) -> Image.Image:
        return noise(self.seed, 16)


def noise(seed: int, side: int) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def text(seed: int, tokens: int, dtype: torch.dtype, width: int = TEXT) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(1, tokens, width, generator=generator, dtype=torch.float64).to(dtype)


def changed(job: Job) -> dict[str, Any]:
    """A picture, and where it is to be painted anew, for tasks that begin with one."""
    if job.strength is None:
        return {}
    asked: dict[str, Any] = {"image": job.picture, "strength": job.strength}
    if "Inpaint" in job.pipeline:
        asked["mask_image"] = MASK
    return asked


def masked(
    job: Job, dtype: torch.dtype, length: int = 12, name: str = "attention_mask"
) -> dict[str, Any]:
    """A prompt and a negative one, both filled up to `length`."""
    mask = (torch.arange(length) < job.tokens).long()[None]
    return {
        "prompt_embeds": text(job.seed, length, dtype),
        "negative_prompt_embeds": text(-1, length, dtype),
        f"prompt_{name}": mask,
        f"negative_prompt_{name}": mask,
        "guidance_scale": 1 + job.guidance,
    }


def qwen(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "prompt_embeds": text(job.seed, job.tokens, dtype),
        "prompt_embeds_mask": torch.ones(1, job.tokens),
        "true_cfg_scale": job.guidance,
    }
    if job.guidance > 1:
        negative = {"embeds": text(-1, 2, dtype), "embeds_mask": torch.ones(1, 2)}
        asked |= {f"negative_prompt_{name}": value for name, value in negative.items()}
    asked |= changed(job)
    if job.references:
        asked["image"] = [noise(job.seed, side) for side in job.references]
    return asked


def z_image(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "prompt_embeds": list(text(job.seed, job.tokens, dtype)),
        "negative_prompt_embeds": list(text(-1, 3, dtype)),
        "guidance_scale": job.guidance,
    }
    asked |= changed(job)
    return asked


def flux2(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "prompt_embeds": text(job.seed, 8, dtype),
        "guidance_scale": 1 + job.guidance,
        "image": [noise(job.seed, side) for side in job.references] or None,
    }
    if "Klein" in job.pipeline:
        asked["negative_prompt_embeds"] = text(-1, 8, dtype)
    return asked


def kontext(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    rows = (job.images, -1, -1)
    return {
        "prompt_embeds": text(job.seed, 8, dtype, 32).expand(rows),
        "pooled_prompt_embeds": text(job.seed, 1, dtype).expand(rows)[:, 0],
        "num_images_per_prompt": 1,
        "guidance_scale": 1 + job.guidance,
        "image": [noise(job.seed, side) for side in job.references] or None,
        "max_area": 16 * 16,
        "_auto_resize": False,
    }


def chroma(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    asked = masked(job, dtype, 8)
    for name in [name for name in asked if "prompt" in name]:
        asked[name] = asked[name].to(dtype).expand(job.images, *asked[name].shape[1:])
    asked["num_images_per_prompt"] = 1
    asked |= changed(job)
    return asked


def fixed(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    """Sana and PixArt."""
    return masked(job, dtype) | {"negative_prompt": None, "use_resolution_binning": False}


def hunyuan_image(job: Job, dtype: torch.dtype) -> dict[str, Any]:
    asked = masked(job, dtype, name="embeds_mask")
    del asked["guidance_scale"]
    for name in ("prompt", "negative_prompt"):
        asked[f"{name}_embeds_2"] = text(job.seed + 1, 6, dtype)
        asked[f"{name}_embeds_mask_2"] = (torch.arange(6) < job.seed % 3).long()[None]
    return asked


@dataclass(frozen=True)
class Family:
    network: Callable[[], torch.nn.Module]
    asked: Callable[[Job, torch.dtype], dict[str, Any]]
    jobs: list[Job]
    forwards: int
    """That it takes for these jobs, each step of each key being one."""
    side: int = 16
    """Of the pictures that are made, in pixels."""
    vae: Callable[[], torch.nn.Module] | None = None
    scheduler: Callable[[], Any] = FlowMatchEulerDiscreteScheduler
    parts: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """What else the pipeline is made of."""


def shifting() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)


def of(kind: str) -> Callable[[], torch.nn.Module]:
    return lambda: tiny_transformers.made(kind)


FAMILIES = {
    # Prompts of 6 to 30 tokens and the negative one of 2 share forwards: at most 4 + 4 steps with
    # guidance; one of 40 takes 3 of its own.
    "qwen-image": Family(
        of("qwen-image"),
        qwen,
        [
            Job("QwenImagePipeline", 1, steps=4, guidance=4.0, tokens=30),
            Job("QwenImagePipeline", 2, guidance=2.0, images=2),
            Job("QwenImageImg2ImgPipeline", 3, steps=5, strength=0.6, tokens=17),
            Job("QwenImageInpaintPipeline", 4, strength=1.0),
            Job("QwenImagePipeline", 5, tokens=40),
        ],
        forwards=8 + 3,
        side=32,
        vae=tiny_transformers.qwen_vae,
    ),
    # References of one size share forwards, 3 + 3 with guidance; one of another size takes 3.
    "qwen-image-edit": Family(
        of("qwen-edit-2511"),
        qwen,
        [
            Job("QwenImageEditPlusPipeline", 1, guidance=4.0, references=(32,)),
            Job("QwenImageEditPlusPipeline", 2, tokens=30, references=(32,), images=2),
            Job("QwenImageEditPlusPipeline", 3, references=(32,)),
            Job("QwenImageEditPlusPipeline", 4, references=(32, 32)),
        ],
        forwards=6 + 3,
        side=32,
        vae=tiny_transformers.qwen_vae,
    ),
    # Without guidance 4, with it 3, and 3 for a longer prompt.
    "z-image": Family(
        of("z-image"),
        z_image,
        [
            Job("ZImagePipeline", 1, steps=4),
            Job("ZImagePipeline", 2, images=2, tokens=31),
            Job("ZImageImg2ImgPipeline", 3, steps=5, strength=0.6),
            Job("ZImagePipeline", 4, guidance=4.0, tokens=40),
            Job("ZImageImg2ImgPipeline", 5, guidance=2.0, strength=1.0, images=2, tokens=50),
            Job("ZImagePipeline", 6, tokens=40),
            Job("ZImageInpaintPipeline", 7, strength=1.0, tokens=20),
        ],
        forwards=4 + 3 + 3,
        vae=tiny_transformers.vae,
    ),
    # Without references 4, with one of this size 3, with two 3.
    "flux2": Family(
        of("flux2"),
        flux2,
        [
            Job("Flux2Pipeline", 1, steps=4, guidance=3.0),
            Job("Flux2Pipeline", 2, guidance=1.0, images=2),
            Job("Flux2Pipeline", 3, references=(64,)),
            Job("Flux2Pipeline", 4, guidance=3.0, references=(64,), images=2),
            Job("Flux2Pipeline", 5, references=(64, 64)),
        ],
        forwards=4 + 3 + 3,
        vae=tiny_transformers.flux2_vae,
    ),
    "flux2-klein": Family(
        lambda: _network(lambda: tiny_transformers.flux2(guidance_embeds=False)),
        flux2,
        [
            Job("Flux2KleinPipeline", 1, steps=4),
            Job("Flux2KleinPipeline", 2, guidance=3.0, images=2),
            Job("Flux2KleinPipeline", 3, references=(64,)),
            Job("Flux2KleinPipeline", 4, guidance=1.0, references=(64,)),
        ],
        forwards=6 + 6,
        vae=tiny_transformers.flux2_vae,
        parts={"is_distilled": lambda: False},
    ),
    "flux-kontext": Family(
        lambda: tiny.flux().transformer.double(),
        kontext,
        [
            Job("FluxKontextPipeline", 1, steps=4, guidance=2.0),
            Job("FluxKontextPipeline", 2, images=2),
            Job("FluxKontextPipeline", 3, references=(16,)),
            Job("FluxKontextPipeline", 4, guidance=2.0, references=(16,), images=2),
        ],
        forwards=4 + 3,
        vae=tiny_transformers.vae,
        parts={"text_encoder_2": lambda: None, "tokenizer_2": lambda: None},
    ),
    "chroma": Family(
        of("chroma"),
        chroma,
        [
            Job("ChromaPipeline", 1, steps=4, guidance=2.0),
            Job("ChromaPipeline", 2, images=2, tokens=3),
            Job("ChromaImg2ImgPipeline", 3, steps=5, strength=0.6, guidance=3.0),
        ],
        forwards=8,
        vae=tiny_transformers.vae,
    ),
    "sana": Family(
        of("sana"),
        fixed,
        [
            Job("SanaPipeline", 1, steps=4, guidance=2.0),
            Job("SanaPipeline", 2, images=2, tokens=3),
            Job("SanaPipeline", 3, guidance=3.0),
        ],
        forwards=4,
        side=256,
    ),
    "pixart": Family(
        of("pixart"),
        fixed,
        [
            Job("PixArtSigmaPipeline", 1, steps=4, guidance=2.0),
            Job("PixArtSigmaPipeline", 2, images=2, tokens=3),
            Job("PixArtAlphaPipeline", 3, guidance=3.0),
        ],
        forwards=4,
        vae=tiny_transformers.vae,
        scheduler=diffusers.DPMSolverMultistepScheduler,
    ),
    # 4 + 4 for prompts of 6 tokens; 3 for one of 4.
    "lumina2": Family(
        of("lumina2"),
        masked,
        [
            Job("Lumina2Pipeline", 1, steps=4, guidance=2.0),
            Job("Lumina2Pipeline", 2, images=2),
            Job("Lumina2Pipeline", 3, guidance=3.0),
            Job("Lumina2Pipeline", 4, tokens=4),
        ],
        forwards=8 + 3,
        side=64,
        vae=tiny_transformers.vae,
    ),
    "aura-flow": Family(
        of("aura-flow"),
        masked,
        [
            Job("AuraFlowPipeline", 1, steps=4, guidance=2.0),
            Job("AuraFlowPipeline", 2, images=2),
            Job("AuraFlowPipeline", 3, guidance=3.0),
        ],
        forwards=4,
        vae=tiny_transformers.vae,
    ),
    "hunyuan-image": Family(
        of("hunyuan-image"),
        hunyuan_image,
        [
            Job("HunyuanImagePipeline", 1, steps=4),
            Job("HunyuanImagePipeline", 2, images=2, tokens=3),
            Job("HunyuanImagePipeline", 3, tokens=9),
        ],
        forwards=8,
        side=256,
        parts={
            "text_encoder_2": lambda: None,
            "tokenizer_2": lambda: None,
            "guider": AdaptiveProjectedMixGuidance,
            "ocr_guider": lambda: None,
        },
    ),
}


def _network(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    torch.manual_seed(7)
    return tiny_transformers.awake(make()).double()


class Company:
    """Pipelines of a family around one network, whose calls park."""

    def __init__(self, family: Family, gather: Gather, dtype: torch.dtype) -> None:
        self.family, self.gather, self.dtype = family, gather, dtype
        self.differences: list[float] = []
        self.network = torch.nn.Module.to(family.network(), dtype)
        torch.manual_seed(11)
        self.vae = family.vae().to(dtype).eval() if family.vae is not None else None
        gather.wrap(self.network, "transformer")
        self.network.forward = witnessed(self.network.forward, self.differences)

    def make(self, job: Job) -> torch.Tensor:
        """The latents that the job ends with."""
        cls = getattr(diffusers, job.pipeline)
        named = {"tokenizer": None, "text_encoder": None, "processor": None, "vae": self.vae}
        named |= {"transformer": self.network, "scheduler": self.family.scheduler()}
        named |= {name: make() for name, make in self.family.parts.items()}
        accepted = cls.__init__.__code__.co_varnames
        pipeline = cls(**{k: v for k, v in named.items() if k in accepted})
        pipeline.set_progress_bar_config(disable=True)
        generators = [torch.Generator().manual_seed(job.seed + i) for i in range(job.images)]
        asked = {
            "num_inference_steps": job.steps,
            "num_images_per_prompt": job.images,
            "generator": generators if job.images > 1 else generators[0],
            "width": self.family.side,
            "height": self.family.side,
            "output_type": "latent",
        }
        return pipeline(**asked | self.family.asked(job, self.dtype)).images

    def together(self, jobs: list[Job]) -> list[torch.Tensor]:
        """All at once; every call can be joined."""
        self.differences.clear()
        for index, job in enumerate(jobs):
            self.gather.start(index, lambda job=job: self.make(job))
        while self.gather.parked:
            assert all(call.joinable for call in self.gather.parked.values())
            tick(self.gather)
        made = values({each.owner: each for each in self.gather.take_ended()})
        return [made[index] for index in range(len(jobs))]


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(autouse=True)
def small_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen-Image's pipeline would enlarge them to a million pixels."""
    for name in ("VAE_IMAGE_SIZE", "CONDITION_IMAGE_SIZE"):
        monkeypatch.setattr(pipeline_qwenimage_edit_plus, name, 32 * 32)


@pytest.mark.parametrize("name", FAMILIES)
def test_jobs_in_company_make_what_they_make_alone(name: str) -> None:
    family = FAMILIES[name]
    company = Company(family, Gather(), torch.float64)
    alone = [company.make(job) for job in family.jobs]
    joined = company.together(family.jobs)
    assert max(company.differences) <= CALL_TOLERANCE
    assert max(map(difference, joined, alone)) <= JOB_TOLERANCE
    assert company.gather.forwards == family.forwards
    assert company.gather.forwards < len(company.differences)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_job_has_the_same_bits_whoever_the_others_are(name: str) -> None:
    family = FAMILIES[name]
    company = Company(family, Gather(row_counts=[12]), torch.float32)
    made = [company.together([job])[0] for job in family.jobs]
    joined = company.together(family.jobs)
    assert company.gather.joined_calls > 0
    assert all(map(torch.equal, joined, made))
