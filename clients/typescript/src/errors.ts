/** What goes wrong on purpose. */

import type { Job, Problem } from "./types.js";

/** Base of all. `code` is stable; `retryable` says whether a repeat may succeed. */
export class DarkroomError extends Error {
  override name = "DarkroomError";

  constructor(
    message: string,
    readonly code: string,
    readonly retryable = false,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The service refused. `problem` is what it said (RFC 9457); null where a proxy answered. */
export class RefusedError extends DarkroomError {
  override name = "RefusedError";

  constructor(
    message: string,
    readonly status: number,
    readonly problem: Partial<Problem> | null = null,
    /** Seconds after which to ask again, as the service said. */
    readonly retrySeconds: number | null = null,
  ) {
    super(message, problem?.code ?? "http_error", problem?.retryable ?? PASSING.has(status));
  }

  /** What is wrong in the request, field by field. */
  get errors(): Problem["errors"] {
    return this.problem?.errors ?? [];
  }
}

/** Nothing that is a Darkroom answers. `retryable` where one has answered before. */
export class NoServiceError extends DarkroomError {
  override name = "NoServiceError";

  constructor(message: string, retryable = false, options?: ErrorOptions) {
    super(message, "no_service", retryable, options);
  }
}

/** A job ended without pictures. */
export class NoPicturesError extends DarkroomError {
  override name = "NoPicturesError";

  constructor(readonly job: Job) {
    const why = job.error ? `: ${job.error.message} (${job.error.code})` : "";
    super(`${job.id} ${job.status}${why}`, job.error?.code ?? job.status, job.error?.retryable);
  }
}

/** After these a repeat may succeed, where nothing else is said: proxies have no codes. */
const PASSING = new Set([429, 502, 503, 504]);

/** A refusal as an error: what its problem document says, or that it has none. */
export async function refusal(answer: Response): Promise<RefusedError> {
  const after = answer.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(after) ? Number(after) : null;
  let problem: Partial<Problem> | null = null;
  try {
    problem = JSON.parse(await answer.text());
  } catch {
    // A proxy's page.
  }
  if (typeof problem?.code !== "string") {
    const said = `${answer.status} ${answer.statusText}`.trim();
    const message = `The service answered ${said}, and not as a Darkroom does.`;
    return new RefusedError(message, answer.status, null, seconds);
  }
  const message = problem.detail ?? problem.title ?? problem.code;
  return new RefusedError(message, answer.status, problem, seconds);
}

/** Whether what was asked about is not there any more. */
export function isGone(error: unknown): boolean {
  return error instanceof RefusedError && (error.status === 404 || error.status === 410);
}
