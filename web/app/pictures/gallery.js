// All pictures on an endless sheet, of which only what is near the screen is there at any time.

import { signal } from "@preact/signals";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";
import { same } from "../form/schema.js";
import { link } from "../router.js";
import { Icon } from "../shared/icons.js";
import { Picture } from "../shared/picture.js";
import { Empty, Failed, Loading } from "../shared/states.js";
import { sayFault } from "../shared/toast.js";
import { models } from "../state.js";
import { askToDelete } from "./actions.js";
import { behind, EVERYTHING, filters, listed, more, refresh, star } from "./list.js";

/** @typedef {import("../types.js").ListedImage} ListedImage */
/** @typedef {{ columns: number, side: number, first: number, last: number }} Shown which pictures are shown, how large */

/** CSS pixels. */
const GAP = 12;
const CAPTION = 32;
const LEAST_SIDE = 150;
/** Most pictures that are there at once. */
const MOST = 200;
const AHEAD = 60;
/** What is typed is asked for once it pauses. */
const PAUSE_MS = 250;
let typing = 0;

/** Whether the newest are in sight. */
export const atTop = signal(true);
/** The picture that the keyboard is at. */
export const current = signal("");

export function Gallery() {
  const { pictures, fault } = listed.value;
  const shown = pictures?.length ? html`<${Prints} all=${pictures} />` : pictures ? html`<${Nothing} />` : !fault && html`<${Loading} what="Looking for your pictures" />`;
  return html`<section class="gallery" aria-label="Gallery"><${Filters} />${shown}${fault && html`<${Failed} error=${fault} again=${refresh} />`}</section>`;
}

function Nothing() {
  if (same(filters.value, EVERYTHING)) {
    return html`<${Empty} title="No pictures yet">Write what one shows, and press Generate: <a href=${link("make")}>Make a picture</a>. All that were made are kept here.<//>`;
  }
  return html`<${Empty} title="No picture is like that"><button type="button" class="link" onClick=${() => (filters.value = EVERYTHING)}>Show all</button><//>`;
}

/** @param {{ all: ListedImage[] }} props */
function Prints({ all }) {
  const own = useRef(/** @type {HTMLElement | null} */ (null));
  const wants = useRef(Boolean(current.peek()));
  const { columns, side, first, last } = useShown(own, all.length);
  const at = all.findIndex((each) => each.id === current.value);
  const stop = at >= first && at < last ? at : first;
  const height = side + CAPTION + GAP;
  useLayoutEffect(() => {
    if (last > all.length - AHEAD && !listed.peek().fault) more();
    if (!wants.current || !side) return;
    const row = Math.floor(Math.max(at, 0) / columns);
    const tile = /** @type {HTMLElement | null} */ (own.current?.querySelector(`[data-id="${current.peek()}"]`));
    wants.current = at >= 0 && !tile;
    if (tile) tile.focus();
    else if (wants.current) scrollTo({ top: topOf(own.current) + row * height - innerHeight / 3, behavior: "instant" });
  });
  const lead = (/** @type {ListedImage | undefined} */ to) => {
    wants.current = Boolean(to);
    current.value = to?.id ?? "";
  };
  const press = (/** @type {KeyboardEvent} */ event) => {
    const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity });
    const step = steps[event.key];
    const picture = all[stop];
    if (!picture || event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) lead(all[Math.min(Math.max(stop + step, 0), all.length - 1)]);
    else if (event.key === "s") toggle(picture);
    else if (event.key === "Delete") void askToDelete(picture.job_id, () => lead(behind(all, stop)));
    else return;
    event.preventDefault();
  };
  const style = { height: `${Math.ceil(all.length / columns) * height}px`, "--side": `${side}px`, "--columns": columns, "--above": `${(first / columns) * height}px` };
  return html`
    <ul class="prints" ref=${own} style=${style} onKeyDown=${press}>
      ${all.slice(first, last).map((each, n) => html`<${Tile} key=${each.id} image=${each} side=${side} isStop=${first + n === stop} number=${first + n + 1} count=${all.length} />`)}
    </ul>`;
}

/** @param {{ image: ListedImage, side: number, isStop: boolean, number: number, count: number }} props */
function Tile({ image, side, isStop, number, count }) {
  const { id, job_id: job, url, prompt, model, seed, starred, width, height } = image;
  const title = prompt || model;
  return html`
    <li class="tile" aria-posinset=${number} aria-setsize=${listed.value.cursor ? -1 : count}>
      <a class="print" data-id=${id} href=${link("pictures", id, job)} tabindex=${isStop ? 0 : -1} title=${title} aria-keyshortcuts="S Delete"
        onFocus=${() => (current.value = id)}>
        <${Picture} path=${url} alt=${`${title}, seed ${seed}`} w=${Math.ceil(side / 64) * 64} width=${width} height=${height} />
      </a>
      <p class="caption"><span>${title}</span><${Star} isOn=${starred} toggle=${() => toggle(image)} tabindex=${-1} /></p>
    </li>`;
}

/** @param {{ isOn: boolean, toggle: () => void, tabindex?: number }} props */
export function Star({ isOn, toggle: act, tabindex }) {
  return html`<button type="button" class="quiet star" aria-label="Star" title="Star (s)" aria-pressed=${isOn} tabindex=${tabindex} onClick=${act}><${Icon} name="star" /></button>`;
}

/** @param {ListedImage} image */
const toggle = ({ job_id: job, starred }) => void star(job, !starred).catch(sayFault);

/** @param {Element | null} element */
const topOf = (element) => (element?.getBoundingClientRect().top ?? 0) + scrollY;

/** What is near the screen, as one scrolls. @param {{ current: HTMLElement | null }} own @param {number} count @returns {Shown} */
function useShown(own, count) {
  const [shown, setShown] = useState(/** @type {Shown} */ ({ columns: 1, side: 0, first: 0, last: 0 }));
  useLayoutEffect(() => {
    const over = new AbortController();
    const look = () => {
      const now = shownOf(own.current, count);
      atTop.value = !now.first;
      setShown((before) => (same(before, now) ? before : now));
    };
    for (const kind of ["scroll", "resize"]) addEventListener(kind, look, { passive: true, signal: over.signal });
    look();
    return () => over.abort();
  }, [count]);
  return shown;
}

/** @param {HTMLElement | null} element @param {number} count @returns {Shown} */
function shownOf(element, count) {
  const least = Math.max(LEAST_SIDE, Math.sqrt((innerWidth * innerHeight) / 90));
  const width = element?.clientWidth ?? 0;
  const columns = Math.max(2, Math.floor((width + GAP) / (least + GAP)));
  const side = Math.floor((width - GAP * (columns - 1)) / columns);
  const height = side + CAPTION + GAP;
  const seen = Math.ceil(innerHeight / height) + 1;
  const spare = Math.max(0, Math.min(seen, Math.floor((MOST / columns - seen) / 2)));
  const row = Math.floor((scrollY - topOf(element)) / height) - spare;
  const first = Math.min(Math.max(0, row), Math.max(0, Math.ceil(count / columns) - seen)) * columns;
  return { columns, side, first, last: Math.min(count, first + (seen + 2 * spare) * columns, first + MOST) };
}

/** Which are listed; the service looks for them. */
function Filters() {
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
        <option value="">All models</option>${models.value?.map(({ id }) => html`<option key=${id} value=${id}>${id}</option>`)}
      </select>
      <button type="button" class="quiet star" aria-label="Starred alone" title="Starred alone" aria-pressed=${Boolean(starred)}
        onClick=${() => set({ starred: starred ? "" : "true" })}><${Icon} name="star" /></button>
    </form>`;
}
