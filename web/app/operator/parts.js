// What the operator's view is made of: parts, rows in them, and how both say numbers.

import { html } from "../html.js";
import { seconds } from "../watch/card.js";

/** @typedef {import("../html.js").Children} Children */

/** @param {{ title: string, told?: string, action?: Children, children?: Children }} props */
export const Part = ({ title, told, action, children }) => html`
  <section class="part" aria-label=${title}>
    <header class="part-head"><h2 tabindex="-1">${title}</h2><span class="help">${told}</span>${action}</header>
    ${children}
  </section>`;

/** `facts`: names, and what is said of each, if anything.
 * @param {{ name: string, told?: Children, isWrong?: boolean, action?: Children, facts?: [string, Children][], children?: Children }} props */
export const Row = ({ name, told, isWrong = false, action, facts = [], children }) => html`
  <article class="row" aria-label=${name}>
    <header class="row-head"><div><h3>${name}</h3> <span class=${isWrong ? "wrong" : "help"}>${told}</span></div>${action}</header>
    ${children}
    ${facts.length > 0 && html`<dl class="facts">${facts.map(([each, said]) => said && html`<div key=${each}><dt>${each}</dt><dd>${said}</dd></div>`)}</dl>`}
  </article>`;

/** @param {{ word: string, label?: string, act: () => void }} props */
export const Act = ({ word, label, act }) => html`<button type="button" class="link" aria-label=${label} onClick=${act}>${word}</button>`;

/** @param {number} count @param {string} thing */
export const counted = (count, thing) => `${count || "no"} ${thing}${count === 1 ? "" : "s"}`;
/** @param {string} time */
export const ago = (time) => `${seconds(Math.max(0, Date.now() - Date.parse(time)) / 1000)} ago`;
/** Two digits that count. @param {number} number */
export const round = (number) => Number(number.toPrecision(2));
