// A sweep over two fields of the wish: what is asked for, and the table of what becomes of it.

import { useEffect, useState } from "preact/hooks";
import { read } from "../api.js";
import { body, faults, fieldNamed, values } from "../form/values.js";
import { shown } from "../form/schema.js";
import { labelOf } from "../form/words.js";
import { html } from "../html.js";
import { Generate, submitByKeys } from "../make/generate.js";
import { send } from "../make/submit.js";
import { go, link, route } from "../router.js";
import { Empty, Failed, Loading } from "../shared/states.js";
import { sayFault } from "../shared/toast.js";
import { key } from "../state.js";
import { framesOf, State } from "../watch/card.js";
import { hold, isOver, jobOf, order } from "../watch/jobs.js";
import { choicesOf, MOST, parts, sweep, sweepable, typed } from "./axes.js";
import { save } from "./save.js";

/** @typedef {import("../types.js").Batch} Batch */

export function Sweep() {
  const { axes, last } = sweep.value;
  const id = route.value.rest[0] ?? last;
  const [grid, wrong] = gridOf();
  const sizes = Object.values(grid).map((each) => each.length);
  const size = sizes.length && sizes.reduce((all, each) => all * each);
  const isOff = !size || size > MOST || wrong.some(Boolean);
  const ask = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (isOff) return;
    const others = Object.entries(body()).filter(([name]) => !(name in grid));
    const batch = await send("/api/v1/jobs/batch", { ...Object.fromEntries(others), grid });
    if (!batch) return;
    sweep.value = { ...sweep.value, last: batch.id };
    go("sweep", batch.id);
  };
  return html`
    <div class="make">
      <form class="wish" aria-label="What to sweep over" onSubmit=${ask} onKeyDown=${submitByKeys} noValidate>
        <h1>Sweep</h1>
        <p class="help">Each value of one field with each of another, all else as in <a href=${link("make")}>Make</a>: ${String(values.value["prompt"] || "no prompt")}.</p>
        ${axes.map((each, n) => html`<${AxisFields} key=${n} n=${n} axis=${each} wrong=${wrong[n]} />`)}
        <p class=${size > MOST ? "wrong" : "help"} role="status">${size > MOST ? `${size} jobs; one sweep has ${MOST} at most.` : `${sizes.length > 1 ? `${sizes.join(" × ")} = ` : ""}${size} ${size === 1 ? "job" : "jobs"}`}</p>
        <${Generate} title=${size > 1 && size <= MOST ? `Generate ${size}` : "Generate"} isOff=${isOff} />
      </form>
      <section class="sheet" aria-label="Table">
        ${id ? html`<${Table} key=${id + key.value} id=${id} />` : html`<${Empty} title="No sweep yet">Choose two fields, type their values, and press Generate.<//>`}
      </section>
    </div>`;
}

/** What is to be sent, and what is wrong with the text of each axis. @returns {[Record<string, unknown[]>, string[]]} */
function gridOf() {
  const grid = /** @type {Record<string, unknown[]>} */ ({});
  const wrong = sweep.value.axes.map(({ name, text }) => {
    const field = fieldNamed(name);
    if (!field) return "";
    if (name in grid) return "It is swept over already.";
    try {
      const found = typed(field, text);
      if (found.length) grid[name] = found;
      return "";
    } catch (error) {
      return /** @type {Error} */ (error).message;
    }
  });
  return [grid, wrong];
}

/** @param {{ n: number, axis: import("./axes.js").Axis, wrong: string | undefined }} props */
function AxisFields({ n, axis: { name, text }, wrong }) {
  const set = (/** @type {Partial<import("./axes.js").Axis>} */ to) =>
    (sweep.value = { ...sweep.value, axes: sweep.value.axes.map((each, at) => (at === n ? { ...each, ...to } : each)) });
  const field = fieldNamed(name);
  const fault = wrong || faults.value[name];
  const chosen = field ? parts(field, text) : [];
  const toggle = (/** @type {string} */ label) => set({ text: (chosen.includes(label) ? chosen.filter((each) => each !== label) : [...chosen, label]).join(", ") });
  return html`
    <div class="field">
      <label for="sweep-${n}">${n ? "Across" : "Down"}</label>
      <select id="sweep-${n}" value=${field ? name : ""} onChange=${(/** @type {any} */ e) => set({ name: e.target.value, text: "" })}>
        <option value="">nothing</option>
        ${sweepable().map((each) => html`<option key=${each.name} value=${each.name}>${each.label}</option>`)}
      </select>
      ${field && html`
        <textarea id="sweep-${n}-values" rows="2" aria-label=${`Values of ${field.label}`} value=${text} aria-invalid=${fault ? "true" : undefined}
          aria-describedby="sweep-${n}-help" onInput=${(/** @type {any} */ e) => set({ text: e.target.value })}></textarea>
        <div class="examples">${choicesOf(field).map(({ label }) => html`
          <button key=${label} type="button" class="chip" aria-pressed=${chosen.includes(label)} onClick=${() => toggle(label)}>${label}</button>`)}
        </div>
        ${fault && html`<p class="wrong">${fault}</p>`}
        <p class="help" id="sweep-${n}-help">${hint(field)}</p>`}
    </div>`;
}

/** @param {import("../types.js").Field} field */
function hint(field) {
  if (field.kind === "whole" || field.kind === "number") return "Numbers with commas between, and ranges: 1 to 5, 20 to 50 by 10";
  return choicesOf(field).length ? "Pick them, or type them with commas between" : "One a line";
}

/** @param {{ id: string }} props */
function Table({ id }) {
  const [batch, setBatch] = useState(/** @type {Batch | null} */ (null));
  const [fault, setFault] = useState(/** @type {Error | null} */ (null));
  const load = () => Promise.all([read(`/api/v1/batches/${id}`), hold(id)]).then(([found]) => setBatch(found), setFault);
  useEffect(() => {
    void load();
    return () => void hold("");
  }, []);
  if (fault && !batch) return html`<${Failed} error=${fault} again=${load} />`;
  if (!batch || !order.value) return html`<${Loading} what="Looking for the sweep" />`;
  const { title, columns, rows } = tableOf(batch);
  const cancel = () => read(`/api/v1/batches/${id}/cancel`, { method: "POST" }).catch(sayFault);
  const over = batch.jobs.filter((each) => isOver(jobOf(each.id)?.value ?? { status: "canceled" })).length;
  return html`
    <div class="sweep-head">
      <h2 class="sheet-title">${over} of ${batch.jobs.length} done</h2>
      ${over < batch.jobs.length && html`<button type="button" onClick=${cancel}>Cancel all</button>`}
      <button type="button" onClick=${() => save(title, columns, rows).catch(sayFault)}>Save as one PNG</button>
    </div>
    <div class="sweep-scroll" tabindex="0" role="region" aria-label=${title}>
      <table class="sweep-table">
        <caption class="unseen">${title}</caption>
        <thead><tr><td></td>${columns.map((each, n) => html`<th key=${n} scope="col">${each}</th>`)}</tr></thead>
        <tbody>${rows.map(({ label, ids }) => html`
          <tr key=${ids[0]}><th scope="row">${label}</th>${ids.map((each) => html`<td key=${each}><${Cell} id=${each} /></td>`)}</tr>`)}
        </tbody>
      </table>
    </div>`;
}

/** @param {{ id: string }} props */
function Cell({ id }) {
  const job = jobOf(id)?.value;
  if (!job) return html`<p class="card-state">It was deleted.</p>`;
  const frames = framesOf(job);
  return html`<div class="frames" style=${{ "--frames": frames.length }}>${frames}</div>${job.status !== "succeeded" && html`<${State} job=${job} />`}`;
}

/** The jobs of a batch in rows and columns, by the last field of its grid across. @param {Batch} batch */
function tableOf({ grid, jobs }) {
  /** @type {Record<string, unknown[]>} */
  const all = grid ?? { job: jobs.map((_, n) => n + 1) };
  const down = Object.keys(all);
  const across = /** @type {string} */ (down.pop());
  const columns = (all[across] ?? []).map((each) => told(across, each));
  const rows = Array.from({ length: jobs.length / columns.length }, (_, n) => jobs.slice(n * columns.length, (n + 1) * columns.length));
  const labelled = rows.map((row) => ({ ids: row.map((each) => each.id), label: down.map((name) => told(name, all[name]?.[row[0]?.at?.[name] ?? 0])).join(" · ") }));
  return { columns, rows: labelled, title: String(jobOf(jobs[0]?.id ?? "")?.value.request["prompt"] ?? "") };
}

/** @param {string} name @param {unknown} value */
function told(name, value) {
  const field = fieldNamed(name);
  const text = typeof value === "object" && value ? JSON.stringify(value) : field && value !== null ? shown(field, value) : String(value);
  return `${labelOf(name)} ${text}`;
}
