/** Against a real Darkroom at DARKROOM_TEST_URL, whose jobs the test in
 * tests/service/test_typescript_client.py works; and against one that answers as it is told to. */

import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Darkroom, NoPicturesError, NoServiceError, RefusedError } from "../src/index.js";
import type { Event, Job } from "../src/index.js";

const url = process.env["DARKROOM_TEST_URL"];
const real = { skip: url ? false : "no Darkroom is named in DARKROOM_TEST_URL" };
const darkroom = new Darkroom({ url: url ?? "http://127.0.0.1:9", patience: 5 });

async function all<T>(told: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of told) found.push(each);
  return found;
}

test("from a prompt to pictures", real, async () => {
  const job = await darkroom.submit({ prompt: "a cat", num_images: 2, priority: "high", seed: 3 });
  assert.equal(job.status, "queued");
  const [first, second] = await all(darkroom.images(job));
  assert.equal(first?.data.byteLength, first?.record.bytes);
  assert.equal(second?.record.seed, 4);
  assert.equal((await darkroom.wait(job.id)).status, "succeeded");
});

test("events tell what happens and go on behind the last one", real, async () => {
  const job = await darkroom.submit({ prompt: "a cat" });
  const events = await all(darkroom.events(job));
  assert.equal(events[0]?.kind, "status");
  const done = events.at(-1);
  assert(done?.kind === "done");
  assert.deepEqual(done.data.job, await darkroom.job(job));
  const rest = await all(darkroom.events(job, { after: events[0]?.id ?? "" }));
  assert.deepEqual(rest, events.slice(1));
  assert.deepEqual(await all(darkroom.events(job, { after: done.id })), []);
});

test("all jobs are told of as one stream, which can be left", real, async () => {
  const job = await darkroom.submit({ prompt: "a cat" });
  for await (const event of darkroom.allEvents({ after: "0-0" })) if (event.jobId === job.id) break;
  const leaving = new AbortController();
  const told = darkroom.allEvents({ signal: leaving.signal });
  setTimeout(() => leaving.abort(), 50);
  await assert.rejects(all(told), { name: "AbortError" });
});

test("marks, retries, cancels, deletes, lists", real, async () => {
  const job = await darkroom.submit({ prompt: "a cat", tags: ["x"], seed: 1 });
  assert.equal((await darkroom.mark(job, { starred: true })).starred, true);
  const other = await darkroom.retry(job, { seed: null, prompt: "a dog" });
  assert.deepEqual([other.parent_id, other.request["prompt"]], [job.id, "a dog"]);
  const listed = await all(darkroom.jobs({ starred: true, tag: "x", limit: 5 }));
  assert.deepEqual(listed.map((each) => each.id), [job.id]);
  await darkroom.wait(other);
  assert.equal((await darkroom.cancel(other)).status, "succeeded");
  await darkroom.delete(job);
  const missing = { name: "RefusedError", code: "job_not_found", status: 404 };
  await assert.rejects(darkroom.job(job), missing);
});

test("one word of one's own is one job", real, async () => {
  const mine = { idempotencyKey: crypto.randomUUID() };
  const [one, two] = [
    await darkroom.submit({ prompt: "a cat" }, mine),
    await darkroom.submit({ prompt: "a cat" }, mine),
  ];
  assert.equal(one.id, two.id);
  assert.equal((await darkroom.dryRun({ prompt: "a cat" })).request["model"], "pix");
});

test("what is wrong is told field by field", real, async () => {
  const refused = await darkroom.submit({ prompt: "a cat", width: 7 }).catch((error) => error);
  assert(refused instanceof RefusedError);
  assert.deepEqual([refused.status, refused.errors[0]?.pointer], [422, "/width"]);
});

test("batches", real, async () => {
  const grid = { prompt: "a cat", grid: { seed: [1, 2] } };
  const batch = await darkroom.submitBatch(grid);
  assert.equal((await darkroom.waitBatch(batch.id)).counts.succeeded, 2);
  assert.equal((await darkroom.cancelBatch(batch.id)).done, true);
  assert.equal((await darkroom.dryRunBatch(grid)).jobs.length, 2);
  await darkroom.deleteBatch(batch.id);
  await assert.rejects(darkroom.batch(batch.id), { code: "batch_not_found" });
});

test("files", real, async () => {
  const job = await darkroom.submit({ prompt: "a cat" });
  const [picture] = await all(darkroom.images(job));
  assert(picture);
  const file = await darkroom.putFile(picture.data);
  assert((await darkroom.fileContent(file.id)).byteLength > 0);
  assert.deepEqual((await all(darkroom.files())).map((each) => each.id), [file.id]);
  await darkroom.deleteFile(file.id);
  assert.deepEqual(await all(darkroom.files()), []);
  assert((await darkroom.models()).some((each) => each.id === "pix"));
  assert.equal((await darkroom.ask<{ object: string }>("GET", "styles")).object, "list");
});

// Before a service that answers as it is told to.

interface Answer {
  status?: number;
  headers?: Record<string, string>;
  /** Left out: the connection ends without an answer. */
  body?: unknown;
}

