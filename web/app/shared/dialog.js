// A dialog that holds the keyboard until it is closed.

import { useEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { Icon } from "./icons.js";

/**
 * Open as long as it is shown. Escape closes it, and gives the focus back.
 * @param {{ title: string, close?: () => void, wide?: boolean, children?: import("../html.js").Children }} props
 */
export function Dialog({ title, close, wide = false, children }) {
  const own = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    own.current?.showModal();
    return () => before?.focus();
  }, []);
  const cancel = (/** @type {Event} */ event) => {
    event.preventDefault();
    close?.();
  };
  return html`
    <dialog ref=${own} class=${wide ? "dialog wide" : "dialog"} aria-label=${title} onCancel=${cancel}>
      <header class="dialog-head">
        <h2>${title}</h2>
        ${close && html`<button type="button" class="quiet" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>`}
      </header>
      ${children}
    </dialog>`;
}
