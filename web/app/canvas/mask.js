// A mask as far as it is painted: pixels that are opaque where the picture changes. Knows no view.

import { ask } from "../api.js";
import { pathOf } from "../shared/picture-input.js";

/** Pixels of its longer side; the service brings it to the size of the picture. */
export const SIDE = 1024;
const UNDONE = 20;
/** How much is covered at once, in radii of the brush. */
const STRIDE = 0.25;

/** @typedef {{ pixels: CanvasRenderingContext2D, before: ImageData[], isChanged: boolean }} Mask */
/** @typedef {{ x: number, y: number }} Point in its pixels */
/** @typedef {{ radius: number, softness: number, erases: boolean }} Brush `softness`: the share of the radius that fades */

/** Of the shape of a picture. @param {number} width @param {number} height @returns {Mask} */
export function newMask(width, height) {
  const scale = SIDE / Math.max(width, height);
  return { pixels: blank(Math.ceil(width * scale), Math.ceil(height * scale)), before: [], isChanged: false };
}

/** @param {number} width @param {number} height */
function blank(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
}

/** @param {Mask} mask */
function data({ pixels }) {
  return pixels.getImageData(0, 0, pixels.canvas.width, pixels.canvas.height);
}

/** What comes next can be undone. @param {Mask} mask */
export function remember(mask) {
  mask.before = [...mask.before.slice(1 - UNDONE), data(mask)];
  mask.isChanged = true;
}

/** @param {Mask} mask */
export function undo(mask) {
  const last = mask.before.pop();
  if (last) mask.pixels.putImageData(last, 0, 0);
}

/** Covers, or lays bare, the way between two points. @param {Mask} mask @param {Point} from @param {Point} to @param {Brush} brush */
export function paint({ pixels }, from, to, { radius, softness, erases }) {
  const way = Math.hypot(to.x - from.x, to.y - from.y);
  pixels.globalCompositeOperation = erases ? "destination-out" : "source-over";
  for (let n = 0, count = Math.ceil(way / (radius * STRIDE)) || 1; n <= count; n++) {
    const [x, y] = [from.x + ((to.x - from.x) * n) / count, from.y + ((to.y - from.y) * n) / count];
    const fading = pixels.createRadialGradient(x, y, 0, x, y, radius);
    fading.addColorStop(Math.min(1 - softness, 0.98), "#fff");
    fading.addColorStop(1, "#fff0");
    pixels.fillStyle = fading;
    pixels.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  }
}

/** Inverts it (`xor`) or lays it bare (`destination-out`). @param {Mask} mask @param {"xor" | "destination-out"} how */
export function change(mask, how) {
  remember(mask);
  fill(mask, how, "#fff");
}

/** @param {Pick<Mask, "pixels">} mask @param {GlobalCompositeOperation} how @param {string} style */
function fill({ pixels }, how, style) {
  pixels.globalCompositeOperation = how;
  pixels.fillStyle = style;
  pixels.fillRect(0, 0, pixels.canvas.width, pixels.canvas.height);
}

/** Covers what is white in a mask that the service has. Throws Refusal and Lost. @param {Mask} mask @param {string} id */
export async function cover(mask, id) {
  const picture = await createImageBitmap(await (await ask(pathOf(id))).blob());
  const { canvas } = mask.pixels;
  mask.pixels.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const found = data(mask);
  for (let n = 0; n < found.data.length; n += 4) found.data.set([255, 255, 255, found.data[n] ?? 0], n);
  mask.pixels.putImageData(found, 0, 0);
}

/** White where it is covered; null where it is nowhere. @param {Mask} mask @returns {Promise<Blob | null>} */
export async function fileOf(mask) {
  const { data: shares } = data(mask);
  let most = 0;
  for (let n = 3; n < shares.length; n += 4) most = Math.max(most, shares[n] ?? 0);
  if (most < 128) return null;
  const { canvas } = mask.pixels;
  const whole = blank(canvas.width, canvas.height);
  fill({ pixels: whole }, "source-over", "#000");
  whole.drawImage(canvas, 0, 0);
  return new Promise((resolve) => whole.canvas.toBlob(resolve, "image/png"));
}

/** Shows it on another canvas, hatched, so that it is seen on every picture. @param {Mask} mask @param {HTMLCanvasElement} on */
export function show({ pixels }, on) {
  const { width, height } = pixels.canvas;
  if (on.width !== width || on.height !== height) Object.assign(on, { width, height });
  const shown = /** @type {CanvasRenderingContext2D} */ (on.getContext("2d"));
  shown.globalCompositeOperation = "copy";
  shown.drawImage(pixels.canvas, 0, 0);
  shown.globalCompositeOperation = "source-atop";
  shown.lineWidth = 5;
  shown.beginPath();
  for (let x = -height; x < width; x += 24) {
    shown.moveTo(x, height);
    shown.lineTo(x + height, 0);
  }
  shown.stroke();
}
