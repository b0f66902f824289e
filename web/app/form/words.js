// What fields are called on the page and where they stand. A field that is not named here appears by
// itself, under its own name, in the last group.

/** @type {Record<string, string>} */
export const LABELS = {
  deadline_s: "Deadline in seconds",
  guidance_scale: "Guidance",
  num_images: "Pictures",
  num_inference_steps: "Steps",
  original_inference_steps: "Original steps",
  ttl_s: "Kept for seconds",
};

/** @type {{ title: string, fields: string[] }[]} */
export const GROUPS = [
  { title: "Prompt and guidance", fields: ["negative_prompt", "guidance_scale", "guidance_rescale", "clip_skip"] },
  { title: "Steps and scheduler", fields: ["num_inference_steps", "scheduler", "scheduler_options", "hires"] },
  { title: "File and job", fields: ["output", "priority", "tags", "metadata", "deadline_s", "ttl_s", "deterministic"] },
];

/** The group of all that no other names. */
export const REST = "More";

/** What has a place of its own on the page, or is the page's own business. */
export const ELSEWHERE = new Set([
  ...["task", "model", "prompt", "width", "height", "num_images", "seed", "style", "loras", "preview"],
  ...["controls", "reference_images", "reference_scale", "images", "image", "mask_image", "padding", "strength"],
  ...["regions", "webhook"],
]);

/** @param {string} name */
export function labelOf(name) {
  const words = name.replaceAll("_", " ");
  return LABELS[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}
