// The contact sheet: what runs, and what was just made.

import { html } from "../html.js";
import { Empty, Failed, Loading } from "../shared/states.js";
import { Card } from "./card.js";
import { list, listFault, order } from "./jobs.js";

export function Sheet() {
  const ids = order.value;
  if (listFault.value && !ids?.length) return html`<${Failed} error=${listFault.value} again=${list} />`;
  if (ids === null) return html`<${Loading} what="Looking for your jobs" />`;
  if (!ids.length) {
    return html`<${Empty} title="Nothing on the sheet yet">Write what the picture shows, and press Generate. It develops here.<//>`;
  }
  return html`<div class="cards">${ids.map((id) => html`<${Card} key=${id} id=${id} />`)}</div>`;
}