const JOB = { id: "job_1", status: "queued", request: {}, images: [], error: null };
const again = { "Retry-After": "0" };

async function before(
  answers: Answer[],
  then: (darkroom: Darkroom, asked: IncomingMessage[]) => Promise<void>,
  patience = 20,
): Promise<void> {
  const asked: IncomingMessage[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    asked.push(request.resume());
    const { status = 200, headers = {}, body } = answers.shift() ?? {};
    if (body === undefined && status === 200) return void request.socket.destroy();
    response.writeHead(status, headers);
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  try {
    await then(new Darkroom({ url: `http://127.0.0.1:${port}/`, patience }), asked);
    assert.deepEqual(answers, []);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("what may pass is asked again with the same key", async () => {
  const full = { code: "queue_full", detail: "Full.", retryable: true };
  const answers = [{ status: 429, headers: again, body: full }, {}, { body: JOB }];
  await before(answers, async (darkroom, asked) => {
    assert.equal((await darkroom.submit({ prompt: "a cat" })).id, "job_1");
    const keys = asked.map((each) => each.headers["idempotency-key"]);
    assert.equal(keys.length, 3);
    assert.equal(new Set(keys).size, 1);
  });
});

test("one without patience is told of the first fault", async () => {
  const proxy = { status: 502, body: "<html>" };
  await before(
    [proxy, {}],
    async (darkroom) => {
      await assert.rejects(darkroom.job("job_1"), { status: 502, retryable: true });
      await assert.rejects(darkroom.job("job_1"), NoServiceError);
    },
    0,
  );
});

test("nobody there is told at once", async () => {
  const nobody = new Darkroom({ url: "http://127.0.0.1:9" });
  await assert.rejects(nobody.job("job_1"), /No Darkroom answers at http:\/\/127.0.0.1:9\./);
});

test("another service is not taken for a Darkroom", async () => {
  await before([{ body: "<html>" }], async (darkroom) => {
    await assert.rejects(darkroom.job("../x"), /not as a Darkroom does/);
  });
});

test("a wait ends when its signal says so", async () => {
  const leaving = new AbortController();
  await before([{ body: JOB }], async (darkroom) => {
    await darkroom.job("job_1");
    const waiting = darkroom.wait("job_1", { signal: leaving.signal });
    leaving.abort(new Error("enough"));
    await assert.rejects(waiting, { message: "enough" });
  });
});

test("a job that ended without pictures is told as that", async () => {
  const error = { code: "safety_blocked", message: "All were withheld.", retryable: false };
  const failed = { ...JOB, status: "failed", error } as unknown as Job;
  const pictures = all(darkroom.images(failed));
  await assert.rejects(pictures, { name: "NoPicturesError", code: "safety_blocked" });
  await assert.rejects(all(darkroom.images(failed)), NoPicturesError);
});

test("what a try that got lost deleted is gone", async () => {
  const missing = { status: 404, body: { code: "job_not_found", detail: "None." } };
  const first = { body: JOB };
  await before([first, {}, missing, missing], async (darkroom) => {
    await darkroom.job("job_1");
    await darkroom.delete("job_1");
    await assert.rejects(darkroom.delete("job_1"), { code: "job_not_found" });
  });
});

const STREAM = { "Content-Type": "text/event-stream" };
const QUEUED = 'event: status\ndata: {"status": "queued", "attempt": null}\nid: 1-0\n\n';
const LOGGED = 'event: log\r\ndata: {"level": "info", "message": "ä\u2028b"}\r\nid: 2-0\r\n\r\n';
const NEWER = "event: mood\ndata: {}\nid: 3-0\n\n: ping\n\n";
const STOPS = 'event: error\nretry: 10\ndata: {"code": "shutting_down", "retryable": true}\n\n';
const DONE = 'event: done\ndata: {"status": "canceled", "code": null, "job": null}\nid: 4-0\n\n';

test("events are taken up again where they broke", async () => {
  const answers = [
    { headers: STREAM, body: QUEUED + LOGGED + NEWER + STOPS },
    { status: 503, headers: again, body: { code: "busy", detail: "Busy.", retryable: true } },
    { headers: STREAM, body: DONE },
  ];
  await before(answers, async (darkroom, asked) => {
    const events: Event[] = await all(darkroom.events("job_1"));
    assert.deepEqual(events.map((each) => each.id), ["1-0", "2-0", "4-0"]);
    assert(events[1]?.kind === "log");
    assert.equal(events[1].data.message, "ä\u2028b");
    const after = asked.map((each) => each.headers["last-event-id"]);
    assert.deepEqual(after, [undefined, "3-0", "3-0"]);
  });
});

test("a stream that ends for good says why", async () => {
  const why = 'event: error\ndata: {"code": "unauthenticated", "message": "Revoked."}\n\n';
  await before([{ headers: STREAM, body: why }], async (darkroom) => {
    const events = all(darkroom.events("job_1"));
    await assert.rejects(events, { code: "unauthenticated", message: "Revoked." });
  });
});
