// What the picture shows, in words.

import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { faults, fieldNamed, put, values } from "../form/values.js";

export function Prompt() {
  const own = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const text = String(values.value["prompt"] ?? "");
  useLayoutEffect(() => {
    const area = own.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + 2}px`;
  }, [text]);
  const fault = faults.value["prompt"];
  return html`
    <div class="field">
      <label for="field-prompt">Prompt</label>
      <textarea id="field-prompt" class="prompt" ref=${own} rows="3" value=${text} placeholder="What the picture shows"
        maxlength=${fieldNamed("prompt")?.maxLength ?? undefined} aria-invalid=${fault ? "true" : undefined}
        aria-describedby=${fault ? "field-prompt-wrong" : undefined} enterkeyhint="go"
        onInput=${(/** @type {any} */ e) => put("prompt", e.target.value || undefined)}></textarea>
      ${fault && html`<p class="wrong" id="field-prompt-wrong">${fault}</p>`}
    </div>`;
}
