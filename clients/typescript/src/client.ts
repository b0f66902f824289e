/** Darkroom's own API. */

import { Connection, type Asked, type Options, type Settings } from "./connection.js";
import { NoPicturesError, isGone } from "./errors.js";
import { EventReader } from "./event-stream.js";
import { Patience, pause } from "./patience.js";
import type {
  Batch,
  BatchDryRun,
  BatchFields,
  Changes,
  DryRun,
  Event,
  ImageRecord,
  Job,
  JobMarks,
  JobStatus,
  KeptFile,
  Model,
  RequestFields,
} from "./types.js";

/** Longest wait for a change of a job; a proxy in between gives up later than that. */
const LONG_POLL_S = 20;
const BATCH_POLL_S = 2;
const BETWEEN_POLLS_S = 0.2;
const LARGEST_PAGE = 100;

export interface Submission extends Options {
  /** A word of your own, where a job shall be made once over several runs of a program. */
  idempotencyKey?: string;
}

export interface Listing extends Options {
  /** How many; 20 if left out, `Infinity`: all. */
  limit?: number | undefined;
}

export interface Filters extends Listing {
  status?: JobStatus;
  model?: string;
  tag?: string;
  batch?: string;
  starred?: boolean;
  /** Text that the prompt holds. */
  q?: string;
}

/** A finished picture. */
export interface Picture {
  record: ImageRecord;
  data: ArrayBuffer;
}

/** A client of one Darkroom. A job is named by its id or by a `Job`.
 *
 * All methods throw RefusedError, NoServiceError and the reason of a `signal`. */
export class Darkroom {
  #connection: Connection;

  constructor(settings: Settings = {}) {
    this.#connection = new Connection(settings);
  }

  /** Ask for pictures. Whatever has to be tried again makes one job. */
  submit(request: RequestFields, options: Submission = {}): Promise<Job> {
    return this.#once("/api/v1/jobs", request, options);
  }

  /** What would come of a request; no job is made. */
  dryRun(request: RequestFields, options: Options = {}): Promise<DryRun> {
    const asked = { json: request, query: { dry_run: true }, ...options };
    return this.#connection.json("POST", "/api/v1/jobs", asked);
  }

  /** A job like that one, with these fields in place of its own; the same picture without. */
  retry(job: Job | string, changes: Changes = {}, options: Submission = {}): Promise<Job> {
    return this.#once(`${jobPath(job)}/retry`, changes, options);
  }

  job(job: Job | string, options: Options = {}): Promise<Job> {
    return this.#connection.json("GET", jobPath(job), options);
  }

  /** Jobs, newest first, page by page as they are read. */
  jobs({ limit, signal, ...filters }: Filters = {}): AsyncGenerator<Job> {
    return this.#pages("/api/v1/jobs", filters, { limit, signal });
  }

  /** The job once it has ended, however it did. */
  async wait(job: Job | string, options: Options = {}): Promise<Job> {
    const asked = { query: { wait: LONG_POLL_S }, timeout: LONG_POLL_S + 10, ...options };
    let state = typeof job === "string" ? null : job;
    while (!state || !hasEnded(state)) {
      if (state && state !== job) await pause(BETWEEN_POLLS_S, options.signal);
      state = await this.#connection.json<Job>("GET", jobPath(job), asked);
    }
    return state;
  }

  /** What happens to a job from its beginning on, until it is done; behind the event with the id
   * `after`, if one is given. A stream that breaks is taken up again where it broke. */
  events(job: Job | string, options: Options & { after?: string } = {}): AsyncGenerator<Event> {
    const reader = new EventReader(idOf(job), options.after ?? "");
    return this.#read(`${jobPath(job)}/events`, reader, options.signal);
  }

  /** What happens to all jobs from now on, for good. */
  allEvents(options: Options & { after?: string } = {}): AsyncGenerator<Event> {
    const reader = new EventReader(null, options.after ?? "");
    return this.#read("/api/v1/events", reader, options.signal);
  }

  /** Change `tags` or `starred`. */
  mark(job: Job | string, marks: JobMarks, options: Options = {}): Promise<Job> {
    return this.#connection.json("PATCH", jobPath(job), { json: marks, ...options });
  }

  cancel(job: Job | string, options: Options = {}): Promise<Job> {
    return this.#connection.json("POST", `${jobPath(job)}/cancel`, options);
  }

  /** With its pictures, for good; one that has not ended is canceled. */
  async delete(job: Job | string, options: Options = {}): Promise<void> {
    await this.#connection.delete(jobPath(job), options);
  }

  /** Each picture of a job, once it has ended. Throws NoPicturesError unless it has succeeded. */
  async *images(job: Job | string, options: Options = {}): AsyncGenerator<Picture> {
    const ended = await this.wait(job, options);
    if (ended.status !== "succeeded") throw new NoPicturesError(ended);
    for (const record of ended.images)
      if (record.url) yield { record, data: await this.image(record.id, options) };
  }

  image(id: string, options: Options = {}): Promise<ArrayBuffer> {
    return this.#bytes(`/api/v1/images/${encodeURIComponent(id)}`, options);
  }

