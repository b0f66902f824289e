// The frame of a picture, whose edges are dragged outwards to continue it beyond its own.

import { batch } from "@preact/signals";
import { useRef } from "preact/hooks";
import { html } from "../html.js";
import { model, put, values } from "../form/values.js";

/** @typedef {{ width: number, height: number }} Sides in pixels of the picture */
/** @typedef {{ left: number, top: number, right: number, bottom: number }} Padding */
/** @typedef {Sides & { place: (x: number, y: number, width: number, height: number) => Record<string, string> }} View */

/** Most that the service adds on one side. */
const MOST = 4096;
/** Room to drag into, as a share of the frame. */
const ROOM = 0.3;
const EDGES = /** @type {const} */ (["left", "top", "right", "bottom"]);

/** @returns {Padding} */
export function padding() {
  return { left: 0, top: 0, right: 0, bottom: 0, .../** @type {object} */ (values.value["padding"]) };
}

/** What is seen: the frame, with room around it where it is to be dragged. @param {Sides} sides @param {boolean} hasRoom @returns {View} */
export function viewOf(sides, hasRoom) {
  const { left, top, right, bottom } = padding();
  const [across, down] = [sides.width + left + right, sides.height + top + bottom];
  const room = hasRoom ? ROOM * Math.max(across, down) : 0;
  const [width, height] = [across + 2 * room, down + 2 * room];
  const place = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ h) => ({
    left: `${(100 * (x + left + room)) / width}%`,
    top: `${(100 * (y + top + room)) / height}%`,
    width: `${(100 * w) / width}%`,
    height: `${(100 * h) / height}%`,
  });
  return { width, height, place };
}

/** Made at the picture's own scale, where the model can. @param {typeof EDGES[number]} edge @param {number} to @param {Sides} sides */
function extend(edge, to, sides) {
  const { size_multiple: step, min_size: least, max_size: side, max_pixels: pixels } = model.value?.limits ?? { size_multiple: 8, min_size: 0, max_size: 0, max_pixels: 0 };
  const next = { ...padding(), [edge]: Math.min(Math.max(Math.round(to / step) * step, 0), MOST) };
  const isAny = EDGES.some((each) => next[each]);
  const [width, height] = [sides.width + next.left + next.right, sides.height + next.top + next.bottom].map((each) => Math.round(each / step) * step);
  const fits = isAny && width && height && Math.min(width, height) >= least && Math.max(width, height) <= side && width * height <= pixels;
  batch(() => {
    put("padding", isAny ? next : undefined);
    put("width", fits ? width : undefined);
    put("height", fits ? height : undefined);
  });
}

/** @param {{ sides: Sides, view: View, hold: (view: View | null) => void, isStill: boolean }} props */
export function Frame({ sides, view, hold, isStill }) {
  const own = useRef(/** @type {HTMLDivElement | null} */ (null));
  const grip = useRef({ x: 0, y: 0, before: 0 });
  const now = padding();
  const { left, top, right, bottom } = now;
  const [width, height] = [sides.width + left + right, sides.height + top + bottom];
  const handle = (/** @type {typeof EDGES[number]} */ edge) => {
    const isAcross = edge === "left" || edge === "right";
    const sign = edge === "left" || edge === "top" ? -1 : 1;
    const down = (/** @type {any} */ event) => {
      event.target.setPointerCapture(event.pointerId);
      grip.current = { x: event.clientX, y: event.clientY, before: now[edge] };
      hold(view);
    };
    const move = (/** @type {any} */ event) => {
      if (!event.target.hasPointerCapture(event.pointerId)) return;
      const scale = width / /** @type {HTMLElement} */ (own.current).getBoundingClientRect().width;
      const by = isAcross ? event.clientX - grip.current.x : event.clientY - grip.current.y;
      extend(edge, grip.current.before + sign * by * scale, sides);
    };
    const key = (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      extend(edge, now[edge] + sign * by * (model.value?.limits.size_multiple ?? 8) * (event.shiftKey ? 4 : 1), sides);
    };
    return html`<button type="button" key=${edge} role="slider" class=${`grip ${edge}`} aria-label=${`New canvas: ${edge}`} aria-valuemin="0"
      aria-valuemax=${MOST} aria-valuenow=${now[edge]} aria-valuetext=${`${now[edge]} pixels`} aria-orientation=${isAcross ? "horizontal" : "vertical"}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${() => hold(null)} onPointerCancel=${() => hold(null)} onKeyDown=${key}></button>`;
  };
  return html`
    <div ref=${own} class="frame-edge" style=${view.place(-left, -top, width, height)}>
      ${!isStill && html`${EDGES.map(handle)}<output class="frame-size">${width} × ${height}</output>`}
    </div>
  `;
}
