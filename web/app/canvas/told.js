// What a picture says of how it was made, and the offer to take that over.

import { html } from "../html.js";
import { Icon } from "../shared/icons.js";
import { told, useSettings } from "./picture.js";

const WRITERS = { darkroom: "a Darkroom", a1111: "A1111 or a program like it", comfyui: "ComfyUI" };

export function Told() {
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
    </div>
  `;
}
