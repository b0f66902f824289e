// The place of a wish for the picture that it begins with, what that picture tells, and the way to its
// mask and frame.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { FormField } from "../form/field.js";
import { faults, fieldNamed, put, values } from "../form/values.js";
import { Icon } from "../shared/icons.js";
import { later } from "../shared/later.js";
import { PictureInput, pictureIn } from "../shared/picture-input.js";
import { say } from "../shared/toast.js";
import { begun, beginWith, can, isOpen, regions, take, told, useSettings } from "./picture.js";

export const Editor = later("The canvas", () => import("./editor.js").then((file) => file.Editor));

export function Canvas() {
  const isOver = usePicturesFromAnywhere();
  const image = begun.value;
  const strength = image && fieldNamed("strength");
  return html`
    <div class=${isOver ? "field canvas over" : "field canvas"}>
      ${can.value.begin &&
      html`<${PictureInput} id="field-image" label="Picture to begin with" value=${image} put=${beginWith} take=${take} more=${laid()}
        fault=${faults.value["image"] ?? faults.value["images"]} />`}
      ${image ? can.value.mask && html`<${Opener} names=${["mask_image", "padding"]} title=${can.value.extend ? "Mask or extend it" : "Mask it"} />`
        : can.value.layout && html`<${Opener} names=${["regions"]} title="Draw what shall be where" more=${regions.value.map((each) => each.phrase).join(", ")} />`}
      <${Told} />
      ${strength && html`<${FormField} field=${strength} value=${values.value["strength"]} fault=${faults.value["strength"]}
        put=${(/** @type {unknown} */ to) => put("strength", to)} />`}
    </div>`;
}

/** What was done to the picture. */
function laid() {
  return [can.value.mask && values.value["mask_image"] && "masked", can.value.extend && values.value["padding"] && "extended"].filter(Boolean).join(" · ");
}

/** The way to the editor, with what is wrong with what was made there.
 * @param {{ names: string[], title: string, more?: string }} props */
function Opener({ names, title, more = "" }) {
  const wrong = names.map((each) => faults.value[each]).filter(Boolean).join(" ");
  const ids = names.map((each) => `field-${each}`);
  return html`
    <button type="button" id=${ids[0]} aria-invalid=${wrong ? "true" : undefined} aria-describedby="canvas-told" onClick=${() => (isOpen.value = true)}>${title}</button>
    <p class=${wrong ? "wrong" : "help"} id="canvas-told">${wrong || more}</p>
    ${ids[1] && html`<span id=${ids[1]}></span>`}`;
}

const WRITERS = { darkroom: "a Darkroom", a1111: "A1111 or a program like it", comfyui: "ComfyUI" };

/** What the picture says of how it was made, and the offer to take that over. */
function Told() {
  if (!told.value) return null;
  const { source, request, warnings } = told.value;
  const prompt = String(request?.["prompt"] ?? "").slice(0, 200);
  return html`
    <div class="told" role="status">
      <p>This picture says how it was made, by ${WRITERS[source ?? "darkroom"]}${prompt && html`: “${prompt}”`}.</p>
      ${warnings.map((each) => html`<p class="help" key=${each}>${each}</p>`)}
      <div class="with-buttons">
        <button type="button" onClick=${useSettings}>Use its settings</button>
        <button type="button" class="quiet" aria-label="Leave them" title="Leave them" onClick=${() => (told.value = null)}><${Icon} name="close" /></button>
      </div>
    </div>`;
}

/** Takes what is dropped or pasted beside all places for pictures; whether something is held over the page. */
function usePicturesFromAnywhere() {
  const isOver = useSignal(false);
  useEffect(() => {
    const end = new AbortController();
    const over = (/** @type {DragEvent} */ event) => {
      isOver.value = event.type === "dragover" && !event.defaultPrevented && Boolean(event.dataTransfer?.types.includes("Files"));
      if (isOver.value) event.preventDefault();
    };
    const given = (/** @type {Event} */ event, /** @type {DataTransfer | null} */ data) => {
      if (isOpen.value || event.defaultPrevented || !data?.types.includes("Files")) return;
      event.preventDefault();
      const file = pictureIn(data);
      if (file) void take(file);
      else say("This is no picture.", { isFault: true });
    };
    document.addEventListener("dragover", over, end);
    document.addEventListener("dragleave", over, end);
    document.addEventListener("drop", (event) => (given(event, event.dataTransfer), over(event)), end);
    document.addEventListener("paste", (event) => given(event, event.clipboardData), end);
    return () => end.abort();
  }, []);
  return isOver.value;
}
