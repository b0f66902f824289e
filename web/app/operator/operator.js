// The operator's view: whether all is well, and its parts.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { Failed, Loading } from "../shared/states.js";
import { Doctor } from "./doctor.js";
import { Jobs, Queue } from "./queue.js";
import { fault, look, ready, seen, watch } from "./seen.js";
import { Models, Workers } from "./workers.js";

export function Operator() {
  useEffect(watch, []);
  const kept = useKeptFocus();
  const now = seen.value;
  const verdict = ready.value;
  const instead = fault.value ? html`<${Failed} error=${fault.value} again=${() => look()} />` : html`<${Loading} what="Looking at queue and workers" />`;
  return html`
    <div class="operator" ...${kept}>
      <h1 class="unseen">Operator's view</h1>
      <p class="verdict ${verdict?.status}" role="status">${verdict && html`<b>${verdict.status}</b> ${verdict.detail}`}</p>
      ${now && fault.value && html`<p class="help">What follows is as it was at ${now.at.toLocaleTimeString()}.</p>`}
      ${now ? html`
        <div class="columns">
          <div><${Queue} queue=${now.queue} /><${Workers} workers=${now.workers} /><${Models} states=${verdict?.models} /><${Doctor} /></div>
          <${Jobs} jobs=${now.jobs} queue=${now.queue} />
        </div>` : instead}
    </div>`;
}

/** Where what had the focus has gone, the head of its part gets it, for the keyboard to go on from. */
function useKeptFocus() {
  const had = useRef(/** @type {{ own: HTMLElement, head: HTMLElement | null | undefined } | null} */ (null));
  useLayoutEffect(() => {
    const isLost = had.current && !had.current.own.isConnected && document.activeElement === document.body;
    if (isLost) had.current?.head?.focus({ preventScroll: true });
  });
  const onFocusIn = (/** @type {any} */ { target }) => (had.current = { own: target, head: target.closest(".part")?.querySelector("h2") });
  return { onFocusIn, onPointerDown: () => (had.current = null) };
}
