// Which model is asked.

import { html } from "../html.js";
import { faults, model, modelName, put } from "../form/values.js";
import { models } from "../state.js";

export function ModelChoice() {
  const all = models.value;
  if (!all) return html`<div class="field"><label for="field-model">Model</label><select id="field-model" disabled><option>…</option></select></div>`;
  const chosen = all.find((each) => each.id === modelName.value);
  const fault = faults.value["model"] ?? chosen?.error;
  const told = note(chosen);
  return html`
    <div class="field">
      <label for="field-model">Model</label>
      <select id="field-model" value=${modelName.value} aria-describedby="field-model-help" aria-invalid=${fault ? "true" : undefined}
        onChange=${(/** @type {any} */ e) => put("model", e.target.value)}>
        ${all.map((each) => html`<option key=${each.id} value=${each.id}>${each.id}${each.error ? " (cannot be loaded)" : ""}</option>`)}
      </select>
      ${fault && html`<p class="wrong">${fault}</p>`}
      <p class="help" id="field-model-help">${told}</p>
    </div>`;
}

/** What to know before it is asked. @param {import("../types.js").Model | undefined} chosen */
function note(chosen) {
  if (!chosen) return "";
  const needs = chosen.tasks.every((each) => each === "upscale") ? "It makes pictures larger, and needs one to begin with." : "";
  const wait = chosen.served_by.length ? (chosen.loaded_on.length ? "" : "Its first picture waits until it is loaded.") : "No worker serves it now; jobs wait until one does.";
  const licence = model.value?.licence ? `Licence: ${model.value.licence}` : "";
  return [needs, wait, licence].filter(Boolean).join(" ");
}
