// The first view: a wish on one side, on the other what becomes of it.

import { html } from "../html.js";
import { Canvas, Editor } from "../canvas/canvas.js";
import { isOpen } from "../canvas/picture.js";
import { Folds } from "../form/folds.js";
import { body, fields, loadModels, modelFault } from "../form/values.js";
import { link } from "../router.js";
import { Failed } from "../shared/states.js";
import { models } from "../state.js";
import { take } from "../watch/jobs.js";
import { Sheet } from "../watch/sheet.js";
import { Controls } from "./controls.js";
import { Count } from "./count.js";
import { First } from "./first.js";
import { Generate, submitByKeys } from "./generate.js";
import { Loras } from "./loras.js";
import { ModelChoice } from "./model.js";
import { Edited, References } from "./pictures.js";
import { Prompt } from "./prompt.js";
import { Seed } from "./seed.js";
import { Shape } from "./shape.js";
import { StyleChoice } from "./style.js";
import { send } from "./submit.js";

export function Make() {
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const job = await send("/api/v1/jobs", body());
    if (job) take(job);
  };
  return html`
    <div class="make">
      <form class="wish" aria-label="What to make" onSubmit=${submit} onKeyDown=${submitByKeys} noValidate>
        <h1 class="unseen">Make a picture</h1>
        <${Prompt} />
        ${modelFault.value && !models.value && html`<${Failed} error=${modelFault.value} again=${loadModels} />`}
        <${First} />
        <${ModelChoice} />
        <${Canvas} />
        <${Shape} />
        <${Count} />
        ${fields.value.length > 0 &&
        html`<div class="folds">
          <${Seed} />
          <${StyleChoice} />
          <${Loras} />
          <${Edited} />
          <${References} />
          <${Controls} />
          <${Folds} />
          <a class="fold to-sweep" href=${link("sweep")}><span class="fold-title">Sweep</span><span class="fold-told">two fields against each other</span></a>
        </div>`}
        <${Generate} />
      </form>
      <section class="sheet" aria-label="Contact sheet">
        <h2 class="sheet-title">Contact sheet</h2>
        <${Sheet} />
      </section>
      ${isOpen.value && html`<${Editor} />`}
    </div>`;
}
