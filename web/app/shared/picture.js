// Pictures of the service, which `<img>` asks for without a key: where keys are on, by signed addresses.

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { address, read } from "../api.js";
import { html } from "../html.js";
import { key } from "../state.js";

/** @typedef {import("@preact/signals").Signal<string>} Address */

const LASTS_S = 3600;
/** Most that are signed at once. */
const MOST = 100;

/** @type {Map<string, { url: Address, until: number }>} */
const signed = new Map();
/** @type {Set<string>} */
const wanted = new Set();

/**
 * The address of a picture, empty until it is known. `w` makes it no wider, in pixels of the screen.
 * @param {string} path as `ImageRecord.url` @param {number} [w] @returns {string}
 */
export function pictureAddress(path, w) {
  const query = w ? `w=${Math.min(2048, Math.max(16, Math.ceil(w * devicePixelRatio)))}` : "";
  if (!key.value) return address(path) + (query && `?${query}`);
  const url = signedAddress(path).value;
  return url && url + (query && `&${query}`);
}

/** @param {string} path @returns {Address} */
function signedAddress(path) {
  const known = signed.get(path);
  if (known && known.until > Date.now()) return known.url;
  const url = known?.url ?? signal("");
  signed.set(path, { url, until: Date.now() + 1000 * (LASTS_S - 60) });
  if (!wanted.size) setTimeout(sign, 10);
  wanted.add(path);
  return url;
}

async function sign() {
  const all = [...wanted];
  wanted.clear();
  for (let n = 0; n < all.length; n += MOST) {
    const paths = all.slice(n, n + MOST);
    try {
      const { data } = await read("/api/v1/signed-urls", { body: { paths, expires_s: LASTS_S } });
      for (const { path, url } of data) /** @type {any} */ (signed.get(path)).url.value = address(url);
    } catch {
      for (const path of paths) signed.delete(path); // asked for again when it is shown again
    }
  }
}

/**
 * A picture in its frame. `w` is how wide it is shown, in CSS pixels.
 * @param {{ path: string, alt: string, w?: number, width: number, height: number }} props
 */
export function Picture({ path, alt, w, width, height }) {
  const [isGone, setGone] = useState(false);
  const url = pictureAddress(path, w && w * devicePixelRatio < width ? w : undefined);
  if (isGone) return html`<span class="picture-gone">This picture is no longer there.</span>`;
  return html`
    <img class=${Math.max(width, height) < 160 ? "picture small" : "picture"} src=${url || undefined} alt=${alt}
      width=${width} height=${height} loading="lazy" decoding="async" onError=${() => setGone(true)} />`;
}
