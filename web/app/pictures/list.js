// The finished pictures, as far as they were listed: filtered by the service, page by page, those of
// the newest jobs first. Knows no view.

import { computed, signal } from "@preact/signals";
import { ask, read } from "../api.js";
import { key } from "../state.js";
import { drop, jobOf, order, take } from "../watch/jobs.js";

/** @typedef {import("../types.js").ListedImage} ListedImage */
/** @typedef {import("../types.js").Job} Job */
/** @typedef {{ pictures: ListedImage[] | null, cursor: string | null, fault: Error | null }} Listed */

const ON_A_PAGE = 100;
const NOTHING = { pictures: null, cursor: null, fault: null };

export const EVERYTHING = { q: "", model: "", tag: "", starred: "" };

/** What the service is asked for, by its parameters. */
export const filters = signal(EVERYTHING);

/** `pictures` is null until there is an answer; `cursor` asks for those after them; `fault` is why the
 * last answer did not come. */
export const listed = signal(/** @type {Listed} */ (NOTHING));

/** The newest jobs that succeeded, as Watch knows them. */
export const done = computed(() => (order.value ?? []).filter((id) => jobOf(id)?.value.status === "succeeded").join());

/** Of the last request, whose answer alone counts. */
let turn = 0;
let isAsking = false;
let whose = "";

/** @param {string | null} cursor @param {(page: { data: ListedImage[], next_cursor: string | null }) => Omit<Listed, "fault">} joined */
async function fetchPage(cursor, joined) {
  const mine = ++turn;
  isAsking = true;
  const asked = Object.entries({ ...filters.peek(), limit: String(ON_A_PAGE), cursor: cursor ?? "" });
  try {
    const page = await read(`/api/v1/images?${new URLSearchParams(asked.filter(([, value]) => value))}`);
    if (mine === turn) listed.value = { ...joined(page), fault: null };
  } catch (error) {
    if (mine === turn) listed.value = { ...listed.peek(), fault: /** @type {Error} */ (error) };
  }
  if (mine === turn) isAsking = false;
}

/** Lists anew for another key or other filters; else, if they are in sight, the newest.
 * @param {boolean} isTopSeen */
export function look(isTopSeen) {
  const wanted = JSON.stringify([key.value, filters.value]);
  if (wanted !== whose) {
    whose = wanted;
    listed.value = NOTHING;
    isAsking = false;
  } else if (!isTopSeen) return;
  refresh();
}

/** The newest page, in the place of what was there of it. */
export function refresh() {
  if (isAsking && !listed.peek().pictures) return;
  void fetchPage(null, ({ data, next_cursor }) => {
    const { pictures, cursor } = listed.peek();
    const at = pictures?.findIndex((each) => each.id === data.at(-1)?.id) ?? -1;
    return at < 0 || !pictures ? { pictures: data, cursor: next_cursor } : { pictures: [...data, ...pictures.slice(at + 1)], cursor };
  });
}

/** The next page, if there is one. */
export function more() {
  const { pictures, cursor } = listed.peek();
  if (isAsking || !pictures || !cursor) return;
  void fetchPage(cursor, ({ data, next_cursor }) => ({ pictures: [...(listed.peek().pictures ?? []), ...data], cursor: next_cursor }));
}

/** A star is a job's, and so all its pictures'. @param {string} jobId @param {boolean} starred @returns {Promise<Job>} */
export async function star(jobId, starred) {
  const job = await read(`/api/v1/jobs/${jobId}`, { method: "PATCH", body: { starred } });
  take(job);
  change((each) => (each.job_id === jobId ? { ...each, starred } : each));
  return job;
}

/** For good, with all pictures of its job. @param {string} jobId */
export async function remove(jobId) {
  await ask(`/api/v1/jobs/${jobId}`, { method: "DELETE" });
  drop(jobId);
  change((each) => (each.job_id === jobId ? [] : each));
}

/** @param {(each: ListedImage) => ListedImage | []} to */
function change(to) {
  const { pictures } = listed.peek();
  if (pictures) listed.value = { ...listed.peek(), pictures: pictures.flatMap(to) };
}

/** The first behind it that another job made, which is left when its own is deleted.
 * @param {ListedImage[]} all @param {number} at */
export function behind(all, at) {
  return at < 0 ? undefined : all.slice(at).find((each) => each.job_id !== all[at]?.job_id);
}
