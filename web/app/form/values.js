// The wish as far as it is made: the model, what was set of its fields, what is wrong with them.
// Fields that nobody touched are not sent: the model's defaults are the service's business.

import { batch, computed, effect, signal } from "@preact/signals";
import { read, Refusal } from "../api.js";
import { connection, models } from "../state.js";
import { fieldsOf, fits, same } from "./schema.js";

/** @typedef {import("../types.js").Field} Field */
/** @typedef {import("../types.js").Values} Values */
/** @typedef {import("../types.js").ModelWithSchemas} ModelWithSchemas */

const LOOK_MS = 5000;
const KEPT = "darkroom.wish";

/** What was set, by the names of fields. */
export const values = signal(/** @type {Values} */ (JSON.parse(sessionStorage.getItem(KEPT) ?? "{}")));
/** What is wrong, by the names of fields. */
export const faults = signal(/** @type {Record<string, string>} */ ({}));
/** Why the models or the one that is chosen could not be read. */
export const modelFault = signal(/** @type {Error | null} */ (null));

const details = signal(/** @type {Record<string, ModelWithSchemas>} */ ({}));

effect(() => sessionStorage.setItem(KEPT, JSON.stringify(values.value)));

/** The name of the model that is asked. */
export const modelName = computed(() => {
  const named = String(values.value["model"] ?? "");
  const known = models.value?.some((each) => each.id === named || each.aliases.includes(named));
  return known || named.includes("+") ? named : (models.value?.[0]?.id ?? "");
});

/** That model with its schemas; null until it was read. */
export const model = computed(() => details.value[modelName.value] ?? null);

effect(() => {
  if (modelName.value && !model.value) void loadModel(modelName.value);
});

/** The task that follows from what was set. */
export const task = computed(() => taskOf(model.value, values.value));

/** Its fields. */
export const fields = computed(() => {
  const schema = model.value?.schemas[task.value];
  return schema ? fieldsOf(schema) : [];
});

/** Of those one, by its name. @param {string} name */
export function fieldNamed(name) {
  return fields.value.find((each) => each.name === name);
}

/** As the service infers it (docs/api.md) of what `body` makes of the same. @param {ModelWithSchemas | null} of @param {Values} given */
export function taskOf(of, given) {
  const tasks = of?.tasks ?? [];
  const first = (/** @type {string[]} */ ...wanted) => wanted.find((each) => tasks.includes(each));
  const part = given["padding"] ? ["inpaint"] : given["mask_image"] ? ["edit", "inpaint"] : [];
  const found = given["image"]
    ? first(...part, "edit", "image-to-image", "upscale", "inpaint")
    : first(...(given["regions"] ? ["layout-to-image"] : []));
  return found ?? first("text-to-image", "class-to-image", "unconditional") ?? tasks[0] ?? "text-to-image";
}

export async function loadModels() {
  try {
    modelFault.value = null;
    const { data } = await read("/api/v1/models");
    models.value = data;
  } catch (error) {
    modelFault.value = /** @type {Error} */ (error);
  }
}

/** @param {string} name */
async function loadModel(name) {
  try {
    const found = await read(`/api/v1/models/${encodeURIComponent(name)}`);
    modelFault.value = null;
    details.value = { ...details.value, [name]: found };
    keepWhatFits();
  } catch (error) {
    modelFault.value = /** @type {Error} */ (error);
  }
}

/** Until a worker has the model in memory there is something to find out: that one serves it, what it takes. */
setInterval(async () => {
  const isLoaded = () => models.value?.find((each) => each.id === modelName.value)?.loaded_on.length;
  if (!models.value || isLoaded() || document.hidden || connection.value === "lost") return;
  await loadModels();
  if (isLoaded()) await loadModel(modelName.value);
}, LOOK_MS);

/** Sets a field; undefined leaves it to the model. @param {string} name @param {unknown} value */
export function put(name, value) {
  batch(() => {
    const { [name]: _, ...others } = values.value;
    values.value = value === undefined ? others : { ...others, [name]: value };
    if (name in faults.value) faults.value = without(faults.value, name);
    if (name === "model") keepWhatFits();
  });
}

/** @template T @param {Record<string, T>} all @param {string} name */
function without(all, name) {
  const { [name]: _, ...others } = all;
  return others;
}

/** What another model would refuse is left to it again. */
function keepWhatFits() {
  if (!model.value) return;
  const known = new Map(fields.value.map((each) => [each.name, each]));
  const kept = Object.entries(values.value).filter(([name, value]) => {
    const field = known.get(name);
    return !field || fits(field, value);
  });
  values.value = Object.fromEntries(kept);
}

/** What is sent; of pictures to edit that of the canvas is the first. @returns {Values} */
export function body() {
  const takes = new Set(fields.value.map((each) => each.name));
  const { image, images = [] } = /** @type {{ image?: string, images?: string[] }} */ (values.value);
  const whole = image && task.value === "edit" ? { ...values.value, images: [image, ...images] } : values.value;
  const set = Object.entries(whole).filter(([name]) => takes.has(name));
  return { ...Object.fromEntries(set), model: modelName.value, preview: true };
}

/**
 * Takes over the settings of a job or of a picture's file: of a job's `request` what differs from the
 * model's defaults. Prompts, seed and pictures are among them.
 * @param {Values} request
 */
export function useRequest(request) {
  batch(() => {
    const { task: _, images: [first, ...others] = [], ...given } = /** @type {Values & { images?: string[] }} */ (request);
    const edited = { ...(first && { image: first }), ...(others.length && { images: others }) };
    values.value = { ...given, ...edited };
    faults.value = {};
    dropDefaults();
  });
}

/** What is as the model has it anyway, once that is known. */
function dropDefaults() {
  const known = new Map(fields.value.map((each) => [each.name, each]));
  const kept = Object.entries(values.value).filter(([name, value]) => {
    return value !== null && !same(known.get(name)?.default, value);
  });
  values.value = Object.fromEntries(kept);
}

/** What a refusal says of fields; the rest is returned as sentences. @param {Refusal} refusal @returns {string[]} */
export function takeFaults(refusal) {
  const names = new Set(["prompt", ...fields.value.map((each) => each.name)]);
  /** @type {Record<string, string>} */
  const found = {};
  const rest = [];
  for (const { pointer, detail } of refusal.errors) {
    const [name = "", ...inner] = pointer.replace(/^\/grid/, "").split("/").slice(1);
    const where = inner.length ? `${inner.join(", ")}: ` : "";
    if (names.has(name)) found[name] = [found[name], where + detail].filter(Boolean).join(" ");
    else rest.push(`${name}: ${detail}`);
  }
  faults.value = found;
  return refusal.errors.length ? rest : [refusal.message];
}
