// The fields of the model that are folded away, in groups; what was set of them shows on the outside.

import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { FormField } from "./field.js";
import { shown } from "./schema.js";
import { fields, faults, put, values } from "./values.js";
import { ELSEWHERE, GROUPS, REST } from "./words.js";

/** @typedef {import("../types.js").Field} Field */

/** A part of the page that opens by a click, and by itself where something in it is wrong.
 * @param {{ title: string, told?: string, isWrong?: boolean, children?: import("../html.js").Children }} props */
export function Fold({ title, told = "", isWrong = false, children }) {
  const own = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  useLayoutEffect(() => {
    if (own.current && isWrong) own.current.open = true;
  }, [isWrong]);
  return html`
    <details ref=${own} class=${isWrong ? "fold fault" : "fold"}>
      <summary><span class="fold-title">${title}</span><span class="fold-told">${told}</span></summary>
      <div class="fold-body">${children}</div>
    </details>`;
}

/** The folds of all fields that have no place of their own. */
export function Folds() {
  const free = fields.value.filter((each) => !ELSEWHERE.has(each.name));
  const named = new Set(GROUPS.flatMap((each) => each.fields));
  const rest = free.filter((each) => !named.has(each.name)).map((each) => each.name);
  return html`${[...GROUPS, { title: REST, fields: rest }].map((group) => html`<${FieldsFold} key=${group.title} title=${group.title} within=${within(group.fields, free)} />`)}`;
}

/** @param {string[]} names @param {Field[]} all @returns {Field[]} */
function within(names, all) {
  return names.flatMap((name) => all.find((each) => each.name === name) ?? []);
}

/** @param {{ title: string, within: Field[] }} props */
function FieldsFold({ title, within: inner }) {
  if (!inner.length) return null;
  return html`
    <${Fold} title=${title} told=${summary(inner)} isWrong=${inner.some((each) => faults.value[each.name])}>
      ${inner.map(
        (each) =>
          html`<${FormField} key=${each.name} field=${each} value=${values.value[each.name]} fault=${faults.value[each.name]}
            put=${(/** @type {unknown} */ to) => put(each.name, to)} />`,
      )}
    <//>`;
}

/** What was set of these fields. @param {Field[]} inner */
function summary(inner) {
  const set = inner.filter((each) => each.name in values.value);
  return set.map((each) => `${each.label} ${brief(each, values.value[each.name])}`).join(" · ");
}

/** @param {Field} field @param {unknown} value */
function brief(field, value) {
  const text = typeof value === "object" && value ? Object.values(value).join(", ") : shown(field, value);
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
}
