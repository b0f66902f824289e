/** Bytes of server-sent events become events, however they are cut. */

import { NoServiceError, RefusedError } from "./errors.js";
import type { Event, EventKind, Problem } from "./types.js";

const KINDS: Record<EventKind, true> = {
  status: true,
  progress: true,
  preview: true,
  image: true,
  log: true,
  done: true,
  missed: true,
};

export class EventReader {
  done = false;
  /** Seconds after which to come back, where the stream ends before what it tells of does. */
  comeBack = 1;
  #rest = "";
  #fields: Record<string, string> = {};
  #decoder = new TextDecoder();

  /** `jobId`: of a job's own stream, which ends with `done`. `after`: the id of an event. */
  constructor(
    readonly jobId: string | null,
    public after: string,
  ) {}

  /** The headers that open the stream behind the last event. Of a connection before nothing is
   * left. */
  begin(): Record<string, string> {
    this.#rest = "";
    this.#fields = {};
    this.#decoder = new TextDecoder();
    const headers = { Accept: "text/event-stream" };
    return this.after ? { ...headers, "Last-Event-ID": this.after } : headers;
  }

  /** The events that are complete with these bytes. */
  *read(bytes: Uint8Array): Generator<Event> {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const each of lines) {
      const line = each.replace(/\r$/, "");
      const [, name, value] = /^([^:]*):? ?(.*)$/su.exec(line) ?? [];
      if (line === "") yield* this.#ended();
      else if (name) this.#fields[name] = value ?? "";
    }
  }

  /** A blank line ends an event. */
  *#ended(): Generator<Event> {
    const { id, event = "", data, retry } = this.#fields;
    this.#fields = {};
    this.after = id ?? this.after;
    if (retry && /^\d+$/.test(retry)) this.comeBack = Number(retry) / 1000;
    if (data === undefined) return; // an id alone
    const { job_id: owner, ...told } = parsed(data);
    if (event === "error" && !told["retryable"])
      throw new RefusedError(String(told["message"]), 0, { code: told["code"] as Problem["code"] });
    if (!(event in KINDS)) return; // the stream ends, or a newer service tells more
    const jobId = typeof owner === "string" ? owner : this.jobId;
    yield { id: this.after, kind: event, data: told, jobId } as unknown as Event;
    this.done = event === "done" && this.jobId !== null;
  }
}

function parsed(data: string): Record<string, unknown> {
  try {
    const told: unknown = JSON.parse(data);
    if (typeof told === "object" && told !== null) return { ...told };
  } catch {
    // As below.
  }
  throw new NoServiceError("The service's answer is no event of a Darkroom.");
}
