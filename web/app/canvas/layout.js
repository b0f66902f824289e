// What shall be where: boxes drawn on blank paper, each with a phrase.

import { useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { faults, fieldNamed, put, values } from "../form/values.js";
import { Dialog } from "../shared/dialog.js";
import { Icon } from "../shared/icons.js";
import { isOpen, regions } from "./picture.js";
import { ARROWS } from "./surface.js";

/** @typedef {import("./picture.js").Region} Region */
/** @typedef {Region["box"]} Box */

/** The least that is a box and no slip. */
const LEAST = 0.02;
const STEP = 0.02;

export function Layout() {
  const close = () => (isOpen.value = false);
  const own = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [drawn, setDrawn] = useState(/** @type {Box | null} */ (null));
  const from = useRef([0, 0]);
  const all = regions.value;
  const side = (/** @type {string} */ name) => Number(values.value[name] ?? fieldNamed(name)?.default ?? 1);
  const set = (/** @type {Region[]} */ to) => put("regions", to.length ? to : undefined);
  const change = (/** @type {number} */ at, /** @type {Region | null} */ to) => set(all.flatMap((each, n) => (n === at ? (to ?? []) : each)));
  const add = (/** @type {Box} */ box) => {
    set([...all, { phrase: "", box }]);
    setTimeout(() => document.getElementById(`region-${all.length}`)?.focus(), 50);
  };
  const spot = (/** @type {PointerEvent} */ { clientX, clientY }) => {
    const { left, top, width, height } = /** @type {HTMLElement} */ (own.current).getBoundingClientRect();
    return [share((clientX - left) / width), share((clientY - top) / height)];
  };
  const down = (/** @type {PointerEvent} */ event) => {
    own.current?.setPointerCapture(event.pointerId);
    from.current = spot(event);
  };
  const move = (/** @type {PointerEvent} */ event) => {
    if (!own.current?.hasPointerCapture(event.pointerId)) return;
    const [[x = 0, y = 0], [z = 0, w = 0]] = [from.current, spot(event)];
    setDrawn([Math.min(x, z), Math.min(y, w), Math.max(x, z), Math.max(y, w)]);
  };
  const up = () => {
    if (drawn && drawn[2] - drawn[0] > LEAST && drawn[3] - drawn[1] > LEAST) add(drawn);
    setDrawn(null);
  };
  return html`
    <${Dialog} title="What shall be where" close=${close} wide>
      <div class="stage">
        <div ref=${own} class="board paper" style=${{ "--ratio": side("width") / side("height") }}
          onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${() => setDrawn(null)}>
          ${all.map((each, n) => html`<${Drawn} key=${n} n=${n} region=${each} put=${(/** @type {Box} */ box) => change(n, { ...each, box })} />`)}
          ${drawn && html`<span class="box" style=${placed(drawn)}></span>`}
        </div>
      </div>
      <div class="regions">
        ${faults.value["regions"] && html`<p class="wrong" role="alert">${faults.value["regions"]}</p>`}
        <p class="help">Draw boxes, and say what is in each. By keyboard: arrows move a box that has the focus, with Shift they size it.</p>
        ${all.map((each, n) => html`
          <div class="with-buttons" key=${n}>
            <label for=${`region-${n}`}>${n + 1}</label>
            <input id=${`region-${n}`} type="text" maxlength="200" value=${each.phrase} placeholder="What is there" onInput=${(/** @type {any} */ e) => change(n, { ...each, phrase: e.target.value })} />
            <button type="button" class="quiet" aria-label=${`Remove box ${n + 1}`} title="Remove" onClick=${() => change(n, null)}><${Icon} name="close" /></button>
          </div>
        `)}
        <div class="dialog-foot">
          <button type="button" disabled=${all.length >= (fieldNamed("regions")?.maxItems ?? 30)} onClick=${() => add([0.25, 0.25, 0.75, 0.75])}>Add a box</button>
          <button type="button" onClick=${close}>Done</button>
        </div>
      </div>
    <//>
  `;
}

/** @param {{ n: number, region: Region, put: (box: Box) => void }} props */
function Drawn({ n, region: { box, phrase }, put: putBox }) {
  const key = (/** @type {KeyboardEvent} */ event) => {
    const by = ARROWS[event.key];
    if (!by) return;
    event.preventDefault();
    const [[x, y], [left, top, right, bottom]] = [by, box];
    const [wide, high] = [right - left, bottom - top];
    const [l, t] = event.shiftKey ? [left, top] : [Math.min(share(left + STEP * x), 1 - wide), Math.min(share(top + STEP * y), 1 - high)];
    const more = event.shiftKey ? STEP : 0;
    putBox([share(l), share(t), share(Math.max(l + wide + more * x, l + STEP)), share(Math.max(t + high + more * y, t + STEP))]);
  };
  return html`<button type="button" class="box" style=${placed(box)} aria-label=${`Box ${n + 1}: ${phrase}`} onKeyDown=${key}>${n + 1} ${phrase}</button>`;
}

/** @param {Box} box */
function placed([left, top, right, bottom]) {
  return { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` };
}

/** Within the paper, in few digits. @param {number} value */
function share(value) {
  return Math.round(1000 * Math.min(Math.max(value, 0), 1)) / 1000;
}
