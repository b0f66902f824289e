// One field of a form, of whatever kind: label, help, bounds, default, what is wrong.

import { html } from "../html.js";
import { Icon } from "../shared/icons.js";
import { Prose } from "../shared/states.js";
import { boundsOf, same, shown } from "./schema.js";

/** @typedef {import("../types.js").Field} Field */
/** @typedef {import("../types.js").Values} Values */
/** @typedef {{ field: Field, value: unknown, fault?: string | undefined, id?: string, put: (value: unknown) => void }} Props */

/** Its `value` is undefined where it is left to the model. @param {Props} props */
export function FormField({ field, value, fault, put, id = `field-${field.name}` }) {
  if (field.kind === "group") return html`<${Group} field=${field} value=${value} fault=${fault} put=${put} id=${id} />`;
  const told = [field.help && `${id}-help`, fault && `${id}-wrong`].filter(Boolean).join(" ");
  const bounds = boundsOf(field);
  return html`
    <div class="field">
      <div class="field-head">
        <label for=${id}>${field.label}</label>
        ${bounds && html`<span class="bounds">${bounds}</span>`}
        ${value !== undefined && html`<${Reset} field=${field} put=${put} />`}
      </div>
      <${Control} field=${field} value=${value} put=${put} id=${id} told=${told} fault=${fault} />
      ${fault && html`<p class="wrong" id="${id}-wrong">${fault}</p>`}
      ${field.help && html`<p class="help" id="${id}-help"><${Prose} text=${field.help} /></p>`}
    </div>`;
}

/** @param {{ field: Field, put: (value: unknown) => void }} props */
function Reset({ field, put }) {
  const to = shown(field, field.default);
  return html`<button type="button" class="quiet reset" title=${`Back to the default: ${to}`}
    aria-label=${`${field.label}: back to the default, ${to}`} onClick=${() => put(undefined)}><${Icon} name="again" /></button>`;
}

/** @param {Props & { told: string }} props */
function Control({ field, value, put, id, told, fault }) {
  const common = { id, "aria-describedby": told || undefined, "aria-invalid": fault ? "true" : undefined };
  switch (field.kind) {
    case "yes":
      return html`<input type="checkbox" class="switch" ...${common} checked=${value ?? field.default ?? false}
        onChange=${(/** @type {any} */ e) => put(e.target.checked === (field.default ?? false) ? undefined : e.target.checked)} />`;
    case "choice":
      return html`<${Choice} field=${field} value=${value} put=${put} common=${common} />`;
    case "whole":
    case "number":
      return html`<${NumberInput} field=${field} value=${value} put=${put} common=${common} />`;
    case "text":
      return html`<textarea rows="2" ...${common} value=${value ?? ""} placeholder=${String(field.default ?? "")}
        onInput=${(/** @type {any} */ e) => put(e.target.value || undefined)}></textarea>`;
    default:
      return html`<${TextLike} field=${field} value=${value} put=${put} common=${common} />`;
  }
}

/** @param {{ field: Field, value: unknown, put: (value: unknown) => void, common: object }} props */
function Choice({ field, value, put, common }) {
  const at = field.choices.findIndex((each) => each.value === value);
  const pick = (/** @type {any} */ event) => put(field.choices[Number(event.target.value)]?.value);
  return html`
    <select ...${common} value=${String(at)} onChange=${pick}>
      <option value="-1">${shown(field, field.default)}${field.default === null || field.default === undefined ? "" : " (default)"}</option>
      ${field.choices.map((each, n) => each.value !== field.default && html`<option key=${n} value=${String(n)}>${each.label}</option>`)}
    </select>`;
}

