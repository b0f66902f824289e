// Pictures that hold the result to their edges, poses and the like, and what the model sees of them.

import { useEffect, useState } from "preact/hooks";
import { ask } from "../api.js";
import { html } from "../html.js";
import { Fold } from "../form/folds.js";
import { FormField } from "../form/field.js";
import { faults, fieldNamed, model, put, values } from "../form/values.js";
import { Icon } from "../shared/icons.js";
import { PictureInput } from "../shared/picture-input.js";

/** @typedef {{ name: string, image?: string, preprocess?: string, [more: string]: unknown }} Control */
/** @typedef {import("../types.js").Field} Field */

export function Controls() {
  const field = fieldNamed("controls");
  const offered = model.value?.controlnets ?? [];
  if (!field || !offered.length) return null;
  const chosen = /** @type {Control[]} */ (values.value["controls"] ?? []);
  const set = (/** @type {Control[]} */ to) => put("controls", to.length ? to : undefined);
  const fault = faults.value["controls"];
  return html`
    <${Fold} title="Control" told=${chosen.map((each) => each.name).join(" · ") || "none"} isWrong=${Boolean(fault)}>
      <p class="help">${field.help}</p>
      ${chosen.map((each, n) => html`
        <${One} key=${n} n=${n} control=${each} field=${field} put=${(/** @type {Control | null} */ to) => set(chosen.flatMap((one, at) => (at === n ? (to ?? []) : one)))} />
      `)}
      ${fault && html`<p class="wrong">${fault}</p>`}
      ${chosen.length < (field.maxItems ?? 4) &&
      html`<div class="field">
        <label for="field-controls">Add a control</label>
        <select id="field-controls" value="" onChange=${(/** @type {any} */ e) => set([...chosen, begun(e.target.value)])}>
          <option value="" disabled>choose one</option>
          ${offered.map((each) => html`<option key=${each.name} value=${each.name} disabled=${Boolean(each.error)}>${each.name}${each.error ? " (cannot be used)" : ""}</option>`)}
        </select>
      </div>`}
    <//>`;
}

/** What most people want of one of this name. @param {string} name @returns {Control} */
function begun(name) {
  return name.includes("canny") ? { name, preprocess: "canny" } : { name };
}

/** @param {{ n: number, control: Control, field: Field, put: (to: Control | null) => void }} props */
function One({ n, control, field, put: putOne }) {
  const { name, image = "", preprocess } = control;
  const set = (/** @type {string} */ key, /** @type {unknown} */ to) => {
    const { [key]: _, ...others } = control;
    putOne(/** @type {Control} */ (to === undefined ? others : { ...others, [key]: to }));
  };
  const free = field.inner.filter((each) => each.name !== "name" && each.name !== "image");
  return html`
    <fieldset class="field group">
      <legend><span>${name}</span><button type="button" class="quiet reset" aria-label=${`Remove ${name}`} title="Remove" onClick=${() => putOne(null)}><${Icon} name="close" /></button></legend>
      <${PictureInput} id=${`field-controls-${n}`} label=${preprocess ? "Picture" : "Map"} value=${image} put=${(/** @type {string | undefined} */ to) => set("image", to)} />
      ${image && preprocess && html`<${Seen} image=${image} preprocess=${preprocess} />`}
      ${free.map((each) => html`<${FormField} key=${each.name} id=${`field-controls-${n}-${each.name}`} field=${each} value=${control[each.name]}
        put=${(/** @type {unknown} */ to) => set(each.name, to ?? undefined)} />`)}
    </fieldset>`;
}

/** The map that is made of a picture, to the pixel. @param {{ image: string, preprocess: string }} props */
function Seen({ image, preprocess }) {
  const [url, setUrl] = useState("");
  const [fault, setFault] = useState("");
  const { width, height } = values.value;
  useEffect(() => {
    const over = new AbortController();
    let made = "";
    const body = { image, preprocess, ...(width && height ? { width, height } : {}) };
    ask("/api/v1/controls/preprocess", { body, signal: over.signal })
      .then((answer) => answer.blob())
      .then((blob) => {
        if (over.signal.aborted) return;
        setFault("");
        setUrl((made = URL.createObjectURL(blob)));
      })
      .catch((/** @type {Error} */ error) => over.signal.aborted || setFault(error.message));
    return () => {
      over.abort();
      URL.revokeObjectURL(made);
    };
  }, [image, preprocess, width, height]);
  if (fault) return html`<p class="wrong" role="alert">${fault}</p>`;
  return html`<figure class="seen">${url && html`<img class="picture" src=${url} alt=${`What the model sees: ${preprocess}`} />`}<figcaption class="help">What the model sees</figcaption></figure>`;
}
