// Sentences that come and go: what was done, or could not be.

import { signal } from "@preact/signals";
import { html } from "../html.js";
import { Icon } from "./icons.js";

/** @typedef {{ text: string, isFault: boolean, id: number }} Toast */

const SHOWN_MS = 8000;
const toasts = signal(/** @type {Toast[]} */ ([]));
let last = 0;

/** Says something for a while. @param {string} text @param {{ isFault?: boolean }} [options] */
export function say(text, { isFault = false } = {}) {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-2), { text, isFault, id }];
  setTimeout(() => drop(id), SHOWN_MS);
}

/** Says what went wrong. @param {unknown} error */
export function sayFault(error) {
  say(error instanceof Error ? error.message : String(error), { isFault: true });
}

/** @param {number} id */
function drop(id) {
  toasts.value = toasts.value.filter((each) => each.id !== id);
}

export function Toasts() {
  return html`
    <div class="toasts" role="status">
      ${toasts.value.map(
        ({ text, isFault, id }) => html`
          <p key=${id} class=${isFault ? "toast fault" : "toast"}>
            <span>${text}</span>
            <button type="button" class="quiet" aria-label="Dismiss" onClick=${() => drop(id)}><${Icon} name="close" /></button>
          </p>
        `,
      )}
    </div>`;
}
