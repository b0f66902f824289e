// The jobs that are shown while they run, and the newest that ended: listed once, then kept up to date
// by one stream of events. Survives reloads, dropped streams and sleep by listing anew.

import { batch, effect, signal } from "@preact/signals";
import { ask, read, Refusal } from "../api.js";
import { follow } from "../events.js";
import { connection, key, status } from "../state.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("@preact/signals").Signal<Job>} JobSignal */

/** How many that ended are shown. */
const ENDED = 24;
const LOOK_AT_QUEUE_MS = 2000;

/** By their ids. @type {Map<string, JobSignal>} */
const known = new Map();
/** Ids, newest first; null until they were listed. */
export const order = signal(/** @type {string[] | null} */ (null));
/** Why they could not be listed. */
export const listFault = signal(/** @type {Error | null} */ (null));
/** Addresses of early pictures, by the ids of jobs. @type {Map<string, import("@preact/signals").Signal<string>>} */
const previews = new Map();

/** @param {string} id */
export function jobOf(id) {
  return known.get(id);
}

/** The address of its early picture; empty while there is none. @param {string} id */
export function previewOf(id) {
  const found = previews.get(id) ?? signal("");
  previews.set(id, found);
  return found;
}

/** @param {Pick<Job, "status">} job */
export function isOver(job) {
  return job.status !== "queued" && job.status !== "running";
}

/** Begins to follow; for good. */
export function start() {
  follow("/api/v1/events", told, () => void list());
  key.subscribe(forget);
  setInterval(lookAtQueue, LOOK_AT_QUEUE_MS);
  effect(() => {
    if (connection.value === "ok" && listFault.peek()) void list();
  });
}

/** What another key sees is another's. */
function forget() {
  for (const id of known.keys()) dropPreview(id);
  known.clear();
  order.value = null;
}

/** A job that was just accepted or read. @param {Job} job */
export function take(job) {
  const have = known.get(job.id);
  if (have && isOver(have.peek()) && !isOver(job)) return; // an answer that came late
  batch(() => {
    if (have) have.value = job;
    else known.set(job.id, signal(job));
    if (isOver(job)) dropPreview(job.id);
    arrange();
  });
}

/** It was deleted. @param {string} id */
export function drop(id) {
  known.delete(id);
  dropPreview(id);
  arrange();
}

/** A batch whose jobs are all kept. */
let held = "";

/** Knows all jobs of a batch from now on, in place of another's. @param {string} batchId or nothing */
export async function hold(batchId) {
  held = batchId;
  for (let more = ""; held && held === batchId; ) {
    const { data, next_cursor: next } = await read(`/api/v1/jobs?batch=${batchId}&limit=100${more}`);
    batch(() => data.forEach(take));
    if (!next) return;
    more = `&cursor=${encodeURIComponent(next)}`;
  }
}

/** Newest first, and of those that ended the newest alone. */
function arrange() {
  let ended = 0;
  const ids = [...known.keys()].sort().reverse();
  const shown = ids.filter((id) => {
    const job = /** @type {JobSignal} */ (known.get(id)).peek();
    return !isOver(job) || ++ended <= ENDED || (held && job.batch_id === held);
  });
  for (const id of ids) if (!shown.includes(id)) known.delete(id);
  if (shown.join() !== order.peek()?.join()) order.value = shown;
}

export async function list() {
  try {
    const asked = [`limit=${ENDED}`, "status=running&limit=100", "status=queued&limit=100"];
    const pages = await Promise.all(asked.map((each) => read(`/api/v1/jobs?${each}`)));
    /** @type {Job[]} */
    const found = pages.flatMap((each) => each.data);
    batch(() => {
      listFault.value = null;
      const there = new Set(found.map((each) => each.id));
      const ended = [...known.keys()].filter((id) => !there.has(id));
      for (const id of ended) void reread(id);
      for (const job of found) take(job);
      order.value ??= [];
    });
    for (const job of found) if (job.status === "running") void fetchPreview(job.id);
  } catch (error) {
    listFault.value = /** @type {Error} */ (error);
  }
}

/** @param {string} id */
async function reread(id) {
  try {
    take(await read(`/api/v1/jobs/${id}`));
  } catch (error) {
    if (error instanceof Refusal && (error.status === 404 || error.status === 410)) drop(id);
  }
}

/** Nobody is told when those before it leave the queue. */
async function lookAtQueue() {
  const waits = [...known.values()].some((each) => each.peek().status === "queued");
  if (!waits || document.hidden || connection.peek() === "lost") return;
  const page = await read("/api/v1/jobs?status=queued&limit=100").catch(() => ({ data: [] }));
  for (const job of page.data) if (known.get(job.id)?.peek().status === "queued") take(job);
}

/** @param {import("../events.js").StreamEvent} event */
function told({ kind, data }) {
  if (kind === "missed") return void list();
  const id = data?.job_id;
  if (!id) return;
  const job = known.get(id);
  if (kind === "done") return ended(id, data);
  if (!job) return void reread(id);
  const now = job.peek();
  if (isOver(now)) return;
  if (kind === "status") changed(job, data);
  else if (kind === "progress") job.value = { ...now, status: "running", queue: null, progress: data };
  else if (kind === "preview") void fetchPreview(id);
  else if (kind === "image") job.value = { ...now, images: [...now.images.filter((each) => each.id !== data.id), data] };
  else if (kind === "log" && data.level === "warning") job.value = { ...now, warnings: [...now.warnings, data.message] };
}

/** @param {JobSignal} job @param {{ status: "queued" | "running", attempt: number | null }} data */
function changed(job, { status: to, attempt }) {
  const now = job.peek();
  const isBegun = to === "running";
  job.value = { ...now, status: to, progress: isBegun ? now.progress : null, queue: isBegun ? null : now.queue, attempts: attempt ?? now.attempts };
  if (isBegun) status.value = `Running: ${titleOf(now)}`;
  else void reread(now.id);
}

/** @param {string} id @param {{ status: Job["status"], job: Job | null }} data */
function ended(id, data) {
  if (!data.job) return void reread(id);
  take(data.job);
  const words = { succeeded: "Finished", failed: "Failed", canceled: "Canceled", queued: "", running: "" };
  status.value = `${words[data.status]}: ${titleOf(data.job)}`;
}

/** What a job is called on the page. @param {Job} job */
export function titleOf(job) {
  const { prompt, class_label: label, task } = job.request;
  return String(prompt || (label === undefined ? task : `class ${label}`) || "picture");
}

/** @type {Map<string, { isWanted: boolean }>} */
const fetching = new Map();

/** The newest early picture; one at a time, however quickly they come. @param {string} id */
async function fetchPreview(id) {
  const under = fetching.get(id);
  if (under) return void (under.isWanted = true);
  const state = { isWanted: true };
  fetching.set(id, state);
  try {
    while (state.isWanted) {
      state.isWanted = false;
      const answer = await ask(`/api/v1/jobs/${id}/preview`);
      const job = known.get(id)?.peek();
      if (answer.status === 200 && job && !isOver(job)) showPreview(id, await answer.blob());
    }
  } catch {
    // There will be another, or the picture itself.
  } finally {
    fetching.delete(id);
  }
}

/** @param {string} id @param {Blob} blob */
function showPreview(id, blob) {
  const url = previewOf(id);
  const before = url.peek();
  url.value = URL.createObjectURL(blob);
  if (before) URL.revokeObjectURL(before);
}

/** @param {string} id */
function dropPreview(id) {
  const url = previews.get(id);
  if (!url?.peek()) return;
  const before = url.peek();
  url.value = "";
  URL.revokeObjectURL(before);
}
