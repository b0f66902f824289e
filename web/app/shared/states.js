// What a view shows in place of what is not there: nothing yet, still coming, or a fault.

import { html } from "../html.js";

/** @param {{ title: string, children?: import("../html.js").Children }} props */
export function Empty({ title, children }) {
  return html`<div class="state"><p class="state-title">${title}</p><div class="state-text">${children}</div></div>`;
}

/** @param {{ what: string }} props */
export function Loading({ what }) {
  return html`<div class="state" role="status"><p class="state-text">${what}</p></div>`;
}

/** @param {{ error: Error, again: () => void }} props */
export function Failed({ error, again }) {
  return html`
    <div class="state fault" role="alert">
      <p class="state-text">${error.message}</p>
      <button type="button" onClick=${again}>Try again</button>
    </div>`;
}

/** Text in which `words` between backticks stand out. @param {{ text: string }} props */
export function Prose({ text }) {
  const parts = text.split("`");
  return html`${parts.map((part, n) => (n % 2 ? html`<code>${part}</code>` : part))}`;
}
