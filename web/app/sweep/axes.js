// What is swept over: up to two fields of the wish, and the values of each as they are typed.

import { effect, signal } from "@preact/signals";
import { boundsOf, fits, shown } from "../form/schema.js";
import { fields } from "../form/values.js";
import { models } from "../state.js";

/** @typedef {import("../types.js").Field} Field */
/** @typedef {{ name: string, text: string }} Axis */

/** Jobs of one batch. */
export const MOST = 100;
const KEPT = "darkroom.sweep";
const BEGUN = { axes: [{ name: "guidance_scale", text: "" }, { name: "seed", text: "1 to 3" }], last: "" };
const RANGE = /^(-?[\d.]+?) *(?:to|\.\.|–) *(-?[\d.]+)(?: *(?:by|:) *([\d.]+))?$/;

/** Down and across, and the batch that was asked for last. */
export const sweep = signal(/** @type {{ axes: Axis[], last: string }} */ (JSON.parse(sessionStorage.getItem(KEPT) ?? JSON.stringify(BEGUN))));
effect(() => sessionStorage.setItem(KEPT, JSON.stringify(sweep.value)));

/** Those whose values can be told apart by a label. */
export const sweepable = () => fields.value.filter((each) => !["task", "preview", "webhook"].includes(each.name));

/** What may be picked, of fields whose values have names. @param {Field} field @returns {Field["choices"]} */
export function choicesOf(field) {
  if (field.name === "model") return (models.value ?? []).map(({ id }) => ({ value: id, label: id }));
  return field.kind === "yes" ? [true, false].map((value) => ({ value, label: shown(field, value) })) : field.choices;
}

/** With commas or line ends between, of texts and JSON with line ends alone. @param {Field} field @param {string} text */
export function parts(field, text) {
  const isListed = ["whole", "number"].includes(field.kind) || choicesOf(field).length;
  return text.split(isListed ? /[,\n]/ : "\n").map((each) => each.trim()).filter(Boolean);
}

/** The values that were typed; throws Error where one is none. @param {Field} field @param {string} text @returns {unknown[]} */
export function typed(field, text) {
  return parts(field, text).flatMap((part) => {
    const found = valuesOf(field, part);
    if (found.length && found.every((each) => fits(field, each))) return found;
    throw new Error(`“${part}” is none of its values. ${boundsOf(field)}`);
  });
}

/** @param {Field} field @param {string} part @returns {unknown[]} */
function valuesOf(field, part) {
  if (field.kind === "whole" || field.kind === "number") return numbers(part, field.step || 1);
  const choices = choicesOf(field);
  if (choices.length) return choices.flatMap(({ value, label }) => (part === label || part === value ? [value] : []));
  return field.kind === "text" || field.kind === "line" ? [part] : [JSON.parse(part)];
}

/** A number, or those from one to another. @param {string} part @param {number} usual step */
function numbers(part, usual) {
  const [, first = part, last = part, by = usual] = RANGE.exec(part) ?? [];
  const [from, to, step] = [Number(first), Number(last), Number(by)];
  const count = Math.min(Math.floor(Math.abs(to - from) / step + 1e-9), MOST) + 1 || 0;
  return Array.from({ length: count }, (_, n) => Number((from + Math.sign(to - from) * n * step).toFixed(6)));
}
