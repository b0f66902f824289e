"""What a denoising step costs when images share it, at full size with random weights.

    python -m benchmarks.gpu_steps [--minutes 8.5] [--json]
    python -m benchmarks.gpu_steps --tiny --device cpu

SD 1.5 at 512x512 and SDXL at 1024x1024, guidance on, so two rows an image. Cost only: random
weights say nothing about quality. Per model:

- seconds per step of n images, joined, against n times what one image takes by itself;
- host milliseconds per job and step, with the network replaced by one that does nothing;
- what makes the host wait for the device, as the profiler saw it in a few joined steps;
- whether a job's latents are the same bits whoever shares its passes, at one row count.

What does not fit in the minutes is left out and said so.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from worker.device import ROW_COUNTS
from worker.gathering.gather import Gather

IMAGES = (1, 2, 3, 4, 8)
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
WAITS = ("Synchronize", "aten::item", "aten::_local_scalar_dense", "aten::nonzero", "Memcpy DtoH")

SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 2),
    "up_block_types": (*("CrossAttnUpBlock2D",) * 2, "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 1280,
}
TINY = {
    "sample_size": 8,
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "layers_per_block": 1,
}


@dataclass(frozen=True)
class Model:
    name: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    gather: Gather
    device: torch.device
    dtype: torch.dtype

    @property
    def is_xl(self) -> bool:
        return self.unet.config.addition_embed_type is not None

    def job(self, seed: int, steps: int) -> Callable[[], torch.Tensor]:
        """One image's denoising, from its text embeddings to its latents."""
        width = self.unet.config.cross_attention_dim
        more = {"pooled_prompt_embeds": self._noise(seed, 1280)} if self.is_xl else {}
        more |= {f"negative_{name}": value for name, value in more.items()}
        text = self._noise(seed, 77, width)

        def job() -> torch.Tensor:
            return self._view()(
                prompt_embeds=text,
                negative_prompt_embeds=text.flip(1),
                num_inference_steps=steps,
                guidance_scale=7.5,
                generator=torch.Generator().manual_seed(seed),
                output_type="latent",
                **more,
            ).images

        return job

    def _view(self) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
        parts: dict[str, Any] = {
            "vae": self.vae,
            "unet": self.unet,
            "scheduler": DPMSolverMultistepScheduler(**BETAS, steps_offset=1),
            "text_encoder": None,
            "tokenizer": None,
        }
        if self.is_xl:
            view = StableDiffusionXLPipeline(
                **parts, text_encoder_2=None, tokenizer_2=None, add_watermarker=False
            )
        else:
            view = StableDiffusionPipeline(
                **parts,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        view.set_progress_bar_config(disable=True)
        return view

    def _noise(self, seed: int, *shape: int) -> torch.Tensor:
        noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1000 + seed))
        return noise.to(self.device, self.dtype)


