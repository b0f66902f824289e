// Who works, and with what: what each worker does and gets through; models, how soon a job for each is
// worked on, and what could not be loaded; draining a worker.

import { useState } from "preact/hooks";
import { html } from "../html.js";
import { Dialog } from "../shared/dialog.js";
import { Empty } from "../shared/states.js";
import { models } from "../state.js";
import { Act, ago, counted, Part, round, Row } from "./parts.js";
import { act } from "./seen.js";

/** @typedef {import("../types.js").Worker} Worker */

/** @param {{ workers: Worker[] }} props */
export function Workers({ workers }) {
  const [drained, setDrained] = useState("");
  const close = () => setDrained("");
  const drain = () => act(`workers/${encodeURIComponent(drained)}/drain`, `${drained} takes no more jobs and ends.`).then(close);
  return html`
    <${Part} title="Workers" told=${workers.length ? `${workers.length} alive` : ""}>
      ${!workers.length && html`<${Empty} title="No worker is alive">Jobs are accepted and wait. Start one: <code>python -m worker</code>, or <code>darkroom up</code> for all in one.<//>`}
      ${workers.map((each) => html`<${One} key=${each.name} worker=${each} drain=${() => setDrained(each.name)} />`)}
      ${drained && html`
        <${Dialog} title=${`Drain ${drained}?`} close=${close}>
          <p>It takes no more jobs. Those that run get its grace period to end, then they go back to the queue, and it ends. Only who started it can start it again.</p>
          <div class="dialog-actions"><button type="button" onClick=${close}>Keep it</button><button type="button" onClick=${drain}>Drain</button></div>
        <//>`}
    <//>`;
}

/** @param {{ worker: Worker, drain: () => void }} props */
function One({ worker, drain }) {
  const { name, state, running, max_jobs: most, loads, passes, joined_passes: joined, speed, device, host, version, started_at: since, seen_at: last } = worker;
  const [jobs, { free, total, allocated = 0 }] = [counted(running, "job"), /** @type {Record<string, number>} */ (worker.memory ?? {})];
  const told = { starting: "starts", loading: `loads ${loads ?? "a model"}`, idle: "idle", busy: `${jobs}, at most ${most} in a pass`, draining: `drains, ${jobs} left` };
  const stepOf = (/** @type {string} */ id) => models.value?.find((each) => each.id === id && each.record?.worker === name)?.record?.step_s;
  return html`<${Row} name=${name} told=${told[state]} action=${state !== "draining" && html`<${Act} word="Drain" label=${`Drain ${name}`} act=${drain} />`} facts=${[
    ["In memory", worker.models.map((each) => [each, stepTime(stepOf(each))].filter(Boolean).join(", ")).join("; ") || "no model"],
    ["Serves", worker.serves.join(", ")],
    ["Device memory", free !== undefined && total && html`${gib(total - free)} of ${gib(total)} GiB, ${gib(allocated)} by this worker
      <progress class="bar" max=${total} value=${total - free} aria-label=${`Device memory of ${name}`} />`],
    ["Passes", passes ? `${passes.toLocaleString()}, ${Math.round((100 * joined) / passes)} % shared by several jobs` : "none yet"],
    ["Speed", speed === null ? "not known yet" : `${round(speed)} s of work a second`],
    ["Runs on", `${device} of ${host}, version ${version}`],
    ["Signs of life", `${last ? ago(last) : "none"}, the first ${ago(since)}`],
  ]} />`;
}

const WORDS = { loaded: "in memory", loading: "is loading", not_loaded: "its first job loads it", failed: "could not be loaded", no_worker: "without a worker" };

/** @param {{ states: import("../types.js").Ready["models"] | undefined }} props */
export function Models({ states }) {
  const all = models.value ?? [];
  return html`
    <${Part} title="Models" told=${all.length ? `${all.length} on offer` : ""}>
      ${!all.length && html`<${Empty} title="No model is on offer">Add one: <code>darkroom models add</code>.<//>`}
      ${all.map((each) => html`<${Model} key=${each.id} model=${each} state=${states?.[each.id]?.state} />`)}
    <//>`;
}

/** @param {{ model: import("../types.js").Model, state: keyof typeof WORDS | undefined }} props */
function Model({ model: { id, record, error, loras, controlnets, tasks, licence }, state }) {
  const faults = [error, ...[...loras, ...controlnets].map((each) => each.error && `${each.name}: ${each.error}`)];
  const facts = [["Tasks", tasks.join(", ") || "not known yet"], ["Licence", licence ?? "not named"], ["Step time", stepTime(record?.step_s)], ["Loaded in", record?.load_s && `${round(record.load_s)} s`]];
  return html`
    <${Row} name=${id} told=${state && WORDS[state]} isWrong=${state === "failed" || state === "no_worker"} facts=${facts}>
      ${faults.map((each) => each && html`<p key=${each} class="wrong">${each}</p>`)}
    <//>`;
}

/** @param {number} bytes */
const gib = (bytes) => (bytes / 2 ** 30).toFixed(1);
/** @param {number | null | undefined} s */
const stepTime = (s) => s && `${round(s)} s a step`;