  /** All of its jobs are accepted or none. */
  submitBatch(batch: BatchFields, options: Submission = {}): Promise<Batch> {
    return this.#once("/api/v1/jobs/batch", batch, options);
  }

  dryRunBatch(batch: BatchFields, options: Options = {}): Promise<BatchDryRun> {
    const asked = { json: batch, query: { dry_run: true }, ...options };
    return this.#connection.json("POST", "/api/v1/jobs/batch", asked);
  }

  batch(id: string, options: Options = {}): Promise<Batch> {
    return this.#connection.json("GET", batchPath(id), options);
  }

  /** The batch once all of its jobs have ended. */
  async waitBatch(id: string, options: Options = {}): Promise<Batch> {
    for (;;) {
      const batch = await this.batch(id, options);
      const open = batch.jobs.find((each) => each.status === "queued" || each.status === "running");
      if (!open) return batch;
      const asked = { query: { wait: BATCH_POLL_S }, ...options };
      await this.#connection.json("GET", jobPath(open.id), asked).catch((error: unknown) => {
        if (!isGone(error)) throw error; // somebody deleted it
      });
    }
  }

  cancelBatch(id: string, options: Options = {}): Promise<Batch> {
    return this.#connection.json("POST", `${batchPath(id)}/cancel`, options);
  }

  async deleteBatch(id: string, options: Options = {}): Promise<void> {
    await this.#connection.delete(batchPath(id), options);
  }

  /** Keep a picture; its id goes wherever a request takes one. */
  putFile(
    data: Blob | ArrayBuffer | Uint8Array<ArrayBuffer>,
    options: Options & { kind?: KeptFile["kind"] } = {},
  ): Promise<KeptFile> {
    const { kind, ...more } = options;
    const headers = { "Content-Type": "application/octet-stream" };
    const asked = { body: data, query: { kind }, headers, ...more };
    return this.#connection.json("POST", "/api/v1/files", asked);
  }

  files(options: Listing = {}): AsyncGenerator<KeptFile> {
    return this.#pages("/api/v1/files", {}, options);
  }

  fileContent(id: string, options: Options = {}): Promise<ArrayBuffer> {
    return this.#bytes(`${filePath(id)}/content`, options);
  }

  async deleteFile(id: string, options: Options = {}): Promise<void> {
    await this.#connection.delete(filePath(id), options);
  }

  async models(options: Options = {}): Promise<Model[]> {
    return (await this.ask<{ data: Model[] }>("GET", "models", options)).data;
  }

  /** The JSON of any path below `/api/v1`. */
  ask<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    const repeatable = method === "GET";
    return this.#connection.json<T>(method, `/api/v1/${path}`, { repeatable, ...asked });
  }

  #once<T>(path: string, json: unknown, { idempotencyKey, signal }: Submission): Promise<T> {
    const headers = { "Idempotency-Key": idempotencyKey ?? crypto.randomUUID() };
    return this.#connection.json<T>("POST", path, { json, headers, signal });
  }

  #bytes(path: string, options: Options): Promise<ArrayBuffer> {
    return this.#connection.ask("GET", path, options, (answer) => answer.arrayBuffer());
  }

  async *#pages<T>(
    path: string,
    filters: Asked["query"],
    { limit = 20, signal }: Listing,
  ): AsyncGenerator<T> {
    let cursor: string | undefined;
    for (let left = limit; left > 0; ) {
      const query = { ...filters, limit: Math.min(left, LARGEST_PAGE), cursor };
      const page = await this.#connection.json<Page<T>>("GET", path, { query, signal });
      yield* page.data;
      left -= page.data.length;
      if (!page.next_cursor) return;
      cursor = page.next_cursor;
    }
  }

  async *#read(path: string, reader: EventReader, signal?: AbortSignal): AsyncGenerator<Event> {
    let patience = new Patience(this.#connection.patience);
    const opened = (status: number) => {
      reader.done = status === 204; // the job has ended, and nothing was missed
    };
    while (!reader.done) {
      let seconds: number | null = null;
      const asked = { headers: reader.begin(), signal };
      try {
        for await (const bytes of this.#connection.stream(path, asked, opened)) {
          patience = new Patience(this.#connection.patience);
          yield* reader.read(bytes);
          if (reader.done) return;
        }
      } catch (error) {
        seconds = patience.pauseAfter(error);
      }
      if (!reader.done) await pause(seconds ?? reader.comeBack, signal);
    }
  }
}

interface Page<T> {
  data: T[];
  next_cursor: string | null;
}

function idOf(job: Job | string): string {
  return typeof job === "string" ? job : job.id;
}

function jobPath(job: Job | string): string {
  return `/api/v1/jobs/${encodeURIComponent(idOf(job))}`;
}

function batchPath(id: string): string {
  return `/api/v1/batches/${encodeURIComponent(id)}`;
}

function filePath(id: string): string {
  return `/api/v1/files/${encodeURIComponent(id)}`;
}

function hasEnded(job: Job): boolean {
  return job.status !== "queued" && job.status !== "running";
}
