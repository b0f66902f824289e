// What waits, by model and priority, and pausing it; jobs that run, wait or failed, of all who ask.

import { html } from "../html.js";
import { models } from "../state.js";
import { cancel, retry, seconds, State } from "../watch/card.js";
import { titleOf } from "../watch/jobs.js";
import { Act, ago, counted, Part, Row } from "./parts.js";
import { act, look, shown } from "./seen.js";

/** @typedef {import("../types.js").QueueListing} QueueListing */

/** Of all queues. @param {QueueListing} queue @param {"queued" | "running" | "backlog_s"} name */
const total = ({ data }, name) => data.reduce((all, each) => all + (each[name] ?? 0), 0);

/** @param {{ queue: QueueListing }} props */
export function Queue({ queue }) {
  const { paused, data } = queue;
  const told = `${total(queue, "queued") || "none"} waiting · ${total(queue, "running") || "none"} running`;
  const backlog = total(queue, "backlog_s");
  const offered = (models.value ?? []).map((each) => each.id);
  const names = new Set([...offered, ...data.map((each) => each.name.replace(/\.\w+$/, "")), ...paused.models]);
  return html`
    <${Part} title="Queue" told=${backlog ? `${told} · ${seconds(backlog)} of work` : told} action=${html`<${Switch} isPaused=${paused.all} />`}>
      <table class="queues">
        <thead><tr>${["Priority", "Waiting", "Running", "Oldest", "Backlog"].map((each) => html`<th key=${each} scope="col">${each}</th>`)}</tr></thead>
        ${[...names].map((name) => html`<${OfModel} key=${name} name=${name} queue=${queue} />`)}
      </table>
    <//>`;
}

/** @param {{ name: string, queue: QueueListing }} props */
function OfModel({ name, queue: { data, paused } }) {
  const rows = ["high", "normal", "low"].flatMap((each) => data.find((queue) => queue.name === `${name}.${each}`) ?? []);
  const isPaused = paused.models.includes(name);
  const told = [(isPaused || paused.all) && "paused", rows[0] ? counted(rows[0].workers, "worker") : "nothing waits"].filter(Boolean).join(" · ");
  return html`
    <tbody>
      <tr><th colspan="5" scope="rowgroup"><div class="row-head"><span><b>${name}</b> <span class="help">${told}</span></span>
        ${(isPaused || !paused.all) && html`<${Switch} model=${name} isPaused=${isPaused} />`}</div></th></tr>
      ${rows.map(({ name: own, queued, running, oldest_age_s: age, backlog_s: backlog = 0 }) => html`
        <tr key=${own}><th scope="row">${own.slice(name.length + 1)}</th><td>${queued}</td><td>${running}</td>
          <td>${age ? seconds(age) : "–"}</td><td>${backlog ? seconds(backlog) : "–"}</td></tr>`)}
    </tbody>`;
}

/** Pauses a model, or all, or lets them go on. @param {{ model?: string, isPaused: boolean }} props */
function Switch({ model, isPaused }) {
  const [verb, done] = isPaused ? ["Resume", "goes on."] : ["Pause", "is paused: its jobs wait, what runs goes on."];
  const path = `queue/${verb.toLowerCase()}${model ? `?model=${encodeURIComponent(model)}` : ""}`;
  return html`<${Act} word=${model ? verb : `${verb} all`} label=${`${verb} ${model ?? "all"}`} act=${() => act(path, `${model ?? "The whole queue"} ${done}`)} />`;
}

/** @param {Pick<import("./seen.js").Seen, "jobs" | "queue">} props */
export function Jobs({ jobs: { status, data, has_more: hasMore }, queue }) {
  const chips = /** @type {const} */ ([["running", `Running ${total(queue, "running")}`], ["queued", `Waiting ${total(queue, "queued")}`], ["failed", "Failed"]]);
  const told = hasMore ? `The newest ${data.length} are shown.` : data.length ? "" : { running: "Nothing runs.", queued: "Nothing waits.", failed: "Nothing failed, of what is kept." }[status];
  return html`
    <${Part} title="Jobs">
      <div class="examples" role="group" aria-label="Which jobs">${chips.map(([name, label]) => html`
        <button key=${name} type="button" class="chip" aria-pressed=${shown.value === name} onClick=${() => look(name)}>${label}</button>`)}</div>
      ${status === shown.value && html`<p class="help none">${told}</p>${data.map((each) => html`<${One} key=${each.id} job=${each} />`)}`}
    <//>`;
}

/** @param {{ job: import("../types.js").Job }} props */
function One({ job }) {
  const [word, does] = job.status === "failed" ? ["Try again", retry] : ["Cancel", cancel];
  const facts = [job.request["model"], job.priority, ago(job.created_at), job.attempts > 1 && counted(job.attempts, "attempt"), job.worker];
  return html`
    <${Row} name=${titleOf(job)} action=${html`<${Act} word=${word} act=${() => does(job.id).then(() => look())} />`}>
      <p class="help">${facts.filter(Boolean).join(" · ")}</p><${State} job=${job} />
    <//>`;
}
