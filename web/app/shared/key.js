// Asks for the API key where the service wants one.

import { useState } from "preact/hooks";
import { keyGiven, keyWanted } from "../api.js";
import { html } from "../html.js";
import { takeKey } from "../state.js";
import { Dialog } from "./dialog.js";

export function KeyPrompt() {
  return keyWanted.value === null ? null : html`<${Prompt} why=${keyWanted.value} />`;
}

/** @param {{ why: string }} props */
function Prompt({ why }) {
  const [text, setText] = useState("");
  const [kept, setKept] = useState(false);
  const give = (/** @type {Event} */ event) => {
    event.preventDefault();
    takeKey(text.trim(), kept);
    setText("");
    keyGiven();
  };
  return html`
    <${Dialog} title="This Darkroom asks for a key">
      <form class="key-form" onSubmit=${give}>
        ${why && html`<p class="wrong" id="key-wrong" role="alert">${why}</p>`}
        <label for="key">API key</label>
        <input id="key" type="password" autocomplete="off" spellcheck=${false} placeholder="dk_…" required value=${text}
          aria-describedby="key-help" onInput=${(/** @type {any} */ e) => setText(e.target.value)} />
        <p class="help" id="key-help">Whoever runs this Darkroom makes one with <code>darkroom keys create NAME</code>.
          It is sent to this service alone and forgotten when this page is left.</p>
        <label class="check"><input type="checkbox" checked=${kept} onChange=${() => setKept(!kept)} /> Keep it until this tab is closed</label>
        <button type="submit" class="primary">Go on</button>
      </form>
    <//>`;
}
