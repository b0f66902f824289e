"""What a client that wrote an unknown name may have meant; used by service and worker, knows
neither HTTP nor torch."""

import re
from collections.abc import Collection
from difflib import get_close_matches

LONGEST = 40
"""Characters; no name that is meant is longer, and comparing takes time."""

ELSEWHERE = {
    "aspect_ratio": ("width", "height"),
    "base_image": ("image",),
    "batch_count": ("num_images",),
    "batch_size": ("num_images",),
    "bbox": ("box",),
    "bboxes": ("regions",),
    "bounding_box": ("box",),
    "box": ("regions",),
    "boxes": ("regions",),
    "cfg": ("guidance_scale",),
    "cfg_rescale": ("guidance_rescale",),
    "cfg_scale": ("guidance_scale",),
    "checkpoint": ("model",),
    "ckpt": ("model",),
    "class": ("class_label",),
    "class_id": ("class_label",),
    "compression": ("quality", "output.quality"),
    "conditioning_scale": ("scale",),
    "control_guidance_end": ("end",),
    "control_guidance_start": ("start",),
    "control_image": ("image", "controls"),
    "control_net": ("controls",),
    "controlnet": ("controls", "name"),
    "controlnet_conditioning_scale": ("scale", "controls"),
    "controlnet_units": ("controls",),
    "controlnets": ("controls",),
    "count": ("num_images",),
    "ddim_steps": ("num_inference_steps",),
    "denoise": ("strength",),
    "denoising_strength": ("strength",),
    "enable_hr": ("hires",),
    "eta": ("scheduler_options.eta",),
    "ext": ("format",),
    "extra": ("metadata",),
    "file_format": ("format", "output.format"),
    "file_type": ("format", "output.format"),
    "format": ("output.format",),
    "generator": ("seed",),
    "guidance": ("guidance_scale",),
    "guidance_end": ("end",),
    "guidance_start": ("start",),
    "hires_fix": ("hires",),
    "hires_scale": ("hires.scale",),
    "hires_steps": ("hires.num_inference_steps",),
    "hr_scale": ("hires.scale",),
    "hr_second_pass_steps": ("hires.num_inference_steps",),
    "hr_upscaler": ("hires.upscaler",),
    "image_count": ("num_images",),
    "image_format": ("output.format",),
    "image_prompt": ("reference_images",),
    "image_size": ("width", "height"),
    "image_strength": ("strength",),
    "image_url": ("image",),
    "image_urls": ("images",),
    "img": ("image",),
    "init_image": ("image",),
    "init_images": ("image",),
    "input": ("image", "prompt"),
    "input_image": ("image",),
    "input_images": ("images",),
    "inputs": ("prompt",),
    "ip_adapter_image": ("reference_images",),
    "ip_adapter_scale": ("reference_scale",),
    "iterations": ("num_inference_steps",),
    "jpeg_quality": ("quality", "output.quality"),
    "karras": ("sigmas", "scheduler_options.sigmas"),
    "label": ("phrase", "class_label", "tags"),
    "labels": ("tags",),
    "lora": ("loras", "name"),
    "lora_scale": ("loras",),
    "lora_weights": ("loras",),
    "manual_seed": ("seed",),
    "mask": ("mask_image",),
    "mask_url": ("mask_image",),
    "mime_type": ("format", "output.format"),
    "model_id": ("model",),
    "model_name": ("model",),
    "module": ("preprocess",),
    "n": ("num_images",),
    "n_iter": ("num_images",),
    "n_prompt": ("negative_prompt",),
    "n_samples": ("num_images",),
    "neg_prompt": ("negative_prompt",),
    "negative": ("negative_prompt",),
    "noise_schedule": ("sigmas", "scheduler_options.sigmas"),
    "noise_seed": ("seed",),
    "num_images_per_prompt": ("num_images",),
    "num_outputs": ("num_images",),
    "num_samples": ("num_images",),
    "num_steps": ("num_inference_steps",),
    "offset": ("cursor",),
    "original_inference_steps": ("scheduler_options.original_inference_steps",),
    "outpaint": ("padding",),
    "output_format": ("output.format",),
    "output_quality": ("output.quality",),
    "page": ("cursor",),
    "page_size": ("limit",),
    "path": ("name",),
    "per_page": ("limit",),
    "phrases": ("regions",),
    "positive_prompt": ("prompt",),
    "preprocessor": ("preprocess",),
    "processor": ("preprocess",),
    "prompt_strength": ("strength",),
    "quality": ("output.quality",),
    "random_seed": ("seed",),
    "rect": ("box",),
    "reference_image": ("reference_images",),
    "resolution": ("width", "height"),
    "response_format": ("output.format",),
    "sample_steps": ("num_inference_steps",),
    "sampler": ("scheduler",),
    "sampler_index": ("scheduler",),
    "sampler_name": ("scheduler",),
    "samples": ("num_images",),
    "sampling_method": ("scheduler",),
    "sampling_steps": ("num_inference_steps",),
    "scale": ("guidance_scale",),
    "schedule": ("scheduler",),
    "schedule_type": ("sigmas", "scheduler_options.sigmas"),
    "scheduler_name": ("scheduler",),
    "scheduler_type": ("scheduler",),
    "sd_model_checkpoint": ("model",),
    "sigmas": ("scheduler_options.sigmas",),
    "size": ("width", "height"),
    "source_image": ("image",),
    "spacing": ("timestep_spacing", "scheduler_options.timestep_spacing"),
    "state": ("status",),
    "steps": ("num_inference_steps",),
    "strength": ("scale",),
    "strength_model": ("scale",),
    "style_name": ("style",),
    "style_preset": ("style",),
    "styles": ("style",),
    "text": ("prompt", "phrase"),
    "text_prompt": ("prompt",),
    "timeout": ("deadline_s", "wait"),
    "timeout_s": ("deadline_s",),
    "timestep_spacing": ("scheduler_options.timestep_spacing",),
    "type": ("format", "name", "task"),
    "use_karras_sigmas": ("sigmas", "scheduler_options.sigmas"),
    "user_data": ("metadata",),
    "weight": ("scale",),
}
"""What other programs call our fields; of several the first that there is where it was written."""

_TOGETHER = frozenset({"width", "height"})


def meant_by(name: str, known: Collection[str]) -> str | None:
    """The name among `known` that a client most likely meant by `name`; dotted where it lies
    deeper, None where there is no guess."""
    if len(name) > LONGEST:
        return None
    plain = _snake_case(name)
    if plain in known:
        return plain
    ours = [each for each in ELSEWHERE.get(plain, ()) if each.partition(".")[0] in known]
    if _TOGETHER.issuperset(ours) and ours:
        return " and ".join(ours)
    if ours:
        return ours[0]
    return next(iter(get_close_matches(plain, sorted(known), 1, 0.75)), None)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A sentence to put after another, with a blank before it; empty where there is no guess."""
    guess = meant_by(name, known)
    return f" Did you mean {guess}?" if guess else ""


def _snake_case(name: str) -> str:
    """`cfgScale`, `CFG-Scale` and `cfg scale` as `cfg_scale`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", name.strip())
    return parted.lower()
