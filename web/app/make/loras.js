// LoRAs of the model, each with how strongly it works.

import { html } from "../html.js";
import { Fold } from "../form/folds.js";
import { faults, fieldNamed, model, put, values } from "../form/values.js";
import { Icon } from "../shared/icons.js";

/** @typedef {{ name: string, scale?: number }} Lora */

export function Loras() {
  const field = fieldNamed("loras");
  const offered = model.value?.loras ?? [];
  if (!field || !offered.length) return null;
  const chosen = /** @type {Lora[]} */ (values.value["loras"] ?? []);
  const set = (/** @type {Lora[]} */ to) => put("loras", to.length ? to : undefined);
  const free = offered.filter((each) => !chosen.some((one) => one.name === each.name));
  const told = chosen.map(({ name, scale = 1 }) => `${name} ${scale}`).join(" · ");
  const fault = faults.value["loras"];
  return html`
    <${Fold} title="LoRAs" told=${told || "none"} isWrong=${Boolean(fault)}>
      ${chosen.map((each) => html`<${Chosen} key=${each.name} lora=${each} put=${(/** @type {Lora | null} */ to) => set(chosen.flatMap((one) => (one === each ? (to ?? []) : one)))} />`)}
      ${free.length > 0 &&
      chosen.length < (field.maxItems ?? 8) &&
      html`<div class="field">
        <label for="field-loras">Add a LoRA</label>
        <select id="field-loras" value="" onChange=${(/** @type {any} */ e) => set([...chosen, { name: e.target.value, scale: 1 }])}>
          <option value="" disabled>choose one</option>
          ${free.map((each) => html`<option key=${each.name} value=${each.name} disabled=${Boolean(each.error)}>${each.name}${each.error ? " (cannot be used)" : ""}</option>`)}
        </select>
      </div>`}
      ${fault && html`<p class="wrong">${fault}</p>`}
    <//>`;
}

/** @param {{ lora: Lora, put: (to: Lora | null) => void }} props */
function Chosen({ lora, put: putOne }) {
  const { name, scale = 1 } = lora;
  const take = (/** @type {any} */ event) => {
    const to = event.target.valueAsNumber;
    if (!Number.isNaN(to)) putOne({ name, scale: to });
  };
  return html`
    <div class="field">
      <div class="field-head"><label for=${`lora-${name}`}>${name}</label><span class="bounds">1 is as trained, 0 is off</span></div>
      <div class="number">
        <input type="range" tabindex="-1" aria-hidden="true" min="0" max="2" step="0.05" value=${scale} onInput=${take} />
        <input type="number" id=${`lora-${name}`} step="0.05" min="-10" max="10" value=${scale} onInput=${take} />
        <button type="button" class="quiet" aria-label=${`Remove ${name}`} title="Remove" onClick=${() => putOne(null)}><${Icon} name="close" /></button>
      </div>
    </div>`;
}
