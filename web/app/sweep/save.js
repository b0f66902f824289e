// A table of pictures as one PNG with its labels, drawn here and saved by the browser.

import { ask } from "../api.js";
import { jobOf } from "../watch/jobs.js";

/** Pixels: what browsers draw at most, and what labels take. */
const WIDEST = 8192;
const [LABEL, HEAD, GAP] = [180, 40, 8];

/** @param {string} title @param {string[]} columns @param {{ label: string, ids: string[] }[]} rows */
export async function save(title, columns, rows) {
  const most = Math.floor((WIDEST - LABEL) / Math.max(columns.length, rows.length)) - GAP;
  const cells = await Promise.all(rows.map(({ ids }) => Promise.all(ids.map((id) => drawn(id, most)))));
  const width = Math.max(120, ...cells.flat().map((each) => each?.width ?? 0)) + GAP;
  const height = Math.max(64, ...cells.flat().map((each) => each?.height ?? 0)) + GAP;
  const canvas = document.createElement("canvas");
  canvas.width = LABEL + width * columns.length + GAP;
  canvas.height = 2 * HEAD + height * rows.length;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { backgroundColor, color, fontFamily } = getComputedStyle(document.documentElement);
  pen.fillStyle = backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  Object.assign(pen, { fillStyle: color, font: `14px ${fontFamily}`, textBaseline: "middle" });
  const write = (/** @type {string} */ text, /** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ room) => pen.fillText(cut(pen, text, room), x, y);
  write(title, GAP, HEAD / 2, canvas.width - 2 * GAP);
  columns.forEach((each, n) => write(each, LABEL + n * width, 1.5 * HEAD, width - GAP));
  rows.forEach(({ label }, n) => write(label, GAP, 2 * HEAD + (n + 0.5) * height, LABEL - 2 * GAP));
  cells.forEach((row, y) => row.forEach((each, x) => each && pen.drawImage(each, LABEL + x * width, 2 * HEAD + y * height)));
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve));
  if (!blob) throw new Error("The browser cannot draw so large a picture.");
  const to = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "sweep.png" });
  to.click();
  setTimeout(() => URL.revokeObjectURL(to.href), 60_000);
}

/** The first picture of a job, no wider than so many pixels; null while there is none. @param {string} id @param {number} most */
async function drawn(id, most) {
  const image = jobOf(id)?.peek().images[0];
  if (!image?.url) return null;
  return createImageBitmap(await (await ask(image.width > most ? `${image.url}?w=${most}` : image.url)).blob());
}

/** As much of a text as fits. @param {CanvasRenderingContext2D} pen @param {string} text @param {number} room */
function cut(pen, text, room) {
  let kept = text;
  while (kept && pen.measureText(kept).width > room) kept = kept.replace(/…?$/, "").slice(0, -1) + "…";
  return kept;
}
