// What an operator sees, read anew every few seconds while somebody looks; what an operator does about
// it. Knows no element.

import { signal } from "@preact/signals";
import { pause, read, Refusal } from "../api.js";
import { say, sayFault } from "../shared/toast.js";
import { key, models } from "../state.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {"running" | "queued" | "failed"} Shown */
/** @typedef {{ queue: import("../types.js").QueueListing, workers: import("../types.js").Worker[],
 *   jobs: { status: Shown, data: Job[], has_more: boolean }, at: Date }} Seen */

const EVERY_MS = 3000;
/** What was seen last; null until then. */
export const seen = signal(/** @type {Seen | null} */ (null));
/** Why nothing newer could be seen; null if it could. */
export const fault = signal(/** @type {Error | null} */ (null));
/** Whether jobs are accepted and worked on. */
export const ready = signal(/** @type {import("../types.js").Ready | null} */ (null));
/** Which jobs are listed. */
export const shown = signal(/** @type {Shown} */ ("running"));

let looks = 0;
key.subscribe(() => (seen.value = ready.value = fault.value = null));

/** @param {Shown} [status] which jobs are listed from now on */
export async function look(status = shown.peek()) {
  const own = ++looks;
  shown.value = status;
  const away = (/** @type {Error} */ { message }) => ({ status: "away", detail: message });
  const asked = read("/readyz").catch(away).then((told) => void (own === looks && (ready.value = told)));
  try {
    const paths = ["queue", "workers", "models", `jobs?limit=50&status=${status}`];
    const [queue, workers, offered, jobs] = await Promise.all([...paths.map((each) => read(`/api/v1/${each}`)), asked]);
    if (own !== looks) return; // a later look has begun
    models.value = offered.data;
    seen.value = { queue, workers: workers.data, jobs: { ...jobs, status }, at: new Date() };
    fault.value = null;
  } catch (error) {
    if (own === looks) fault.value = /** @type {Error} */ (error);
  }
}

/** Looks again and again until it is told to stop; a key that may not is not asked with twice. */
export function watch() {
  const over = new AbortController();
  const mayNot = () => fault.peek() instanceof Refusal && /** @type {Refusal} */ (fault.peek()).status === 403;
  void (async () => {
    for (; !over.signal.aborted; await pause(EVERY_MS, over.signal)) if (!document.hidden && !mayNot()) await look();
  })();
  return () => over.abort();
}

/** @param {string} path @param {string} done what to say of it */
export async function act(path, done) {
  await read(`/api/v1/${path}`, { method: "POST" }).then(() => say(done), sayFault);
  await look();
}
