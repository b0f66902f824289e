// Width and height: presets that the model can make, or sides of one's own.

import { html } from "../html.js";
import { boundsOf } from "../form/schema.js";
import { faults, fieldNamed, model, put, values } from "../form/values.js";
import { Icon } from "../shared/icons.js";
import { presets } from "./shapes.js";

export function Shape() {
  const [wide, high] = [fieldNamed("width"), fieldNamed("height")];
  if (!wide || !high || !model.value) return null;
  if (wide.kind === "choice") return html`<${Fixed} wide=${wide} high=${high} />`;
  if (wide.max === null) return null; // it follows from the picture
  const width = Number(values.value["width"] ?? wide.default ?? 0);
  const height = Number(values.value["height"] ?? high.default ?? 0);
  const own = Number(wide.default ?? 0) * Number(high.default ?? 0);
  const shapes = own ? presets(model.value.limits, own) : [];
  const fault = faults.value["width"] ?? faults.value["height"];
  const set = (/** @type {number} */ w, /** @type {number} */ h) => {
    put("width", w && w !== wide.default ? w : undefined);
    put("height", h && h !== high.default ? h : undefined);
  };
  return html`
    <fieldset class="field shape" aria-describedby=${fault ? "shape-wrong" : undefined}>
      <legend><span>Shape</span><span class="bounds">${boundsOf(wide)}</span></legend>
      ${shapes.length > 1 &&
      html`<div class="shapes">
        ${shapes.map(
          (each) => html`
            <button key=${each.label} type="button" class="shape-preset" aria-pressed=${each.width === width && each.height === height}
              title=${`${each.width} × ${each.height}`} onClick=${() => set(each.width, each.height)}>
              <span class="outline" style=${outline(each)} aria-hidden="true"></span>${each.label}
            </button>
          `,
        )}
      </div>`}
      <${Sides} width=${width} height=${height} wide=${wide} high=${high} set=${set} />
      ${fault && html`<p class="wrong" id="shape-wrong">${fault}</p>`}
    </fieldset>`;
}

/** A model that makes one size. @param {{ wide: import("../types.js").Field, high: import("../types.js").Field }} props */
function Fixed({ wide, high }) {
  return html`<p class="help">It makes pictures of ${String(wide.default)} × ${String(high.default)}.</p>`;
}

/** A drawing of a shape. @param {import("./shapes.js").ShapePreset} shape */
function outline({ width, height }) {
  const scale = 16 / Math.max(width, height);
  return { width: `${Math.round(width * scale)}px`, height: `${Math.round(height * scale)}px` };
}

/** @param {{ width: number, height: number, wide: import("../types.js").Field, high: import("../types.js").Field,
 *   set: (width: number, height: number) => void }} props */
function Sides({ width, height, wide, high, set }) {
  const side = (/** @type {import("../types.js").Field} */ field, /** @type {number} */ now, /** @type {(to: number) => void} */ take) => html`
    <input type="number" id=${`field-${field.name}`} aria-label=${field.label} inputmode="numeric" value=${now || ""} placeholder="auto"
      min=${field.min} max=${field.max} step=${field.step} aria-invalid=${faults.value[field.name] ? "true" : undefined}
      onChange=${(/** @type {any} */ e) => take(e.target.valueAsNumber || 0)} />`;
  return html`
    <div class="sides">
      ${side(wide, width, (to) => (to ? set(to, height) : put("width", undefined)))}
      <span aria-hidden="true">×</span>
      ${side(high, height, (to) => (to ? set(width, to) : put("height", undefined)))}
      <button type="button" class="quiet" aria-label="Swap width and height" title="Swap" onClick=${() => set(height, width)}><${Icon} name="swap" /></button>
    </div>`;
}
