// The picture that a wish begins with: taken, and read for settings of its own. Knows no view.

import { batch, computed, signal } from "@preact/signals";
import { read } from "../api.js";
import { faults, model, modelName, put, useRequest, values } from "../form/values.js";
import { upload } from "../shared/picture-input.js";
import { say, sayFault } from "../shared/toast.js";

/** @typedef {import("../types.js").Inspection} Inspection */

/** What the file of the newest picture says of how it was made, until that is used or waved away. */
export const told = signal(/** @type {Inspection | null} */ (null));

/** Whether its editor is shown, or that of boxes where there is no picture. */
export const isOpen = signal(false);

/** What the model can do with a picture, and with boxes in place of one. */
export const can = computed(() => {
  const does = (/** @type {string[]} */ ...tasks) => tasks.some((each) => model.value?.tasks.includes(each));
  return {
    begin: does("image-to-image", "inpaint", "edit", "upscale"),
    mask: does("inpaint", "edit"),
    extend: does("inpaint"),
    layout: does("layout-to-image"),
  };
});

/** The picture's id; empty where there is none. */
export const begun = computed(() => (can.value.begin ? String(values.value["image"] ?? "") : ""));

/** Begins with another picture, in its own shape, or with none. @param {string | undefined} id `img_...` or `file_...` */
export function beginWith(id) {
  batch(() => {
    for (const name of ["mask_image", "padding", "width", "height", ...(id ? [] : ["images"])]) put(name, undefined);
    put("image", id);
    told.value = null;
  });
}

/** @typedef {{ phrase: string, box: [number, number, number, number] }} Region left, top, right, bottom as shares of the sides */

/** What shall be where. */
export const regions = computed(() => /** @type {Region[]} */ (values.value["regions"] ?? []));

let newest = 0;

/** Takes a picture of one's own, whose faults are those of `image`. @param {File} file */
export async function take(file) {
  const turn = ++newest;
  try {
    const [found, kept] = await Promise.all([inspected(file), can.value.begin ? upload(file) : null]);
    if (turn !== newest) return;
    if (kept) beginWith(kept.id);
    told.value = found.request ? found : null;
    if (!kept && !found.request) say("This model begins with no picture, and the file says nothing of how it was made.");
  } catch (error) {
    if (!can.value.begin) sayFault(error);
    else if (turn === newest) faults.value = { ...faults.value, image: /** @type {Error} */ (error).message };
  }
}

/** @param {File} file @returns {Promise<Inspection>} */
function inspected(file) {
  return read("/api/v1/inspect", { body: file, headers: { "Content-Type": file.type } });
}

/** Fills the form with what the picture says: what makes it again, and does not begin with it. */
export function useSettings() {
  const request = told.value?.request ?? {};
  const before = modelName.value;
  batch(() => {
    useRequest(request);
    if (modelName.value !== request["model"]) put("model", before);
    told.value = null;
  });
  say("Its settings are in the form; the picture itself was put away.");
}

/** Steps along x and y. @type {Record<string, [number, number]>} */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @typedef {{ left: number, top: number, width: number, height: number }} Part */

/** How a part of what is seen is laid on it. @param {Part} part @param {Part} view */
export function placed(part, view) {
  const [x, y] = [(/** @type {number} */ of) => `${(100 * of) / view.width}%`, (/** @type {number} */ of) => `${(100 * of) / view.height}%`];
  return { left: x(part.left - view.left), top: y(part.top - view.top), width: x(part.width), height: y(part.height) };
}
