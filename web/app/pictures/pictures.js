// The view of all that was made: a gallery, or one picture of it large.

import { useSignalEffect } from "@preact/signals";
import { html } from "../html.js";
import { route } from "../router.js";
import { connection } from "../state.js";
import { Confirm } from "./actions.js";
import { atTop, Gallery } from "./gallery.js";
import { Large } from "./large.js";
import { done, look } from "./list.js";

export function Pictures() {
  useSignalEffect(() => {
    void [done.value, connection.value];
    look(atTop.value); // further down, new ones would move what one looks at
  });
  const [id, jobId] = route.value.rest;
  return html`
    <h1 class="unseen">Pictures</h1>
    ${id ? html`<${Large} id=${id} jobId=${jobId} />` : html`<${Gallery} />`}
    <${Confirm} />`;
}
