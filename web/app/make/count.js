// How many pictures.

import { html } from "../html.js";
import { faults, fieldNamed, put, values } from "../form/values.js";
import { Icon } from "../shared/icons.js";

export function Count() {
  const field = fieldNamed("num_images");
  if (!field || field.max === 1) return null;
  const most = field.max ?? 1;
  const count = Number(values.value["num_images"] ?? field.default ?? 1);
  const set = (/** @type {number} */ to) => put("num_images", to === field.default ? undefined : to);
  const fault = faults.value["num_images"];
  return html`
    <div class="field count">
      <label for="field-num_images">Pictures</label>
      <div class="stepper">
        <button type="button" class="quiet" aria-label="One picture less" disabled=${count <= 1} onClick=${() => set(count - 1)}><${Icon} name="less" /></button>
        <input type="number" id="field-num_images" inputmode="numeric" min="1" max=${most} value=${count} aria-invalid=${fault ? "true" : undefined}
          onChange=${(/** @type {any} */ e) => set(e.target.valueAsNumber || 1)} />
        <button type="button" class="quiet" aria-label="One picture more" disabled=${count >= most} onClick=${() => set(count + 1)}><${Icon} name="more" /></button>
      </div>
      ${fault && html`<p class="wrong">${fault}</p>`}
    </div>`;
}