/** @param {{ field: Field, value: unknown, put: (value: unknown) => void, common: object }} props */
function NumberInput({ field, value, put, common }) {
  const { min, max } = field;
  const step = field.step || stepWithin(min, max);
  const take = (/** @type {any} */ event) => {
    const { value: text, valueAsNumber: number } = event.target;
    if (text && Number.isNaN(number)) return; // half a number
    put(text === "" || number === field.default ? undefined : number);
  };
  const isOpen = value === undefined && (field.default ?? null) === null;
  const hasRange = !isOpen && min !== null && max !== null && (max - min) / step <= 1000;
  const now = value ?? field.default ?? "";
  return html`
    <div class="number">
      ${hasRange && html`<input type="range" tabindex="-1" aria-hidden="true" min=${min} max=${max} step=${step} value=${now === "" ? min : now} onInput=${take} />`}
      <input type="number" inputmode=${field.step ? "numeric" : "decimal"} ...${common} min=${min} max=${max} step=${field.step || "any"}
        value=${now} placeholder=${isOpen ? "as the model has it" : ""} onInput=${take} />
    </div>`;
}

/** How far a slider of fractions goes at once. @param {number | null} min @param {number | null} max */
function stepWithin(min, max) {
  const range = (max ?? 1) - (min ?? 0);
  return range > 20 ? 0.5 : range > 2 ? 0.1 : 0.05;
}

/** Lines, lists of words, pairs, and what nothing else is made for, as JSON.
 * @param {{ field: Field, value: unknown, put: (value: unknown) => void, common: object }} props */
function TextLike({ field, value, put, common }) {
  const { text, parse, hint } = SPELLINGS[field.kind] ?? SPELLINGS.line;
  const take = (/** @type {any} */ event) => {
    try {
      put(event.target.value.trim() ? parse(event.target.value) : undefined);
      event.target.setCustomValidity("");
    } catch {
      event.target.setCustomValidity("This is no JSON.");
    }
  };
  return html`<input type="text" ...${common} value=${value === undefined ? "" : text(value)} onChange=${take}
    placeholder=${field.default && field.kind === "line" ? String(field.default) : hint} />`;
}

/** @typedef {{ text: (value: any) => string, parse: (text: string) => unknown, hint: string }} Spelling */

/** @type {Record<string, Spelling> & { line: Spelling }} */
const SPELLINGS = {
  line: { text: String, parse: (text) => text, hint: "" },
  words: { text: (value) => value.join(", "), parse: listed, hint: "with commas between" },
  pairs: {
    text: (value) => Object.entries(value).map(([name, each]) => `${name}=${each}`).join(", "),
    parse: (text) => Object.fromEntries(listed(text).map((each) => each.split(/=(.*)/s).slice(0, 2))),
    hint: "name=value, with commas between",
  },
  json: { text: (value) => JSON.stringify(value), parse: (text) => JSON.parse(text), hint: "JSON" },
};

/** @param {string} text */
function listed(text) {
  return text.split(",").map((each) => each.trim()).filter(Boolean);
}

/** Fields within a field; of one that may be null a switch decides whether it is asked for.
 * @param {Props} props */
function Group({ field, value, fault, put, id }) {
  const now = /** @type {Values} */ (value ?? {});
  const isOn = !field.nullable || (value !== undefined && value !== null);
  const putInner = (/** @type {Field} */ each, /** @type {unknown} */ to) => {
    const next = { ...now, [each.name]: to };
    if (to === undefined || same(to, each.default)) delete next[each.name];
    put(Object.keys(next).length || field.nullable ? next : undefined);
  };
  return html`
    <fieldset class="field group" id=${id} aria-describedby="${id}-help">
      <legend>
        ${field.nullable
          ? html`<label class="check"><input type="checkbox" class="switch" checked=${isOn} onChange=${() => put(isOn ? undefined : {})} /> ${field.label}</label>`
          : field.label}
      </legend>
      <p class="help" id="${id}-help"><${Prose} text=${field.help} /></p>
      ${fault && html`<p class="wrong" role="alert">${fault}</p>`}
      ${isOn &&
      field.inner.map((each) => html`<${FormField} key=${each.name} field=${each} id=${`${id}-${each.name}`} value=${now[each.name]} put=${(/** @type {unknown} */ to) => putInner(each, to)} />`)}
    </fieldset>`;
}
