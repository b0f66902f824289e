// Requests to the API: with the key, with problem documents as errors; tells when the service is lost.
// Knows no view.

import { signal } from "@preact/signals";
import { connection, key } from "./state.js";

/** @typedef {import("./types.js").Problem} Problem */
/** @typedef {{ method?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} Options */

/** Where a path of the API is, also below a proxy's sub-path. @param {string} path */
export function address(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI.replace(/[#?].*/, "")).href;
}

/** The service refuses. */
export class Refusal extends Error {
  /** @param {Partial<Problem>} problem @param {number} status @param {number | null} retryAfterS */
  constructor(problem, status, retryAfterS) {
    super(problem.detail ?? `The service answered ${status}, and not as a Darkroom does.`);
    this.status = status;
    this.code = problem.code ?? "no_darkroom";
    this.errors = problem.errors ?? [];
    this.retryable = problem.retryable ?? false;
    this.retryAfterS = retryAfterS;
  }
}

/** The service does not answer. */
export class Lost extends Error {
  constructor() {
    super("Darkroom does not answer.");
  }
}

/** Why a key is asked for, while one is; null else. */
export const keyWanted = signal(/** @type {string | null} */ (null));

/** @type {(() => void)[]} */
let waiting = [];

/** Resolves once there is another key. @param {string} why */
function anotherKey(why) {
  keyWanted.value = why;
  return /** @type {Promise<void>} */ (new Promise((resolve) => waiting.push(resolve)));
}

/** Who waited for a key goes on. */
export function keyGiven() {
  keyWanted.value = null;
  const all = waiting;
  waiting = [];
  for (const resolve of all) resolve();
}

/**
 * The answer to a request that was accepted. Who lacks a key waits until one is given.
 * Throws Refusal and Lost, and AbortError.
 * @param {string} path @param {Options} [options] @returns {Promise<Response>}
 */
export async function ask(path, options = {}) {
  for (;;) {
    const used = key.value;
    const answer = await send(path, options);
    if (answer.ok || answer.status === 304) return answer;
    const refusal = await refusalOf(answer);
    if (refusal.status !== 401) throw refusal;
    if (used === key.value) await anotherKey(used ? refusal.message : "");
  }
}

/** @template T @param {string} path @param {Options} [options] @returns {Promise<T>} */
export async function read(path, options) {
  return (await ask(path, options)).json();
}

/** @param {string} path @param {Options} options */
async function send(path, { body, headers, ...options }) {
  const all = new Headers(headers);
  if (key.value) all.set("Authorization", `Bearer ${key.value}`);
  const isJson = body !== undefined && !(body instanceof Blob);
  if (isJson) all.set("Content-Type", "application/json");
  const content = isJson ? JSON.stringify(body) : /** @type {Blob | undefined} */ (body);
  try {
    const method = options.method ?? (body === undefined ? "GET" : "POST");
    const answer = await fetch(address(path), { ...options, method, headers: all, body: content ?? null });
    connection.value = "ok";
    return answer;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    lost();
    throw new Lost();
  }
}

/** @param {Response} answer */
async function refusalOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const after = Number(answer.headers.get("Retry-After") ?? NaN);
  return new Refusal(problem, answer.status, Number.isFinite(after) ? after : null);
}

/** The service is away; whatever answer comes first, most likely to who follows events, ends that. */
export function lost() {
  connection.value = "lost";
}

/** Resolves after so long, or as soon as the machine wakes up or has a network again.
 * @param {number} ms @param {AbortSignal} [until] @returns {Promise<void>} */
export function pause(ms, until) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const timer = setTimeout(end, ms);
    addEventListener("online", end, { signal: over.signal });
    document.addEventListener("visibilitychange", () => !document.hidden && end(), { signal: over.signal });
    until?.addEventListener("abort", end, { signal: over.signal });
  });
}
