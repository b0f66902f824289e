// One picture, as large as there is room: zoomed and moved; beside what it was made from.

import { useEffect, useState } from "preact/hooks";
import { html } from "../html.js";
import { Icon } from "../shared/icons.js";
import { pictureAddress } from "../shared/picture.js";

/** How large it is, 1 where all of it is seen, and how far its middle is from the stage's, in CSS pixels.
 * @typedef {{ scale: number, x: number, y: number }} Sight */

const WHOLE = { scale: 1, x: 0, y: 0 };
const MOST = 16;
const STEP = 1.5;
/** CSS pixels for one of a small picture, at most. */
const LARGEST = 8;

/**
 * `before` is the path of the picture that it began with.
 * @param {{ path: string, before: string, alt: string, width: number, height: number }} props
 */
export function Stage({ path, before, alt, width, height }) {
  const [sight, setSight] = useState(/** @type {Sight} */ (WHOLE));
  const [cut, setCut] = useState(50);
  const [gone, setGone] = useState("");
  const zoom = (/** @type {number} */ by, x = 0, y = 0) => setSight((now) => zoomed(now, by, x, y));
  useKeys({ "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: () => setSight(WHOLE) });
  const hasBefore = Boolean(before) && gone !== before;
  const about = (/** @type {MouseEvent} */ { currentTarget, clientX, clientY }) => {
    const box = /** @type {Element} */ (currentTarget).getBoundingClientRect();
    return /** @type {const} */ ([clientX - box.left - box.width / 2, clientY - box.top - box.height / 2]);
  };
  const wheel = (/** @type {WheelEvent} */ event) => {
    event.preventDefault();
    zoom(2 ** (-event.deltaY / 300), ...about(event));
  };
  const move = (/** @type {PointerEvent} */ event) => {
    if (!event.buttons) return;
    const stage = /** @type {Element} */ (event.currentTarget);
    stage.setPointerCapture(event.pointerId);
    if (sight.scale > 1) setSight((now) => ({ ...now, x: now.x + event.movementX, y: now.y + event.movementY }));
    else if (hasBefore) setCut(share(event.clientX, /** @type {Element} */ (stage.firstElementChild)));
  };
  const box = { width: `min(100cqw, 100cqh * ${width / height}, ${LARGEST * width}px)`, aspectRatio: `${width} / ${height}` };
  const transform = `translate(${sight.x}px, ${sight.y}px) scale(${sight.scale})`;
  return html`
    <div class="view-large">
      <div class=${sight.scale > 1 ? "ground near" : "ground"} onWheel=${wheel} onPointerMove=${move}
        onDblClick=${(/** @type {MouseEvent} */ e) => (sight.scale > 1 ? setSight(WHOLE) : zoom(3, ...about(e)))}>
        <div class="developed" style=${{ ...box, transform }}>
          <img class="picture" src=${pictureAddress(path) || undefined} alt=${alt} draggable=${false} />
          ${hasBefore &&
          html`<img class="picture before" src=${pictureAddress(before) || undefined} alt="What it began with" draggable=${false}
              style=${{ clipPath: `inset(0 ${100 - cut}% 0 0)` }} onError=${() => setGone(before)} />
            <span class="cut" style=${{ left: `${cut}%`, width: `${2 / sight.scale}px` }}></span>`}
        </div>
      </div>
      <div class="buttons">
        ${hasBefore &&
        html`<label for="cut">Before</label>
          <input id="cut" type="range" min="0" max="100" value=${cut} aria-label="How much of the picture before is shown, in percent"
            onInput=${(/** @type {any} */ e) => setCut(e.target.valueAsNumber)} />
          <span>After</span>`}
        <button type="button" class="quiet" aria-label="Smaller" title="Smaller (-)" disabled=${sight.scale <= 1} onClick=${() => zoom(1 / STEP)}><${Icon} name="less" /></button>
        <button type="button" class="quiet scale" aria-label="All of it" title="All of it (0)" onClick=${() => setSight(WHOLE)}>${sight.scale === 1 ? "All" : `${sight.scale.toFixed(1)} ×`}</button>
        <button type="button" class="quiet" aria-label="Larger" title="Larger (+)" disabled=${sight.scale >= MOST} onClick=${() => zoom(STEP)}><${Icon} name="more" /></button>
      </div>
    </div>`;
}

/** What lies at x, y from the middle of the stage stays there. @param {Sight} now @param {number} by @param {number} x @param {number} y */
function zoomed(now, by, x, y) {
  const scale = Math.min(Math.max(now.scale * by, 1), MOST);
  const ratio = scale / now.scale;
  return scale === 1 ? WHOLE : { scale, x: x - (x - now.x) * ratio, y: y - (y - now.y) * ratio };
}

/** How far across an element a point is, in percent. @param {number} x @param {Element} element */
function share(x, element) {
  const { left, width } = element.getBoundingClientRect();
  return Math.min(Math.max((100 * (x - left)) / width, 0), 100);
}

/** Keys that a view listens to, whatever has the focus, unless that takes them itself.
 * @param {Record<string, (() => void) | false | null | undefined>} does by names of keys, for as long as it is shown */
export function useKeys(does) {
  useEffect(() => {
    const over = new AbortController();
    const press = (/** @type {KeyboardEvent} */ event) => {
      const typing = /** @type {Element} */ (event.target).closest?.("input, select, textarea, dialog");
      const act = does[event.key];
      if (!act || typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      event.preventDefault();
      act();
    };
    document.addEventListener("keydown", press, { signal: over.signal });
    return () => over.abort();
  });
}
