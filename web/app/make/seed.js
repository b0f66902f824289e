// Where the noise starts from: drawn each time, or held.

import { html } from "../html.js";
import { Fold } from "../form/folds.js";
import { faults, fieldNamed, put, values } from "../form/values.js";
import { Icon } from "../shared/icons.js";
import { isOver, jobOf, order } from "../watch/jobs.js";

/** Seeds that people can read and type. */
const DRAWN_BELOW = 2 ** 32;

export function Seed() {
  const field = fieldNamed("seed");
  if (!field) return null;
  const seed = values.value["seed"];
  const isHeld = typeof seed === "number";
  const last = lastSeed();
  const fault = faults.value["seed"];
  const take = (/** @type {any} */ event) => {
    const number = Number(event.target.value);
    put("seed", event.target.value.trim() === "" || number === -1 || Number.isNaN(number) ? undefined : number);
  };
  return html`
    <${Fold} title="Seed" told=${isHeld ? String(seed) : "drawn each time"} isWrong=${Boolean(fault)}>
      <div class="field">
        <label for="field-seed">Seed</label>
        <div class="with-buttons">
          <input id="field-seed" type="text" inputmode="numeric" value=${isHeld ? String(seed) : ""} placeholder="drawn each time" onChange=${take}
            aria-describedby="field-seed-help" aria-invalid=${fault ? "true" : undefined} />
          <button type="button" class="quiet" aria-label="Draw a seed" title="Draw a seed" onClick=${() => put("seed", draw())}><${Icon} name="dice" /></button>
          <button type="button" class="quiet" aria-label="Hold the seed" aria-pressed=${isHeld} title=${isHeld ? "Held: draw again each time" : "Hold the last seed"}
            onClick=${() => put("seed", isHeld ? undefined : (last ?? draw()))}><${Icon} name=${isHeld ? "locked" : "open"} /></button>
          <button type="button" class="quiet" aria-label="Use the last seed" title=${last === null ? "Nothing was made yet" : `The last seed: ${last}`}
            disabled=${last === null} onClick=${() => put("seed", last ?? undefined)}><${Icon} name="again" /></button>
        </div>
        ${fault && html`<p class="wrong">${fault}</p>`}
        <p class="help" id="field-seed-help">The same seed with the same settings makes the same picture. Of several pictures each has one more than that before it.</p>
      </div>
    <//>`;
}

function draw() {
  const drawn = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  return drawn % DRAWN_BELOW;
}

/** That of the newest job that has one. @returns {number | null} */
function lastSeed() {
  for (const id of order.value ?? []) {
    const job = jobOf(id)?.value;
    const seed = job && (isOver(job) ? job.images[0]?.seed : job.request["seed"]);
    if (typeof seed === "number") return seed;
  }
  return null;
}
