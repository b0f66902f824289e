// What shall be where: boxes drawn on blank paper, each with a phrase.

import { useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { faults, fieldNamed, put, values } from "../form/values.js";
import { Dialog } from "../shared/dialog.js";
import { Icon } from "../shared/icons.js";
import { ARROWS, isOpen, placed, regions } from "./picture.js";

/** @typedef {import("./picture.js").Region} Region */
/** @typedef {Region["box"]} Box */

/** The least that is a box and no slip, and how far a key moves one. */
const STEP = 0.02;
const PAPER = { left: 0, top: 0, width: 1, height: 1 };

export function Layout() {
  const own = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [drawn, setDrawn] = useState(/** @type {Box | null} */ (null));
  const from = useRef([0, 0]);
  const all = regions.value;
  const close = () => (isOpen.value = false);
  const side = (/** @type {string} */ name) => Number(values.value[name] ?? fieldNamed(name)?.default ?? 1);
  const set = (/** @type {Region[]} */ to) => put("regions", to.length ? to : undefined);
  const change = (/** @type {number} */ at, /** @type {Partial<Region>} */ to) => set(all.map((each, n) => (n === at ? { ...each, ...to } : each)));
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
    if (drawn && drawn[2] - drawn[0] > STEP && drawn[3] - drawn[1] > STEP) add(drawn);
    setDrawn(null);
  };
  return html`
    <${Dialog} title="What shall be where" close=${close} wide>
      <div class="stage">
        <div ref=${own} class="board paper" style=${{ "--ratio": side("width") / side("height") }}
          onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${() => setDrawn(null)}>
          ${all.map(({ box, phrase }, n) => html`<button type="button" key=${n} class="box" style=${boxed(box)} aria-label=${`Box ${n + 1}: ${phrase}`}
            onKeyDown=${(/** @type {KeyboardEvent} */ e) => change(n, { box: moved(box, e) })}>${n + 1} ${phrase}</button>`)}
          ${drawn && html`<span class="box" style=${boxed(drawn)}></span>`}
        </div>
      </div>
      <div class="regions">
        ${faults.value["regions"] && html`<p class="wrong" role="alert">${faults.value["regions"]}</p>`}
        <p class="help">Draw boxes, and say what is in each. By keyboard: arrows move a box that has the focus, with Shift they size it.</p>
        ${all.map(({ phrase }, n) => html`
          <div class="with-buttons" key=${n}>
            <label for=${`region-${n}`}>${n + 1}</label>
            <input id=${`region-${n}`} type="text" maxlength="200" value=${phrase} placeholder="What is there" onInput=${(/** @type {any} */ e) => change(n, { phrase: e.target.value })} />
            <button type="button" class="quiet" aria-label=${`Remove box ${n + 1}`} title="Remove" onClick=${() => set(all.toSpliced(n, 1))}><${Icon} name="close" /></button>
          </div>
        `)}
        <div class="dialog-foot">
          <button type="button" disabled=${all.length >= (fieldNamed("regions")?.maxItems ?? 30)} onClick=${() => add([0.25, 0.25, 0.75, 0.75])}>Add a box</button>
          <button type="button" onClick=${close}>Done</button>
        </div>
      </div>
    <//>`;
}

/** By a key. @param {Box} box @param {KeyboardEvent} event @returns {Box} */
function moved(box, event) {
  const [x = 0, y = 0] = ARROWS[event.key]?.map((each) => each * STEP) ?? [];
  if (!x && !y) return box;
  event.preventDefault();
  const [left, top, right, bottom] = box;
  if (event.shiftKey) return [left, top, share(Math.max(right + x, left + STEP)), share(Math.max(bottom + y, top + STEP))];
  const to = /** @type {Box} */ ([left + x, top + y, right + x, bottom + y]);
  return Math.min(...to) < 0 || Math.max(...to) > 1 ? box : /** @type {Box} */ (to.map(share));
}

/** @param {Box} box */
function boxed([left, top, right, bottom]) {
  return placed({ left, top, width: right - left, height: bottom - top }, PAPER);
}

/** Within the paper, in few digits. @param {number} value */
function share(value) {
  return Math.round(1000 * Math.min(Math.max(value, 0), 1)) / 1000;
}
