// What is painted on: a mask over its picture, by mouse, finger, pen or keyboard.

import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { ARROWS } from "./picture.js";
import { paint, remember, show, SIDE } from "./mask.js";

/** @typedef {import("./mask.js").Mask} Mask */
/** @typedef {import("./mask.js").Point} Point */

export const tool = signal(/** @type {"brush" | "eraser" | "frame"} */ ("brush"));
/** Percent of half the longer side. */
export const size = signal(12);
/** Percent of the radius. */
export const softness = signal(20);
/** Where the brush is, in pixels of the mask. */
const at = signal(/** @type {Point} */ ({ x: SIDE / 2, y: SIDE / 2 }));

/** The bit of `buttons` that is a pen's other end. */
const OTHER_END = 32;

/** @param {{ mask: Mask, own: { current: HTMLCanvasElement | null }, redraw: () => void, undo: () => void, isStill: boolean }} props */
export function Surface({ mask, own, redraw, undo, isStill }) {
  const isDown = useRef(false);
  const { width, height } = mask.pixels.canvas;
  const radius = (size.value / 200) * SIDE;
  useLayoutEffect(() => {
    if (own.current) show(mask, own.current);
  }, [mask]);

  /** Goes there, painting if the brush is down. @param {Point} to @param {Partial<PointerEvent>} how */
  const go = (to, { pointerType, pressure = 0.5, buttons = 0 }) => {
    const pressed = pointerType === "pen" ? 0.4 + 1.2 * pressure : 1;
    const erases = tool.value === "eraser" || Boolean(buttons & OTHER_END);
    if (isDown.current) paint(mask, at.value, to, { radius: radius * pressed, softness: softness.value / 100, erases });
    at.value = to;
  };
  const press = (/** @type {Point} */ to, /** @type {Partial<PointerEvent>} */ how) => {
    remember(mask);
    at.value = to;
    isDown.current = true;
    go(to, how);
    redraw();
  };
  const lift = () => (isDown.current = false);
  const pointOf = (/** @type {PointerEvent} */ event) => {
    const box = /** @type {HTMLCanvasElement} */ (own.current).getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
  };
  const down = (/** @type {PointerEvent} */ event) => {
    if (!event.isPrimary || (event.button !== 0 && !(event.buttons & OTHER_END))) return;
    own.current?.setPointerCapture(event.pointerId);
    press(pointOf(event), event);
  };
  const move = (/** @type {PointerEvent} */ event) => {
    if (!event.isPrimary) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) go(pointOf(each), each);
    if (isDown.current) redraw();
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    const by = ARROWS[event.key];
    const step = Math.max(radius / 2, 4) * (event.shiftKey ? 4 : 1);
    if (by) go({ x: within(at.value.x + step * by[0], width), y: within(at.value.y + step * by[1], height) }, {});
    else if (event.key === " " && !event.repeat) press({ x: within(at.value.x, width), y: within(at.value.y, height) }, {});
    else if (event.key === "[" || event.key === "]") size.value = within(size.value + (event.key === "]" ? 4 : -4), 100) || 1;
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
    else if (event.key !== " ") return;
    event.preventDefault();
    if (by && isDown.current) redraw();
  };
  const place = { left: `${(100 * at.value.x) / width}%`, top: `${(100 * at.value.y) / height}%`, width: `${(200 * radius) / width}%` };
  return html`
    <canvas ref=${own} class="mask" tabindex=${isStill ? -1 : 0} role="application" aria-label="Mask: arrows move the brush, Space paints" inert=${isStill}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${lift} onPointerCancel=${lift} onKeyDown=${key} onKeyUp=${(/** @type {KeyboardEvent} */ e) => e.key === " " && lift()} onBlur=${lift}></canvas>
    ${!isStill && html`<span class="brush" style=${place} aria-hidden="true"></span>`}`;
}

/** @param {number} value @param {number} most */
function within(value, most) {
  return Math.min(Math.max(value, 0), most);
}
