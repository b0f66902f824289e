// Which view is shown, by the part of the address behind `#/`: `#/pictures/img_...`.

import { signal } from "@preact/signals";

/** @typedef {{ view: string, rest: string[] }} Route */

/** @returns {Route} */
function read() {
  const [view = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return { view: view || "make", rest };
}

export const route = signal(read());

addEventListener("hashchange", () => (route.value = read()));

/** @param {string} view @param {string[]} rest */
export function link(view, ...rest) {
  return `#/${[view, ...rest].map(encodeURIComponent).join("/")}`;
}

/** @param {string} view @param {string[]} rest */
export function go(view, ...rest) {
  location.hash = link(view, ...rest);
}
