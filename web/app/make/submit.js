// Sends a wish; what is refused is told where it is wrong.

import { signal } from "@preact/signals";
import { Lost, read, Refusal } from "../api.js";
import { faults, takeFaults } from "../form/values.js";
import { labelOf } from "../form/words.js";
import { status } from "../state.js";

/** @typedef {{ isSending: boolean, sentences: string[], againAt: number | null }} Sending */

/** What became of the last try; `againAt`: when another may succeed, as of `Date.now()`. */
export const sending = signal(/** @type {Sending} */ ({ isSending: false, sentences: [], againAt: null }));

/** Of the last body whose answer was lost, so that a repeat makes no second job. */
let unanswered = { text: "", key: "" };

/** The answer; undefined where there is none but a refusal, or another is under way.
 * @param {string} path @param {import("../types.js").Values} wish */
export async function send(path, wish) {
  if (sending.value.isSending) return undefined;
  sending.value = { isSending: true, sentences: [], againAt: null };
  faults.value = {};
  const text = path + JSON.stringify(wish);
  if (unanswered.text !== text) unanswered = { text, key: newKey() };
  try {
    const accepted = await read(path, { body: wish, headers: { "Idempotency-Key": unanswered.key } });
    unanswered = { text: "", key: "" };
    sending.value = { isSending: false, sentences: [], againAt: null };
    status.value = "Accepted";
    if (matchMedia("(max-width: 759px)").matches) document.querySelector(".sheet")?.scrollIntoView();
    return accepted;
  } catch (error) {
    return refused(error);
  }
}

/** @param {unknown} error */
function refused(error) {
  if (error instanceof Refusal) {
    if (!error.retryable) unanswered = { text: "", key: "" };
    const sentences = takeFaults(error);
    const againAt = error.retryAfterS === null ? null : Date.now() + 1000 * error.retryAfterS;
    sending.value = { isSending: false, sentences, againAt };
    if (Object.keys(faults.value).length) setTimeout(showFault, 0);
    return;
  }
  const lost = error instanceof Lost ? "It was not sent. Press Generate again once Darkroom answers; no picture is made twice." : String(error);
  sending.value = { isSending: false, sentences: [lost], againAt: null };
}

/** Leads to the first field that is wrong, once its fold is open; says of what has no place what is wrong. */
function showFault() {
  const placeless = Object.entries(faults.value).filter(([name]) => !document.querySelector(`[id^="field-${name}"]`));
  const more = placeless.map(([name, fault]) => `${labelOf(name)}: ${fault}`);
  if (more.length) sending.value = { ...sending.value, sentences: [...sending.value.sentences, ...more] };
  const wrong = /** @type {HTMLElement | null} */ (document.querySelector(".wish [aria-invalid=true]"));
  wrong?.focus();
  wrong?.scrollIntoView({ block: "nearest" });
}

/** Random; `crypto.randomUUID` is there on https and localhost alone. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (each) => each.toString(16)).join("-");
}
