// Words that the operator offers to put around a prompt.

import { signal } from "@preact/signals";
import { read } from "../api.js";
import { html } from "../html.js";
import { Fold } from "../form/folds.js";
import { faults, fieldNamed, modelName, put, values } from "../form/values.js";

/** @typedef {import("../types.js").Style} Style */

const styles = signal(/** @type {Style[] | null} */ (null));

export function StyleChoice() {
  const field = fieldNamed("style");
  if (!field) return null;
  if (!styles.value) void load();
  const chosen = values.value["style"];
  return html`
    <${Fold} title="Style" told=${chosen ? String(chosen) : "none"} isWrong=${Boolean(faults.value["style"])}>
      <div class="field">
        <label for="field-style">Style</label>
        <select id="field-style" value=${chosen ?? ""} aria-describedby="field-style-help" onChange=${(/** @type {any} */ e) => put("style", e.target.value || undefined)}>
          <option value="">none</option>
          ${field.choices.map(({ value }) => html`<option key=${value} value=${value}>${value}</option>`)}
        </select>
        ${faults.value["style"] && html`<p class="wrong">${faults.value["style"]}</p>`}
        <p class="help" id="field-style-help">${meaning(chosen)}</p>
      </div>
    <//>`;
}

async function load() {
  styles.value = [];
  styles.value = await read("/api/v1/styles").then(
    ({ data }) => data,
    () => [],
  );
}

/** @param {unknown} name */
function meaning(name) {
  const all = styles.value?.filter((each) => each.name === name) ?? [];
  const found = all.find((each) => each.model === modelName.value) ?? all[0];
  if (!found) return "Words of the operator's, around the prompt.";
  const without = found.negative_prompt && ` Without: ${found.negative_prompt}.`;
  return `${found.prompt.replace("{prompt}", "…")}.${without}`;
}
