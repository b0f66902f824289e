// Server-sent events, read by fetch, which can bring the key: resumed behind the last event whenever
// the stream ends, stalls, or the machine wakes up. Knows nothing of what the events tell.

import { ask, lost, Lost, pause, Refusal } from "./api.js";
import { key } from "./state.js";

/** @typedef {{ id: string, kind: string, data: any }} StreamEvent */

/** The service says something every 15 s. */
const STALLED_MS = 40_000;
const LONGEST_PAUSE_MS = 8000;

/**
 * Follows a stream until it is told to stop. `opened` is called whenever the stream is open, first or
 * again, before what it tells.
 * @param {string} path @param {(event: StreamEvent) => void} told @param {() => void} opened
 * @returns {() => void} ends it
 */
export function follow(path, told, opened) {
  const over = new AbortController();
  void run(path, told, opened, over.signal);
  return () => over.abort();
}

/** @param {string} path @param {(event: StreamEvent) => void} told @param {() => void} opened
 * @param {AbortSignal} over */
async function run(path, told, opened, over) {
  let last = "";
  for (let pauseMs = 250; !over.aborted; ) {
    const stream = new AbortController();
    const end = () => stream.abort();
    over.addEventListener("abort", end);
    const watched = watchOver(end);
    const used = key.peek();
    const forget = key.subscribe((now) => now !== used && end());
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const answer = await ask(path, { headers, signal: stream.signal });
      opened();
      for await (const event of events(answer, watched.alive)) {
        pauseMs = 250;
        last = event.id || last;
        if (event.kind) told(event);
      }
    } catch (error) {
      // A resumed place that the service does not know: from now on, then.
      if (error instanceof Refusal && error.status === 422) last = "";
      if (!(error instanceof Lost || error instanceof Refusal || stream.signal.aborted)) lost();
    } finally {
      watched.stop();
      forget();
      over.removeEventListener("abort", end);
    }
    if (used === key.peek()) await pause(pauseMs, over);
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  }
}

/** Ends a stream that says nothing for too long, as after a night with the lid closed.
 * @param {() => void} end */
function watchOver(end) {
  let heardAt = Date.now();
  const look = () => Date.now() - heardAt > STALLED_MS && end();
  const timer = setInterval(look, 5000);
  const wake = new AbortController();
  document.addEventListener("visibilitychange", look, { signal: wake.signal });
  addEventListener("online", end, { signal: wake.signal });
  return {
    alive: () => (heardAt = Date.now()),
    stop: () => {
      clearInterval(timer);
      wake.abort();
    },
  };
}

/** The events of an answer, however its bytes are cut.
 * @param {Response} answer @param {() => void} alive @returns {AsyncGenerator<StreamEvent>} */
async function* events(answer, alive) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + decoder.decode(value, { stream: true })).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = parsed(block);
      if (event) yield event;
    }
  }
}

/** @param {string} block @returns {StreamEvent | null} */
function parsed(block) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]+): ?(.*)$/.exec(line) ?? [];
    if (name) fields[name] = value ?? "";
  }
  const { id = "", event = "", data } = fields;
  if (!id && !event) return null;
  return { id, kind: event, data: data === undefined ? null : JSON.parse(data) };
}
