// What all views know: the key, the connection, the theme, the models; asks for nothing itself.

import { effect, signal } from "@preact/signals";

/** @typedef {import("./types.js").Model} Model */

const KEY = "darkroom.key";
const THEME = "darkroom.theme";

/** The API key, or nothing. It lives in memory or, if its owner wants that, as long as the tab. */
export const key = signal(sessionStorage.getItem(KEY) ?? "");

/** @param {string} given @param {boolean} kept whether a reload finds it again */
export function takeKey(given, kept) {
  key.value = given;
  if (kept) sessionStorage.setItem(KEY, given);
  else sessionStorage.removeItem(KEY);
}

/** Whether the service answers. */
export const connection = signal(/** @type {"ok" | "lost"} */ ("ok"));

/** The models on offer; null until they are known. */
export const models = signal(/** @type {Model[] | null} */ (null));

/** What may be done here; all where no keys are asked for. */
export const scopes = signal(/** @type {string[]} */ ([]));

/** @typedef {"system" | "dark" | "light"} Theme */

export const theme = signal(/** @type {Theme} */ (localStorage.getItem(THEME) ?? "system"));

effect(() => {
  const chosen = theme.value;
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  localStorage.setItem(THEME, chosen);
});

/** The last thing that happened, in words, for who does not see the page. */
export const status = signal("");
