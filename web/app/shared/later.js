// A view whose files are fetched when it is first shown, so that the first view need not wait for them.

import { signal } from "@preact/signals";
import { html } from "../html.js";
import { Failed, Loading } from "./states.js";

/** @typedef {import("preact").ComponentType<{}>} View */

/** @param {string} title @param {() => Promise<View>} load @returns {View} */
export function later(title, load) {
  const found = signal(/** @type {{ view: View } | null} */ (null));
  const fault = signal(/** @type {Error | null} */ (null));
  let isAsked = false;
  const fetchIt = () => {
    isAsked = true;
    fault.value = null;
    load().then(
      (view) => (found.value = { view }),
      () => (fault.value = new Error(`${title} cannot be loaded now.`)),
    );
  };
  return () => {
    if (!isAsked) fetchIt();
    if (fault.value) return html`<${Failed} error=${fault.value} again=${fetchIt} />`;
    return found.value ? html`<${found.value.view} />` : html`<${Loading} what=${title} />`;
  };
}
