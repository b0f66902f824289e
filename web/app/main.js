// The page as a whole: its head, and the view that the address names.

import { effect } from "@preact/signals";
import { render } from "preact";
import { html } from "./html.js";
import { pause, read } from "./api.js";
import { loadModels } from "./form/values.js";
import { link, route } from "./router.js";
import { Icon } from "./shared/icons.js";
import { KeyPrompt } from "./shared/key.js";
import { Toasts } from "./shared/toast.js";
import { connection, key, scopes, status, takeKey, theme } from "./state.js";
import { VIEWS } from "./views.js";
import { start } from "./watch/jobs.js";

/** @type {import("./state.js").Theme[]} */
const THEMES = ["system", "dark", "light"];
const ASK_AGAIN_MS = 5000;
const THEME_ICONS = /** @type {const} */ ({ system: "system", dark: "moon", light: "sun" });

function Head() {
  const shown = VIEWS.filter((each) => each.isShown?.() ?? true);
  return html`
    <header class="head">
      <a class="name" href=${link("make")}><span class="lamp" aria-hidden="true"></span><span class="name-text">Darkroom</span></a>
      <nav class="views" aria-label="Views">
        ${shown.map(({ name, title }) => html`<a key=${name} href=${link(name)} aria-current=${route.value.view === name ? "page" : undefined}>${title}</a>`)}
        <a class="to-docs" href="docs">API</a>
      </nav>
      ${key.value && html`<button type="button" class="quiet" aria-label="Forget the key" title="Forget the key" onClick=${() => takeKey("", false)}><${Icon} name="key" /></button>`}
      <${ThemeSwitch} />
    </header>`;
}

function ThemeSwitch() {
  const now = theme.value;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] ?? "system";
  return html`
    <button type="button" class="quiet" aria-label=${`Theme: ${now}. Change to ${next}`} title=${`Theme: ${now}`}
      onClick=${() => (theme.value = next)}><${Icon} name=${THEME_ICONS[now]} /></button>`;
}

function Lost() {
  if (connection.value === "ok") return null;
  return html`<p class="lost" role="alert">Darkroom does not answer. Jobs that it has go on; this page comes back by itself.</p>`;
}

function Page() {
  const found = VIEWS.find((each) => each.name === route.value.view) ?? VIEWS[0];
  return html`
    <a class="skip" href="#content" onClick=${skip}>To the content</a>
    <${Head} />
    <${Lost} />
    <main id="content" tabindex="-1">${found && html`<${found.view} key=${found.name} />`}</main>
    <p class="unseen" role="status">${status.value}</p>
    <${Toasts} />
    <${KeyPrompt} />`;
}

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

effect(() => {
  const found = VIEWS.find((each) => each.name === route.value.view);
  document.title = found && found.name !== "make" ? `${found.title} · Darkroom` : "Darkroom";
});

render(html`<${Page} />`, /** @type {HTMLElement} */ (document.getElementById("page")));
start();
key.subscribe(() => void whoAsks());

/** What this key may do, and the models that it sees; again until that is known. */
async function whoAsks() {
  const used = key.value;
  void loadModels();
  const me = await read("/api/v1/me").catch(() => null);
  scopes.value = me?.scopes ?? [];
  if (!me) void pause(ASK_AGAIN_MS).then(() => void (used === key.value && whoAsks()));
}
