// The picture in large, to say what of it changes and how far it goes on beyond its edges; where there is
// none, what shall be where.

import { useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { put, values } from "../form/values.js";
import { Dialog } from "../shared/dialog.js";
import { pathOf, upload } from "../shared/picture-input.js";
import { pictureAddress } from "../shared/picture.js";
import { Frame, viewOf } from "./frame.js";
import { Layout } from "./layout.js";
import { change, cover, fileOf, newMask, show, undo } from "./mask.js";
import { begun, can, isOpen, placed } from "./picture.js";
import { size, softness, Surface, tool } from "./surface.js";

export function Editor() {
  return begun.value ? html`<${Masked} />` : html`<${Layout} />`;
}

function Masked() {
  const [mask, setMask] = useState(/** @type {import("./mask.js").Mask | null} */ (null));
  const [sides, setSides] = useState({ width: 1, height: 1 });
  const [fault, setFault] = useState("");
  const [held, hold] = useState(/** @type {import("./frame.js").View | null} */ (null));
  const [, again] = useState(0);
  const isRefused = useRef(false);
  const surface = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const isFraming = tool.value === "frame" && can.value.extend;

  const begin = async (/** @type {any} */ { target: { naturalWidth: width, naturalHeight: height } }) => {
    const made = newMask(width, height);
    const id = values.value["mask_image"];
    if (id) await cover(made, String(id)).catch((/** @type {Error} */ error) => setFault(error.message));
    if (tool.value === "frame") tool.value = "brush";
    setSides({ width, height });
    setMask(made);
  };
  const redraw = () => {
    if (mask && surface.current) show(mask, surface.current);
    if (isRefused.current) setFault("");
    isRefused.current = false;
    again((n) => n + 1);
  };
  const act = (/** @type {(mask: import("./mask.js").Mask) => void} */ how) => {
    if (mask) how(mask);
    redraw();
  };
  const close = async () => {
    try {
      if (mask?.isChanged && !isRefused.current) await keep(mask);
      isOpen.value = false;
    } catch (error) {
      isRefused.current = true;
      setFault(`${/** @type {Error} */ (error).message} Close again to leave the mask as it was.`);
    }
  };
  const view = held ?? viewOf(sides, isFraming);
  return html`
    <${Dialog} title="Canvas" close=${close} wide>
      ${fault && html`<p class="wrong" role="alert">${fault}</p>`}
      <div class="stage">
        <div class="board" style=${{ "--ratio": view.width / view.height }}>
          <div class="laid" style=${placed({ left: 0, top: 0, ...sides }, view)}>
            <img class="picture" src=${pictureAddress(pathOf(begun.value)) || undefined} alt="The picture" draggable=${false} onLoad=${begin}
              onError=${() => setFault("This picture is no longer there.")} />
            ${mask && html`<${Surface} mask=${mask} own=${surface} redraw=${redraw} undo=${() => act(undo)} isStill=${isFraming} />`}
          </div>
          ${can.value.extend && html`<${Frame} sides=${sides} view=${view} hold=${hold} isStill=${!isFraming} />`}
        </div>
      </div>
      <${Tools} isFraming=${isFraming} canUndo=${mask?.before.length} act=${act} />
      <div class="dialog-foot"><button type="button" onClick=${close}>Done</button></div>
    <//>`;
}

/** @param {import("./mask.js").Mask} mask */
async function keep(mask) {
  const file = await fileOf(mask);
  put("mask_image", file ? (await upload(file, "mask")).id : undefined);
  mask.isChanged = false;
}

/** @param {{ isFraming: boolean, canUndo: number, act: (how: (mask: import("./mask.js").Mask) => void) => void }} props */
function Tools({ isFraming, canUndo, act }) {
  const pick = (/** @type {typeof tool.value} */ name, /** @type {string} */ title) => html`
    <button type="button" aria-pressed=${tool.value === name} onClick=${() => (tool.value = name)}>${title}</button>`;
  const range = (/** @type {import("@preact/signals").Signal<number>} */ of, /** @type {string} */ title, /** @type {number} */ min) => html`
    <label class="range">${title}<input type="range" min=${min} max="100" value=${of.value} onInput=${(/** @type {any} */ e) => (of.value = e.target.valueAsNumber)} /></label>`;
  return html`
    <div class="tools" role="toolbar" aria-label="Tools">
      <div class="tool-row">${pick("brush", "Brush")}${pick("eraser", "Eraser")}${can.value.extend && pick("frame", "Extend")}</div>
      ${isFraming
        ? html`<p class="help">Drag an edge outwards, or move it by the arrow keys: what lies beyond the picture is filled.</p>`
        : html`
          <div class="tool-row ranges">${range(size, "Size", 1)}${range(softness, "Softness", 0)}</div>
          <div class="tool-row">
            <button type="button" disabled=${!canUndo} onClick=${() => act(undo)}>Undo</button>
            <button type="button" onClick=${() => act((mask) => change(mask, "xor"))}>Invert</button>
            <button type="button" onClick=${() => act((mask) => change(mask, "destination-out"))}>Clear</button>
          </div>
          <p class="help">What is hatched changes, all else stays. By keyboard: arrows move the brush, Space paints, [ and ] size it.</p>`}
    </div>`;
}
