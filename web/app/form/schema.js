// From a JSON Schema to fields that can be shown, and whether a value fits one. Knows no model and
// no page.

import { labelOf } from "./words.js";

/** @typedef {import("../types.js").Schema} Schema */
/** @typedef {import("../types.js").Field} Field */

/** The fields of an object's schema, in its order. @param {Schema} schema @param {Schema} [root] @returns {Field[]} */
export function fieldsOf(schema, root = schema) {
  const required = schema.required ?? [];
  return Object.entries(schema.properties ?? {}).map(([name, each]) =>
    fieldOf(name, each, root, required.includes(name)),
  );
}

/** @param {string} name @param {Schema} given @param {Schema} root @param {boolean} required @returns {Field} */
function fieldOf(name, given, root, required) {
  const { schema, nullable } = resolved(given, root);
  const step = schema.multipleOf ?? (schema.type === "integer" ? 1 : 0);
  const above = schema.exclusiveMinimum;
  return {
    name,
    label: labelOf(name),
    help: (given.description ?? schema.description ?? "").replace(/\s+/g, " "),
    kind: kindOf(schema),
    default: given.default,
    nullable,
    required,
    min: schema.minimum ?? (above !== undefined && schema.type === "integer" ? above + 1 : (above ?? null)),
    max: schema.maximum ?? schema.exclusiveMaximum ?? null,
    step,
    maxLength: schema.maxLength ?? null,
    maxItems: schema.maxItems ?? null,
    choices: choicesOf(schema),
    inner: innerOf(schema, root),
  };
}

/** Of an object its fields, of a list those of its entries. @param {Schema} schema @param {Schema} root @returns {Field[]} */
function innerOf(schema, root) {
  const entry = schema.items ? resolved(schema.items, root).schema : schema;
  return entry.properties ? fieldsOf(entry, root) : [];
}

/** Behind references, and without null. @param {Schema} given @param {Schema} root */
function resolved(given, root) {
  const parts = given.anyOf ?? [];
  const nullable = parts.some((each) => each.type === "null");
  const real = parts.filter((each) => each.type !== "null");
  const { anyOf: _, ...own } = given;
  let schema = real.length === 1 ? { ...real[0], ...own } : given;
  if (schema.$ref) schema = { ...root.$defs?.[schema.$ref.replace("#/$defs/", "")], ...schema };
  return { schema, nullable };
}

/** @param {Schema} schema @returns {Field["kind"]} */
function kindOf(schema) {
  if (schema.enum || schema.const !== undefined) return "choice";
  switch (schema.type) {
    case "integer":
      return "whole";
    case "number":
      return "number";
    case "boolean":
      return "yes";
    case "string":
      return (schema.maxLength ?? 0) > 300 ? "text" : "line";
    case "array":
      return schema.items?.type === "string" ? "words" : "json";
    case "object":
      return schema.properties ? "group" : "pairs";
    default:
      return "json";
  }
}

/** Where values have names for people (`x-names`), those alone. @param {Schema} schema @returns {Field["choices"]} */
function choicesOf(schema) {
  const names = schema["x-names"];
  if (names) return Object.entries(names).map(([value, label]) => ({ value, label }));
  return (schema.enum ?? [schema.const ?? null]).filter((each) => each !== null).map((value) => ({ value, label: String(value) }));
}

/** Whether the service would take a value, as far as its field says. @param {Field} field @param {unknown} value */
export function fits(field, value) {
  if (value === null) return field.nullable;
  if (field.kind === "choice") return field.choices.some((each) => each.value === value);
  if (field.kind === "whole" || field.kind === "number") return isWithin(field, value);
  if (field.kind === "text" || field.kind === "line") {
    return typeof value === "string" && value.length <= (field.maxLength ?? Infinity);
  }
  return true;
}

/** @param {Field} field @param {unknown} value */
function isWithin(field, value) {
  if (typeof value !== "number") return false;
  if (value < (field.min ?? -Infinity) || value > (field.max ?? Infinity)) return false;
  return !field.step || value % field.step === 0;
}

/** Bounds in words. @param {Field} field */
export function boundsOf({ kind, min, max, step, maxLength, maxItems }) {
  if (kind === "text" && maxLength) return `at most ${maxLength} characters`;
  if (kind === "words" && maxItems) return `at most ${maxItems}`;
  if (kind !== "whole" && kind !== "number") return "";
  const multiples = step > 1 ? `, multiples of ${step}` : "";
  if (min !== null && max !== null) return `${min} to ${max}${multiples}`;
  if (min !== null) return `${min} or more${multiples}`;
  return max === null ? "" : `at most ${max}${multiples}`;
}

/** A value in few words. @param {Field} field @param {unknown} value */
export function shown(field, value) {
  if (value === null || value === undefined) return "as the model has it";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return field.choices.find((each) => each.value === value)?.label ?? String(value);
}

/** @param {unknown} a @param {unknown} b */
export function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}
