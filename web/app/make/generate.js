// The one button, and what is to be said of it.

import { useEffect, useState } from "preact/hooks";
import { html } from "../html.js";
import { fields } from "../form/values.js";
import { sending } from "./submit.js";

/** Ctrl+Enter anywhere in a form. @param {KeyboardEvent} event */
export function submitByKeys(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) /** @type {HTMLFormElement} */ (event.currentTarget).requestSubmit();
}

/** @param {{ title?: string, isOff?: boolean }} props */
export function Generate({ title = "Generate", isOff = false }) {
  const { isSending, sentences, againAt } = sending.value;
  return html`
    <div class="generate">
      <button id="generate" type="submit" class="primary" disabled=${isSending || isOff || !fields.value.length} aria-describedby="generate-told">
        ${isSending ? "Sending…" : title}<kbd aria-hidden="true">Ctrl ↵</kbd>
      </button>
      <div id="generate-told" role="alert">
        ${sentences.map((each) => html`<p class="wrong" key=${each}>${each}</p>`)}
        ${againAt && html`<${Again} at=${againAt} />`}
      </div>
    </div>`;
}

/** Counts down to when another try may succeed. @param {{ at: number }} props */
function Again({ at }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [at]);
  const left = Math.ceil((at - now) / 1000);
  return html`<p class="again" data-again>${left > 0 ? `Try again in ${left} s.` : "Try again now."}</p>`;
}
