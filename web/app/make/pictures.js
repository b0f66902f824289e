// Pictures that a prompt goes with: those whose style or subject is followed, and those that are edited.

import { html } from "../html.js";
import { Fold } from "../form/folds.js";
import { FormField } from "../form/field.js";
import { faults, fieldNamed, model, put, values } from "../form/values.js";
import { PictureInput } from "../shared/picture-input.js";

/** A list of pictures, with a place for one more. @param {{ name: string, title: string, most: number, children?: unknown }} props */
function PictureList({ name, title, most, children }) {
  const ids = /** @type {string[]} */ (values.value[name] ?? []);
  const set = (/** @type {number} */ at, /** @type {string | undefined} */ id) => {
    const next = [...ids.slice(0, at), ...(id ? [id] : []), ...ids.slice(at + 1)];
    put(name, next.length ? next : undefined);
  };
  const fault = faults.value[name];
  const places = [...ids, ...(ids.length < most ? [""] : [])];
  return html`
    <${Fold} title=${title} told=${ids.length || "none"} isWrong=${Boolean(fault)}>
      ${places.map((id, n) => html`
        <${PictureInput} key=${n} id=${`field-${name}-${n}`} label=${`Picture ${n + 1}`} value=${id} put=${(/** @type {string | undefined} */ to) => set(n, to)} />
      `)}
      ${fault && html`<p class="wrong">${fault}</p>`}
      ${ids.length > 0 && children}
    <//>`;
}

export function References() {
  const field = fieldNamed("reference_images");
  const scale = fieldNamed("reference_scale");
  if (!field) return null;
  return html`
    <${PictureList} name="reference_images" title="Pictures to follow" most=${field.maxItems ?? 4}>
      ${scale && html`<${FormField} field=${scale} value=${values.value["reference_scale"]} fault=${faults.value["reference_scale"]}
        put=${(/** @type {unknown} */ to) => put("reference_scale", to)} />`}
    <//>`;
}

export function Edited() {
  const most = model.value?.max_edited ?? 0;
  if (most < 2 || !values.value["image"]) return null;
  return html`<${PictureList} name="images" title="More pictures to edit" most=${most - 1} />`;
}
