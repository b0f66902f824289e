// One picture with all that is known of it, and all that can be done with it.

import { useEffect, useRef, useState } from "preact/hooks";
import { read, Refusal } from "../api.js";
import { html } from "../html.js";
import { labelOf } from "../form/words.js";
import { leave, swap } from "../router.js";
import { Icon } from "../shared/icons.js";
import { pathOf } from "../shared/picture-input.js";
import { pictureAddress } from "../shared/picture.js";
import { Empty, Failed, Loading } from "../shared/states.js";
import { sayFault } from "../shared/toast.js";
import { titleOf } from "../watch/jobs.js";
import { actionsOf, askToDelete, copyLink } from "./actions.js";
import { current, Star } from "./gallery.js";
import { behind, listed, more, star } from "./list.js";
import { Stage, useKeys } from "./stage.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").Job["images"][number]} Image */
/** @typedef {import("../types.js").ListedImage} ListedImage */

/** @param {{ id: string, jobId: string | undefined }} props */
export function Large({ id, jobId }) {
  const own = useRef(/** @type {HTMLElement | null} */ (null));
  const all = listed.value.pictures ?? [];
  const at = all.findIndex((each) => each.id === id);
  const of = jobId ?? all[at]?.job_id;
  const { job, fault, again, take } = useJob(of);
  const image = job?.images.find((each) => each.id === id) ?? all[at];
  const [previous, next] = at < 0 ? [] : [all[at - 1], all[at + 1]];
  const show = (/** @type {ListedImage | undefined} */ to) => to && (swap("pictures", to.id, to.job_id), to);
  const close = () => leave("pictures");
  const toggle = () => void (job && star(job.id, !job.starred).then(take, sayFault));
  const erase = () => of && void askToDelete(of, () => show(behind(all, at)) ?? close());
  useEffect(() => own.current?.focus(), []);
  useEffect(() => {
    current.value = id;
    if (!of || at > all.length - 3) more();
  }, [id, all.length, of]);
  useKeys({ Escape: close, ArrowLeft: () => show(previous), ArrowRight: () => show(next), s: toggle, Delete: erase });
  const began = job?.request["image"] ?? /** @type {string[] | undefined} */ (job?.request["images"])?.[0];
  const isSought = of ? !job : !listed.value.pictures || listed.value.cursor;
  const isGone = fault instanceof Refusal && (fault.status === 404 || fault.status === 410);
  return html`
    <article class="large" aria-label=${job ? titleOf(job) : "Picture"} tabindex="-1" ref=${own}>
      ${image?.url ? html`<${Stage} key=${id} path=${image.url} before=${began ? pathOf(String(began)) : ""} alt=${job ? titleOf(job) : "Picture"} width=${image.width} height=${image.height} />` : html`<div class="view-large"></div>`}
      <aside class="about">
        <div class="buttons">
          <button type="button" class="quiet" aria-label="The one before" title="The one before (←)" disabled=${!previous} onClick=${() => show(previous)}><${Icon} name="before" /></button>
          <button type="button" class="quiet" aria-label="The next" title="The next (→)" disabled=${!next} onClick=${() => show(next)}><${Icon} name="after" /></button>
          <button type="button" class="quiet end" aria-label="Close" title="Close (Esc)" onClick=${close}><${Icon} name="close" /></button>
        </div>
        ${fault && !isGone && html`<${Failed} error=${fault} again=${again} />`}
        ${!fault && isSought && html`<${Loading} what="Looking for it" />`}
        ${(isGone || (!isSought && !image?.url)) && html`<${Empty} title="This picture is no longer there">It was deleted, or kept as long as pictures are.<//>`}
        ${job && image?.url && html`<${About} job=${job} image=${image} toggle=${toggle} erase=${erase} />`}
      </aside>
    </article>`;
}

/** The job, with what it was changed to. @param {string | undefined} id */
function useJob(id) {
  const [job, take] = useState(/** @type {Job | null} */ (null));
  const [fault, setFault] = useState(/** @type {Error | null} */ (null));
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!id) return;
    const over = new AbortController();
    setFault(null);
    read(`/api/v1/jobs/${encodeURIComponent(id)}`, { signal: over.signal }).then(take, (error) => over.signal.aborted || setFault(error));
    return () => over.abort();
  }, [id, turn]);
  return { job: job?.id === id ? job : null, fault, take, again: () => setTurn(turn + 1) };
}

/** @param {{ job: Job, image: Image, toggle: () => void, erase: () => void }} props */
function About({ job, image, toggle, erase }) {
  const { url, width, height, bytes, seed, sha256 } = image;
  const prompt = job.request["prompt"];
  const made = new Date(job.finished_at ?? job.created_at);
  const kept = { ...job.request, prompt: undefined, seed, tags: job.tags, "made from": job.parent_id, sha256 };
  return html`
    <h2 class="large-title">${prompt ? String(prompt) : titleOf(job)}</h2>
    <p class="card-state">${width} × ${height} · ${Math.ceil((bytes ?? 0) / 1024)} kB · <time dateTime=${made.toISOString()}>${made.toLocaleString()}</time></p>
    <div class="buttons">
      <${Star} isOn=${job.starred} toggle=${toggle} />
      <a class="quiet" href=${pictureAddress(url ?? "")} download aria-label="Download" title="Download"><${Icon} name="save" /></a>
      <button type="button" class="quiet" aria-label="Copy link" title="Copy link" onClick=${() => copyLink(url ?? "").catch(sayFault)}><${Icon} name="chain" /></button>
      <button type="button" class="quiet" aria-label="Delete" title="Delete (Del)" onClick=${erase}><${Icon} name="bin" /></button>
    </div>
    <div class="large-actions">${actionsOf(job, image).map(({ label, title, act }) => html`<button key=${label} type="button" title=${title} onClick=${() => Promise.resolve(act()).catch(sayFault)}>${label}</button>`)}</div>
    ${job.warnings.map((each) => html`<p class="warning" key=${each}>${each}</p>`)}
    <h3 class="unseen">Settings</h3>
    <dl class="settings">${Object.entries(kept).map(([field, value]) => inWords(value) && html`<div key=${field}><dt>${labelOf(field)}</dt><dd>${inWords(value)}</dd></div>`)}</dl>`;
}

/** A value of a request; empty where nothing was asked. @param {unknown} value @returns {string} */
function inWords(value) {
  if (Array.isArray(value)) return value.map(inWords).filter(Boolean).join("; ");
  if (typeof value !== "object" || !value) return value === true ? "yes" : String(value || (value === 0 ? 0 : ""));
  return Object.entries(value).flatMap(([name, each]) => (inWords(each) ? `${name.replaceAll("_", " ")} ${inWords(each)}` : [])).join(", ");
}
