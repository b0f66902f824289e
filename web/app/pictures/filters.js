// Which pictures are listed; the service looks for them.

import { html } from "../html.js";
import { Icon } from "../shared/icons.js";
import { models } from "../state.js";
import { filters } from "./list.js";

/** What is typed is asked for once it pauses. */
const PAUSE_MS = 250;
let typing = 0;

export function Filters() {
  const { q, tag, model, starred } = filters.value;
  const set = (/** @type {Partial<typeof filters.value>} */ change) => (filters.value = { ...filters.value, ...change });
  const type = (/** @type {any} */ { target }) => {
    clearTimeout(typing);
    typing = setTimeout(() => set({ [target.name]: target.value.trim() }), PAUSE_MS);
  };
  return html`
    <form class="filters" role="search" aria-label="Pictures" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
      <input type="search" name="q" aria-label="Words of the prompt" placeholder="Words of the prompt" maxlength="200" value=${q} onInput=${type} />
      <input type="search" name="tag" aria-label="Tag" placeholder="Tag" maxlength="64" value=${tag} onInput=${type} />
      <select aria-label="Model" value=${model} onChange=${(/** @type {any} */ e) => set({ model: e.target.value })}>
        <option value="">All models</option>
        ${models.value?.map(({ id }) => html`<option key=${id} value=${id}>${id}</option>`)}
      </select>
      <button type="button" class="quiet star" aria-label="Starred alone" title="Starred alone" aria-pressed=${Boolean(starred)}
        onClick=${() => set({ starred: starred ? "" : "true" })}><${Icon} name="star" /></button>
    </form>
  `;
}
