// Templates that become elements; the one place that knows how.

import { h } from "preact";
import htm from "htm";

/** @typedef {import("preact").ComponentChildren} Children */

/** @type {(strings: TemplateStringsArray, ...values: unknown[]) => import("preact").VNode} */
export const html = /** @type {any} */ (htm.bind(h));
