// Which view is shown, by the part of the address behind `#/`: `#/pictures/img_...`.

import { signal } from "@preact/signals";

/** @typedef {{ view: string, rest: string[] }} Route */

/** @returns {Route} */
function read() {
  const [view = "", ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return { view: view || "make", rest };
}

export const route = signal(read());

history.replaceState(history.state ?? { isFirst: true }, "");

addEventListener("hashchange", () => {
  history.replaceState(history.state ?? { isFirst: false }, "");
  route.value = read();
});

/** @param {string} view @param {string[]} rest */
export function link(view, ...rest) {
  return `#/${[view, ...rest].map(encodeURIComponent).join("/")}`;
}

/** @param {string} view @param {string[]} rest */
export function go(view, ...rest) {
  location.hash = link(view, ...rest);
}

/** Shows another thing in place of this one, to which Back does not lead then. @param {string} view @param {string[]} rest */
export function swap(view, ...rest) {
  history.replaceState(history.state, "", link(view, ...rest));
  route.value = read();
}

/** To where one came from; who came from elsewhere, to that view. @param {string} view */
export function leave(view) {
  if (history.state?.isFirst) go(view);
  else history.back();
}