def build(name: str, config: dict[str, Any], device: torch.device, *, tiny: bool) -> Model:
    """A model of random weights, on the device from the start."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if tiny:
        blocks = len(config["block_out_channels"])
        config = config | TINY | {"block_out_channels": (16, 32, 32, 32)[:blocks]}
        config.pop("transformer_layers_per_block", None)
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with device:
        unet = UNet2DConditionModel(in_channels=4, out_channels=4, **config).eval()
        vae = AutoencoderKL(  # never called: the pipelines ask it for its scale, which is 8
            block_out_channels=(8,) * 4,
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
        )
    torch.set_default_dtype(torch.float32)
    gather = Gather(row_counts=ROW_COUNTS if device.type == "cuda" else ())
    gather.wrap(unet, "unet")
    return Model(name, unet, vae, gather, device, dtype)


def together(model: Model, seeds: range | list[int], steps: int) -> dict[int, torch.Tensor]:
    """Run the jobs in shared passes; the latents of each."""
    for seed in seeds:
        model.gather.start(seed, model.job(seed, steps))
    while model.gather.parked:
        model.gather.run(list(model.gather.parked.values()))
    ended = model.gather.take_ended()
    for each in ended:
        if each.error is not None:
            raise each.error
    return {each.owner: each.value for each in ended}


def step_costs(model: Model, steps: int, rounds: int, deadline: float) -> list[dict[str, float]]:
    """For each number of images: milliseconds per step, joined and one at a time."""
    together(model, range(1), 2)
    rows, single = [], None
    for images in IMAGES:
        together(model, range(images), 2)
        joined = _median_ms(model, lambda n=images: together(model, range(n), steps), rounds)
        joined /= steps
        single = single or _median_ms(model, model.job(0, steps), rounds) / steps
        rows.append(
            {
                "images": images,
                "joined_ms": joined,
                "one_at_a_time_ms": single * images,
                "ratio": single * images / joined,
            }
        )
        if time.monotonic() > deadline:
            break
    return rows


def host_ms(model: Model, jobs: int = 8, steps: int = 30) -> float:
    """Host milliseconds per job and step beside the network: pipeline, scheduler, gathering."""
    parking, idle = model.unet.forward, Gather()
    model.unet.forward = _nothing_like(parking.__wrapped__)
    idle.wrap(model.unet, "unet")
    free = Model(model.name, model.unet, model.vae, idle, model.device, model.dtype)
    try:
        together(free, range(jobs), 3)
        took = _median_ms(free, lambda: together(free, range(jobs), steps), 3)
    finally:
        model.unet.forward = parking
    return took / jobs / steps


def waits(model: Model, jobs: int = 4, steps: int = 5) -> dict[str, float]:
    """What waits for the device, calls per job and step."""
    activities = [ProfilerActivity.CPU]
    if model.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as seen:
        together(model, range(jobs), steps)
    return {
        event.key: round(event.count / jobs / steps, 3)
        for event in seen.key_averages()
        if any(word in event.key for word in WAITS)
    }


def same_bits(model: Model, steps: int = 3) -> bool:
    """Whether a job's latents depend on who shares its passes, the row count being the same."""
    one = together(model, [1, 2, 3], steps)[1]
    other = together(model, [1, 4, 5], steps)[1]
    return torch.equal(one, other)


def measure(name: str, config: dict[str, Any], arguments: argparse.Namespace, until: float) -> Any:
    device = torch.device(arguments.device)
    model = build(name, config, device, tiny=arguments.tiny)
    began = time.monotonic()
    result = {
        "parameters": sum(p.numel() for p in model.unet.parameters()),
        "pixels": model.unet.config.sample_size * 8,
        "dtype": str(model.dtype).removeprefix("torch."),
        "steps": step_costs(model, arguments.steps, arguments.rounds, until),
        "host_ms_per_job_and_step": host_ms(model),
        "waits_per_job_and_step": waits(model),
        "same_bits_in_other_company": same_bits(model),
    }
    result["seconds"] = time.monotonic() - began
    return result


def _median_ms(model: Model, work: Callable[[], object], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        _wait(model.device)
        began = time.perf_counter()
        work()
        _wait(model.device)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def _nothing_like(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A network that answers at once, with the signature and the shape of the real one."""

    @functools.wraps(forward)
    def nothing(**arguments: Any) -> tuple[torch.Tensor]:
        return (arguments["sample"] * 0.5,)

    return nothing


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _show(result: dict[str, Any]) -> None:
    console = Console()
    console.print(f"{result['device']}, torch {result['torch']}")
    for name, model in result["models"].items():
        if "left_out" in model:
            console.print(f"{name}: {model['left_out']}")
            continue
        title = f"{name}, {model['pixels']} pixels a side, {model['dtype']}: ms per step"
        table = Table("images", "joined", "one at a time", "times faster", title=title)
        for row in model["steps"]:
            numbers = (row["joined_ms"], row["one_at_a_time_ms"], row["ratio"])
            table.add_row(str(row["images"]), *(f"{number:.2f}" for number in numbers))
        console.print(table)
        console.print(f"host ms per job and step: {model['host_ms_per_job_and_step']:.3f}")
        console.print(f"waits per job and step: {model['waits_per_job_and_step']}")
        console.print(f"same bits in other company: {model['same_bits_in_other_company']}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks: tries the script")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # of no use to a GPU, and on a busy CPU threads wait for one another
    began = time.monotonic()
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "models": {},
    }
    for share, (name, config) in zip((0.4, 0.85), (("SD 1.5", SD15), ("SDXL", SDXL)), strict=True):
        until = began + 60 * arguments.minutes * share
        if time.monotonic() > until:
            result["models"][name] = {"left_out": "no time left"}
            continue
        result["models"][name] = measure(name, config, arguments, until)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        _show(result)


if __name__ == "__main__":
    main()
