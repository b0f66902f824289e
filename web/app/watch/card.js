// One job on the contact sheet: its frames, how far it is, what can be done with it.

import { read } from "../api.js";
import { put, useRequest } from "../form/values.js";
import { html } from "../html.js";
import { link } from "../router.js";
import { Picture } from "../shared/picture.js";
import { say, sayFault } from "../shared/toast.js";
import { isOver, jobOf, previewOf, take, titleOf } from "./jobs.js";

/** @typedef {import("../types.js").Job} Job */

/** CSS pixels that a frame is wide, about. */
const FRAME = 180;

/** @param {{ id: string }} props */
export function Card({ id }) {
  const job = jobOf(id)?.value;
  if (!job) return null;
  const frames = framesOf(job);
  return html`
    <article class="card ${job.status}" aria-label=${titleOf(job)} style=${{ "--frames": frames.length }}>
      <p class="edge"><time dateTime=${job.created_at}>${clock(job.created_at)}</time><span>${job.request["model"]}</span></p>
      <div class="frames">${frames}</div>
      <p class="card-title" title=${titleOf(job)}>${titleOf(job)}</p>
      <${State} job=${job} />
      ${job.warnings.map((each) => html`<p class="warning" key=${each}>${each}</p>`)}
      <${Actions} job=${job} />
    </article>`;
}

/** @param {string} time */
function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/** Its pictures, or where they will be. @param {Job} job */
export function framesOf(job) {
  if (job.status === "succeeded") return job.images.map((each) => html`<${Done} key=${each.id} job=${job} image=${each} />`);
  const { width, height, num_images: count } = job.request;
  const aspectRatio = `${Number(width) || 1} / ${Number(height) || 1}`;
  const preview = previewOf(job.id).value;
  return Array.from({ length: isOver(job) ? 1 : Number(count) || 1 }, (_, n) => html`
    <div class="frame" key=${n}>
      <div class="print" style=${{ aspectRatio }}>
        ${n === 0 && preview && html`<img class="picture early" src=${preview} alt="" data-preview />`}
        ${isOver(job) && html`<span class="print-word">${job.status}</span>`}
      </div>
    </div>
  `);
}

/** @param {{ job: Job, image: import("../types.js").ImageRecord }} props */
function Done({ job, image }) {
  const { id, url, width, height, seed } = image;
  if (!url) return html`<div class="frame"><div class="print"><span class="print-word">withheld by the safety checker</span></div></div>`;
  return html`
    <div class="frame">
      <a class="print" href=${link("pictures", id, job.id)} style=${{ aspectRatio: `${width} / ${height}` }}>
        <${Picture} path=${url} alt=${`${titleOf(job)}, seed ${seed}`} w=${FRAME} width=${width} height=${height} />
      </a>
      <button type="button" class="seed" title="Use this seed" aria-label=${`Use seed ${seed}`} onClick=${() => useSeed(seed)}>${seed}</button>
    </div>`;
}

/** @param {number} seed */
function useSeed(seed) {
  put("seed", seed);
  say(`The next picture begins from seed ${seed}.`);
}

/** @param {{ job: Job }} props */
export function State({ job }) {
  if (job.status === "queued") return html`<p class="card-state">${waiting(job)}</p>`;
  if (job.status === "running") return html`<${Running} job=${job} />`;
  if (job.status === "failed") return html`<p class="card-state wrong">${job.error?.message ?? "It failed."}</p>`;
  if (job.status === "canceled") return html`<p class="card-state">${job.error?.message ?? "Canceled."}</p>`;
  return html`<p class="card-state">${facts(job)}</p>`;
}

/** @param {Job} job */
function waiting({ queue }) {
  if (!queue) return "Waits.";
  if (queue.reason) return queue.reason;
  const place = queue.position ? `${queue.position} ahead of it` : "Next";
  return queue.eta_s === null ? place : `${place}, about ${seconds(queue.eta_s)}`;
}

/** @param {{ job: Job }} props */
function Running({ job }) {
  const progress = job.progress;
  const ratio = progress?.ratio ?? 0;
  const left = progress?.eta_s ? ` · ${seconds(progress.eta_s)} left` : "";
  return html`
    <progress class="bar" max="1" value=${ratio} aria-label="Progress"></progress>
    <p class="card-state">${progress ? doing(progress) : "Begins"}${left}</p>`;
}

/** @param {NonNullable<Job["progress"]>} progress */
function doing({ stage, detail, loaded, step, steps }) {
  if (detail) return `${stage} ${detail}${loaded === null ? "" : `, ${Math.round(100 * loaded)} %`}`;
  if (stage === "denoise" && steps) return `step ${step} of ${steps}`;
  return { load: "waits for a place", encode: "reads the prompt", denoise: "begins", decode: "develops", save: "saves" }[stage];
}

/** @param {Job} job */
function facts({ request, timings, images }) {
  const image = images[0];
  const size = image ? `${image.width} × ${image.height}` : "";
  const steps = request["num_inference_steps"] ? `${request["num_inference_steps"]} steps` : "";
  const took = timings?.total ? seconds(timings.total) : "";
  return [size, steps, took].filter(Boolean).join(" · ");
}

/** @param {number} s */
export function seconds(s) {
  if (s < 1) return "1 s";
  if (s < 90) return `${Math.round(s)} s`;
  return s < 5400 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

/** @param {{ job: Job }} props */
function Actions({ job }) {
  if (!isOver(job)) {
    return html`<div class="card-actions"><button type="button" class="link" onClick=${() => cancel(job.id)}>Cancel</button></div>`;
  }
  return html`
    <div class="card-actions">
      <button type="button" class="link" onClick=${() => reuse(job)}>Use all settings</button>
      ${job.batch_id && html`<a class="link" href=${link("sweep", job.batch_id)}>Its sweep</a>`}
      ${job.status !== "succeeded" && html`<button type="button" class="link" onClick=${() => retry(job.id)}>Try again</button>`}
    </div>`;
}

/** @param {Job} job */
function reuse(job) {
  useRequest(/** @type {any} */ (job.request));
  document.getElementById("field-prompt")?.focus();
}

/** @param {string} id */
export async function cancel(id) {
  await read(`/api/v1/jobs/${id}/cancel`, { method: "POST" }).then(take, sayFault);
}

/** @param {string} id */
export async function retry(id) {
  await read(`/api/v1/jobs/${id}/retry`, { body: { preview: true } }).then(take, sayFault);
}
