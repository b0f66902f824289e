// What can be done with a picture: more of its kind, an address for others, its end.

import { signal } from "@preact/signals";
import { address, read } from "../api.js";
import { beginWith } from "../canvas/picture.js";
import { put, useRequest } from "../form/values.js";
import { html } from "../html.js";
import { go } from "../router.js";
import { Dialog } from "../shared/dialog.js";
import { say, sayFault } from "../shared/toast.js";
import { models } from "../state.js";
import { jobOf, take, titleOf } from "../watch/jobs.js";
import { remove } from "./list.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").Job["images"][number]} Image */
/** @typedef {{ label: string, title: string, act: () => unknown }} Action */

/** How much a variation may differ from the picture. */
const VARIED = 0.6;
const LINK_LASTS_S = 7 * 24 * 3600;

/** @param {Job} job @param {Image} image @returns {Action[]} */
export function actionsOf(job, image) {
  const { request } = job;
  const upscaler = models.value?.find((each) => each.tasks.includes("upscale") && !each.error);
  const { prompt, negative_prompt: negative } = request;
  /** @type {(Action | false | undefined)[]} */
  const all = [
    { label: "Use all settings", title: "Settings and seed of this very picture", act: () => toMake(() => useRequest({ ...request, seed: image.seed, num_images: 1 })) },
    Boolean(prompt) && { label: "Same prompt", title: "And the model as it is set", act: () => toMake(() => (put("prompt", prompt), put("negative_prompt", negative || undefined))) },
    { label: "Same seed", title: String(image.seed), act: () => toMake(() => put("seed", image.seed)) },
    { label: "As input", title: "Begin the next picture with this one", act: () => toMake(() => beginWith(image.id)) },
    { label: "Vary", title: "Others much like it", act: () => vary(job, image) },
    upscaler && { label: "Upscale", title: `Larger, by ${upscaler.id}`, act: () => send("/api/v1/jobs", { model: upscaler.id, image: image.id, tags: job.tags }) },
  ];
  return all.filter((each) => !!each);
}

/** Others that are much like it, where its model begins with pictures; else its job again, with other seeds.
 * @param {Job} job @param {Image} image */
async function vary({ id, request, tags }, image) {
  const { schemas } = await read(`/api/v1/models/${encodeURIComponent(String(request["model"]))}`);
  const takes = schemas["image-to-image"]?.properties ?? {};
  if (!takes.image || !["text-to-image", "image-to-image"].includes(String(request["task"]))) return send(`/api/v1/jobs/${id}/retry`, { seed: null, preview: true });
  const kept = Object.entries(request).filter(([name, value]) => name in takes && value !== null && name !== "task" && name !== "seed");
  return send("/api/v1/jobs", { ...Object.fromEntries(kept), image: image.id, strength: VARIED, num_images: 1, preview: true, tags });
}

/** @param {() => void} change of what is wished there */
function toMake(change) {
  change();
  addEventListener("hashchange", () => setTimeout(() => document.getElementById("field-prompt")?.focus()), { once: true });
  go("make");
}

/** @param {string} path @param {object} body */
async function send(path, body) {
  take(await read(path, { body }));
  say("It is on its way, and shows here when it is made.");
}

/** Where it is for others, too: signed, where keys are asked for. @param {string} path */
export async function copyLink(path) {
  const [{ url, expires_at: end }] = (await read("/api/v1/signed-urls", { body: { paths: [path], expires_s: LINK_LASTS_S } })).data;
  const link = address(url);
  if (navigator.clipboard) await navigator.clipboard.writeText(link);
  else prompt("The link", link); // a page that came by plain http may not copy
  say(end ? "Copied. Whoever has this link sees the picture, for a week." : "Copied.");
}

/** The job that is asked about, and what follows where it is deleted. */
const asked = signal(/** @type {{ job: Job, gone: () => void } | null} */ (null));

/** @param {string} jobId @param {() => void} gone is called once it is */
export async function askToDelete(jobId, gone) {
  const job = jobOf(jobId)?.peek() ?? (await read(`/api/v1/jobs/${jobId}`).catch(sayFault));
  if (job) asked.value = { job, gone };
}

/** Asks before pictures are deleted, which nothing brings back. */
export function Confirm() {
  if (!asked.value) return null;
  const { job, gone } = asked.value;
  const close = () => (asked.value = null);
  const count = job.images.filter((each) => each.url).length;
  const erase = async () => {
    close();
    await remove(job.id);
    gone();
    say(count > 1 ? `${count} pictures were deleted.` : "The picture was deleted.");
  };
  return html`
    <${Dialog} title=${count > 1 ? `Delete ${count} pictures?` : "Delete this picture?"} close=${close}>
      <p class="card-title">${titleOf(job)}</p>
      <p class="help">${count > 1 ? "One job made them, and they go together. Nothing brings them back." : "Nothing brings it back."}</p>
      <div class="choices"><button type="button" autofocus onClick=${close}>Keep</button>
        <button type="button" class="danger" onClick=${() => erase().catch(sayFault)}>Delete for good</button></div>
    <//>`;
}
