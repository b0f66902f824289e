/** When what failed is tried again. */

import { DarkroomError, NoServiceError, RefusedError } from "./errors.js";

const SHORTEST_PAUSE_S = 0.1;
const FIRST_PAUSE_S = 0.5;
const LONGEST_PAUSE_S = 8;

export class Patience {
  /** Whether an answer got lost, so that nobody knows what became of the request. */
  lost = false;
  #firstFault: number | null = null;
  #pause = FIRST_PAUSE_S;

  /** `seconds`: how long to try, from the first fault on. */
  constructor(readonly seconds: number) {}

  /** Seconds until the next try: those that the service names, else twice as many each time. Throws
   * the error if there is to be none. */
  pauseAfter(error: unknown): number {
    if (!(error instanceof DarkroomError) || !error.retryable) throw error;
    this.lost ||= error instanceof NoServiceError;
    const now = Date.now() / 1000;
    this.#firstFault ??= now;
    const named = error instanceof RefusedError ? error.retrySeconds : null;
    const pause = named === null ? this.#pause : Math.max(named, SHORTEST_PAUSE_S);
    if (now + pause > this.#firstFault + this.seconds) throw error;
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_S);
    return pause;
  }
}

/** Ends at once, with the reason, if `signal` is aborted. */
export function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
