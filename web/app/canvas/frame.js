// The frame of a picture, whose edges are dragged outwards to continue it beyond its own.

import { batch } from "@preact/signals";
import { useRef } from "preact/hooks";
import { html } from "../html.js";
import { model, put, values } from "../form/values.js";
import { ARROWS, placed } from "./picture.js";

/** @typedef {{ width: number, height: number }} Sides in pixels of the picture */
/** @typedef {{ left: number, top: number, width: number, height: number }} View what is seen, in pixels of the picture */
/** @typedef {"left" | "top" | "right" | "bottom"} Edge */

/** Most that the service adds on one side. */
const MOST = 4096;
/** Room to drag into, as a share of the frame. */
const ROOM = 0.3;
const EDGES = /** @type {const} */ (["left", "top", "right", "bottom"]);
const NONE = { left: 0, top: 0, right: 0, bottom: 0 };

/** @returns {Record<Edge, number>} */
function padding() {
  return { ...NONE, .../** @type {object} */ (values.value["padding"]) };
}

/** The frame, with room around it where it is to be dragged. @param {Sides} sides @param {boolean} hasRoom @returns {View} */
export function viewOf(sides, hasRoom) {
  const { left, top, right, bottom } = padding();
  const [width, height] = [sides.width + left + right, sides.height + top + bottom];
  const room = hasRoom ? ROOM * Math.max(width, height) : 0;
  return { left: -left - room, top: -top - room, width: width + 2 * room, height: height + 2 * room };
}

/** Made at the picture's own scale, where the model can. @param {Edge} edge @param {number} to @param {Sides} sides */
function extend(edge, to, sides) {
  const limits = model.value?.limits;
  if (!limits) return;
  const step = limits.size_multiple;
  const next = { ...padding(), [edge]: Math.min(Math.max(Math.round(to / step) * step, 0), MOST) };
  const isAny = EDGES.some((each) => next[each]);
  const [width = 0, height = 0] = [sides.width + next.left + next.right, sides.height + next.top + next.bottom].map((each) => Math.round(each / step) * step);
  const fits = isAny && Math.min(width, height) >= limits.min_size && Math.max(width, height) <= limits.max_size && width * height <= limits.max_pixels;
  const wanted = { padding: isAny ? next : undefined, width: fits ? width : undefined, height: fits ? height : undefined };
  batch(() => Object.entries(wanted).forEach(([name, value]) => put(name, value)));
}

/** @param {{ sides: Sides, view: View, hold: (view: View | null) => void, isStill: boolean }} props */
export function Frame({ sides, view, hold, isStill }) {
  const own = useRef(/** @type {HTMLDivElement | null} */ (null));
  const grip = useRef({ at: 0, before: 0 });
  const now = padding();
  const frame = viewOf(sides, false);
  const handle = (/** @type {Edge} */ edge) => {
    const axis = edge === "left" || edge === "right" ? 0 : 1;
    const sign = edge === "left" || edge === "top" ? -1 : 1;
    const along = (/** @type {any} */ event) => (axis ? event.clientY : event.clientX);
    const down = (/** @type {any} */ event) => {
      event.target.setPointerCapture(event.pointerId);
      grip.current = { at: along(event), before: now[edge] };
      hold(view);
    };
    const move = (/** @type {any} */ event) => {
      if (!event.target.hasPointerCapture(event.pointerId)) return;
      const scale = frame.width / /** @type {HTMLElement} */ (own.current).getBoundingClientRect().width;
      extend(edge, grip.current.before + sign * (along(event) - grip.current.at) * scale, sides);
    };
    const key = (/** @type {KeyboardEvent} */ event) => {
      const by = ARROWS[event.key]?.[axis];
      if (!by) return;
      event.preventDefault();
      extend(edge, now[edge] + sign * by * (model.value?.limits.size_multiple ?? 1) * (event.shiftKey ? 4 : 1), sides);
    };
    return html`<button type="button" key=${edge} role="slider" class=${`grip ${edge}`} aria-label=${`New canvas: ${edge}`} aria-valuemin="0"
      aria-valuemax=${MOST} aria-valuenow=${now[edge]} aria-valuetext=${`${now[edge]} pixels`} aria-orientation=${axis ? "vertical" : "horizontal"}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${() => hold(null)} onPointerCancel=${() => hold(null)} onKeyDown=${key}></button>`;
  };
  return html`
    <div ref=${own} class="frame-edge" style=${placed(frame, view)}>
      ${!isStill && html`${EDGES.map(handle)}<output class="frame-size">${frame.width} × ${frame.height}</output>`}
    </div>`;
}
