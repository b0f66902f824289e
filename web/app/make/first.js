// What to begin with: prompts that the model draws well and, of one that was taught few things, what
// those are.

import { useState } from "preact/hooks";
import { html } from "../html.js";
import { model, put, values } from "../form/values.js";
import { Dialog } from "../shared/dialog.js";

export function First() {
  const [isOpen, setOpen] = useState(false);
  if (!model.value?.examples.length) return null;
  const { examples, vocabulary, id } = model.value;
  const prompt = values.value["prompt"];
  if (prompt && !examples.includes(String(prompt)) && !isOpen) return null;
  return html`
    <div class="first">
      <div class="examples" role="group" aria-label="Prompts to try">
        ${examples.map((each) => html`<button key=${each} type="button" class="chip" aria-pressed=${values.value["prompt"] === each} onClick=${() => begin(each)}>${each}</button>`)}
      </div>
      ${vocabulary &&
      html`<p class="help">
        <b>${id}</b> is a small demo: it knows ${vocabulary.things.length} things and makes coloured lumps of all else.${" "}
        <button type="button" class="link" onClick=${() => setOpen(true)}>What it knows, and how to add a real model</button>
      </p>`}
      ${isOpen && vocabulary && html`<${Known} vocabulary=${vocabulary} close=${() => setOpen(false)} />`}
    </div>`;
}

/** @param {string} prompt */
function begin(prompt) {
  put("prompt", prompt);
  document.getElementById("generate")?.focus();
}

/** @param {{ vocabulary: NonNullable<import("../types.js").ModelWithSchemas["vocabulary"]>, close: () => void }} props */
function Known({ vocabulary, close }) {
  const [sought, setSought] = useState("");
  const found = vocabulary.things.filter((names) => names.some((each) => each.includes(sought.trim().toLowerCase())));
  const pick = (/** @type {string} */ name) => {
    close();
    put("prompt", name);
  };
  return html`
    <${Dialog} title=${`The ${vocabulary.things.length} things it knows`} close=${close} wide>
      <p class="help">Of each it knows ${vocabulary.words.slice(0, 6).join(", ")} and the like: “large rocket on a blue background”.</p>
      <input type="search" aria-label="Look for a thing" placeholder="Look for a thing" value=${sought} onInput=${(/** @type {any} */ e) => setSought(e.target.value)} />
      <div class="examples known">
        ${found.map((names) => html`<button key=${names[0]} type="button" class="chip" onClick=${() => pick(names[0] ?? "")}>${names[0]}</button>`)}
        ${!found.length && html`<p class="help">It knows nothing of that name.</p>`}
      </div>
      <h3>A real model</h3>
      <p class="help">On the machine that runs this Darkroom: <code>darkroom models add</code> with a repository of the Hugging Face
        Hub or a safetensors file, then <code>darkroom models pull</code>. It shows here by itself.</p>
    <//>`;
}
