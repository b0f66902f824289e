// The place of a wish for the picture that it begins with, what that picture tells, and the way to its
// mask and frame.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { FormField } from "../form/field.js";
import { faults, fieldNamed, put, values } from "../form/values.js";
import { PictureInput, pictureIn } from "../shared/picture-input.js";
import { say } from "../shared/toast.js";
import { begun, beginWith, can, take } from "./picture.js";
import { Told } from "./told.js";

export function Canvas() {
  const isOver = usePicturesFromAnywhere();
  const image = begun.value;
  const strength = image && fieldNamed("strength");
  return html`
    <div class=${isOver ? "field canvas over" : "field canvas"}>
      ${can.value.begin &&
      html`<${PictureInput} id="field-image" label="Picture to begin with" value=${image} put=${beginWith} take=${take}
        fault=${faults.value["image"] ?? faults.value["images"]} />`}
      <${Told} />
      ${strength && html`<${FormField} field=${strength} value=${values.value["strength"]} fault=${faults.value["strength"]}
        put=${(/** @type {unknown} */ to) => put("strength", to)} />`}
    </div>
  `;
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
      if (event.defaultPrevented || !data?.types.includes("Files")) return;
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
