// The views that there are. A new one is a row here.

import { Make } from "./make/make.js";
import { later } from "./shared/later.js";
import { scopes } from "./state.js";

/** @typedef {{ name: string, title: string, view: import("preact").ComponentType<{}>, isShown?: () => boolean }} View */

/** The first is shown where the address names none. @type {View[]} */
export const VIEWS = [
  { name: "make", title: "Make", view: Make },
  { name: "pictures", title: "Pictures", view: later("Your pictures", async () => (await import("./pictures/pictures.js")).Pictures) },
  { name: "operator", title: "Operator", view: later("The operator's view", async () => (await import("./operator/operator.js")).Operator), isShown: () => scopes.value.includes("admin") },
  { name: "sweep", title: "Sweep", view: later("The sweep", async () => (await import("./sweep/sweep.js")).Sweep), isShown: () => false },
];
