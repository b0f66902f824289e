// Keys that a view listens to, whatever has the focus, unless that takes them itself.

import { useEffect } from "preact/hooks";

/** @param {Record<string, (() => void) | false | null | undefined>} does by names of keys, for as long as it is shown */
export function useKeys(does) {
  useEffect(() => {
    const over = new AbortController();
    const press = (/** @type {KeyboardEvent} */ event) => {
      const typing = /** @type {Element} */ (event.target).closest?.("input, select, textarea, dialog");
      const act = does[event.key];
      if (!act || typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      event.preventDefault();
      act();
    };
    document.addEventListener("keydown", press, { signal: over.signal });
    return () => over.abort();
  });
}
