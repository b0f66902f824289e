/** One request, or several until one is answered. */

import { NoServiceError, isGone, refusal } from "./errors.js";
import { Patience, pause } from "./patience.js";

/** A comment comes every 15 seconds: a stream that says nothing for so long is broken. */
const SILENCE_S = 45;

export interface Options {
  /** Ends whatever goes on, with its reason. */
  signal?: AbortSignal | undefined;
}

export interface Settings {
  /** Where Darkroom is; `http://127.0.0.1:8000` if left out. */
  url?: string;
  /** An API key, `dk_...`, where one is asked for. */
  key?: string;
  /** Seconds for which what may pass is tried again; 60 if left out, 0: never. */
  patience?: number;
  /** Seconds that one request may take; 30 if left out. */
  timeout?: number;
  /** In place of the global one. */
  fetch?: typeof fetch;
}

export interface Asked extends Options {
  json?: unknown;
  body?: BodyInit;
  query?: Record<string, string | number | boolean | undefined>;
  headers?: Record<string, string>;
  /** Seconds until nothing more is waited for. */
  timeout?: number;
  /** Whether it does no harm to send it again when nobody knows what became of it; true if left
   * out. */
  repeatable?: boolean;
}

export class Connection {
  readonly url: string;
  readonly patience: number;
  readonly timeout: number;
  #headers: Record<string, string>;
  #fetch: typeof fetch;
  /** Whether it has ever answered: then one that does not is waited for. */
  #answered = false;

  constructor({ url = "http://127.0.0.1:8000", key, patience = 60, timeout = 30, ...more }: Settings) {
    this.url = url.replace(/\/+$/, "");
    this.patience = patience;
    this.timeout = timeout;
    this.#headers = key ? { Authorization: `Bearer ${key}` } : {};
    this.#fetch = more.fetch ?? ((...given) => fetch(...given));
  }

  /** What `read` makes of the answer, asked for again while that may help. Throws RefusedError,
   * NoServiceError, the reason of `signal`. */
  async ask<T>(
    method: string,
    path: string,
    asked: Asked,
    read: (answer: Response) => Promise<T>,
    patience = new Patience(this.patience),
  ): Promise<T> {
    for (;;) {
      try {
        const limit = AbortSignal.timeout(1000 * (asked.timeout ?? this.timeout));
        const signal = asked.signal ? AbortSignal.any([asked.signal, limit]) : limit;
        return await this.#read(await this.#open(method, path, asked, signal), asked, read);
      } catch (error) {
        if (asked.repeatable === false) throw error;
        await pause(patience.pauseAfter(error), asked.signal);
      }
    }
  }

  json<T>(method: string, path: string, asked: Asked = {}): Promise<T> {
    return this.ask(method, path, asked, (answer) => answer.json() as Promise<T>);
  }

  /** What a try whose answer got lost deleted is gone, and that is all that was wanted. */
  async delete(path: string, options: Options): Promise<void> {
    const patience = new Patience(this.patience);
    try {
      await this.ask("DELETE", path, options, async () => undefined, patience);
    } catch (error) {
      if (!(patience.lost && isGone(error))) throw error;
    }
  }

  /** The bytes of one answer as they come, once `opened` was told its status. */
  async *stream(
    path: string,
    asked: Asked,
    opened: (status: number) => void,
  ): AsyncGenerator<Uint8Array> {
    const silence = new AbortController();
    const watch = () => setTimeout(() => silence.abort(), 1000 * SILENCE_S);
    const signals = asked.signal ? [asked.signal, silence.signal] : [silence.signal];
    let timer = watch();
    try {
      const answer = await this.#open("GET", path, asked, AbortSignal.any(signals));
      opened(answer.status);
      const body = answer.body?.getReader();
      for (;;) {
        const part = await this.#read(answer, asked, async () => body?.read());
        if (!part || part.done) return;
        clearTimeout(timer);
        timer = watch();
        yield part.value;
      }
    } finally {
      clearTimeout(timer);
      silence.abort(); // what is left before the end of the stream is closed
    }
  }

  async #open(method: string, path: string, asked: Asked, signal: AbortSignal): Promise<Response> {
    asked.signal?.throwIfAborted();
    const headers = { ...this.#headers, ...asked.headers };
    if (asked.json !== undefined) headers["Content-Type"] = "application/json";
    const body = asked.json === undefined ? asked.body : JSON.stringify(asked.json);
    const sent = { method, headers, signal, ...(body === undefined ? {} : { body }) };
    let answer: Response;
    try {
      answer = await this.#fetch(this.#address(path, asked.query), sent);
    } catch (error) {
      throw asked.signal?.aborted ? asked.signal.reason : this.#lost(error);
    }
    this.#answered = true;
    if (answer.ok) return answer;
    throw await refusal(answer);
  }

  async #read<T>(
    answer: Response,
    asked: Asked,
    read: (answer: Response) => Promise<T>,
  ): Promise<T> {
    try {
      return await read(answer);
    } catch (error) {
      if (asked.signal?.aborted) throw asked.signal.reason;
      if (!(error instanceof SyntaxError)) throw this.#lost(error);
      const message = `${this.url} answers, but not as a Darkroom does.`;
      throw new NoServiceError(message, false, { cause: error });
    }
  }

  /** A fault of the connection; what it was is the `cause`. */
  #lost(cause: unknown): NoServiceError {
    const why = this.#answered ? "The connection broke to" : "No Darkroom answers at";
    return new NoServiceError(`${why} ${this.url}.`, this.#answered, { cause });
  }

  #address(path: string, query: Asked["query"] = {}): string {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return `${this.url}${path}${text && `?${text}`}`;
  }
}
