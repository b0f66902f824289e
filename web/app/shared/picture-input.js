// A place for a picture of one's own: picked, dropped or pasted; uploaded once and named by its id from
// then on.

import { useState } from "preact/hooks";
import { read } from "../api.js";
import { html } from "../html.js";
import { Icon } from "./icons.js";
import { pictureAddress } from "./picture.js";

/** @typedef {{ id: string, width: number, height: number, warnings: string[] }} KeptFile */

const TYPES = "image/png, image/jpeg, image/webp";

/** Throws Refusal and Lost. @param {Blob} picture @param {"picture" | "mask"} [kind] @returns {Promise<KeptFile>} */
export function upload(picture, kind = "picture") {
  const type = TYPES.split(", ").includes(picture.type) ? picture.type : "application/octet-stream";
  return read(`/api/v1/files?kind=${kind}`, { body: picture, headers: { "Content-Type": type } });
}

/** Where a picture is that a request names. @param {string} id `img_...` or `file_...` */
export function pathOf(id) {
  return id.startsWith("img_") ? `/api/v1/images/${id}` : `/api/v1/files/${id}/content`;
}

/** The first picture that was dropped or pasted. @param {DataTransfer | null} data @returns {File | null} */
export function pictureIn(data) {
  return [...(data?.files ?? [])].find((each) => each.type.startsWith("image/")) ?? null;
}

/**
 * `value` is the picture's id, empty where there is none; `put` gets undefined where it is taken away.
 * `take` does something else with a file than to upload it, `more` is said beside the picture's sides.
 * @param {{ id: string, label: string, value: string, put: (id: string | undefined) => void, fault?: string | undefined,
 *   take?: (file: File) => Promise<void>, more?: string }} props
 */
export function PictureInput({ id, label, value, put, fault, take: takeFile = async (file) => put((await upload(file)).id), more = "" }) {
  const [wrong, setWrong] = useState("");
  const [isOver, setOver] = useState(false);
  const [sides, setSides] = useState("");
  const take = async (/** @type {File | null} */ file) => {
    if (!file) return;
    setWrong("");
    await takeFile(file).catch((/** @type {Error} */ error) => setWrong(error.message));
  };
  const paste = (/** @type {ClipboardEvent} */ event) => {
    const file = pictureIn(event.clipboardData);
    if (file) event.preventDefault();
    void take(file);
  };
  const over = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    setOver(event.type === "dragover");
    if (event.type === "drop") void take(pictureIn(event.dataTransfer));
  };
  const picked = (/** @type {any} */ event) => {
    void take(event.target.files[0] ?? null);
    event.target.value = ""; // so that the same file can be picked again
  };
  const told = wrong || fault;
  return html`
    <div class=${isOver ? "picture-input over" : "picture-input"} onDragOver=${over} onDragLeave=${over} onDrop=${over} onPaste=${paste}>
      ${value && html`<img class="picture" src=${pictureAddress(pathOf(value)) || undefined} alt=${label}
        onError=${() => setWrong("This picture is no longer there.")} onLoad=${(/** @type {any} */ e) => setSides(`${e.target.naturalWidth} × ${e.target.naturalHeight}`)} />`}
      <div class="picture-input-text">
        <label for=${id}>${value ? "Another" : label}</label>
        <input id=${id} class="unseen" type="file" accept=${TYPES} aria-invalid=${told ? "true" : undefined}
          aria-label=${label} onChange=${picked} />
        <p class="help">${value ? [sides, more].filter(Boolean).join(" · ") : "Pick, drop or paste"}</p>
        ${told && html`<p class="wrong" role="alert">${told}</p>`}
      </div>
      ${value && html`<button type="button" class="quiet" aria-label=${`Take away: ${label}`} title="Take away" onClick=${() => put(undefined)}><${Icon} name="close" /></button>`}
    </div>`;
}
