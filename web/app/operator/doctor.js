// What the doctor finds on the machine of the service, once it is asked.

import { useState } from "preact/hooks";
import { read } from "../api.js";
import { html } from "../html.js";
import { Failed, Prose } from "../shared/states.js";
import { Act, counted, Part, Row } from "./parts.js";

/** @typedef {import("../types.js").Check} Check */

export function Doctor() {
  const [found, setFound] = useState(/** @type {Check[] | Error | "asked" | null} */ (null));
  const ask = () => {
    if (found !== "asked") read("/api/v1/doctor").then(({ data }) => setFound(data), setFound);
    setFound("asked");
  };
  const those = (/** @type {Check["state"]} */ state) => (Array.isArray(found) ? found.filter((each) => each.state === state) : []);
  const [faults, notes, fine] = [those("fault"), those("note"), those("ok")];
  const told = Array.isArray(found) ? `${counted(faults.length, "fault")}, ${counted(notes.length, "note")}, ${fine.length} fine` : "";
  return html`
    <${Part} title="Doctor" told=${told} action=${html`<${Act} word=${found ? "Examine again" : "Examine"} act=${ask} />`}>
      <p class="help none" role="status">${found === "asked" ? "It looks at the machine of the service: some seconds, a minute at most." : !found && "Looks at the machine of the service: at Redis, the image store, models and the like."}</p>
      ${found instanceof Error && html`<${Failed} error=${found} again=${ask} />`}
      ${[...faults, ...notes].map((each) => html`
        <${Row} key=${each.name} name=${each.name} told=${each.state} isWrong=${each.state === "fault"}>
          <p class="help"><${Prose} text=${each.found} /></p>${each.remedy && html`<p><${Prose} text=${each.remedy} /></p>`}
        <//>`)}
      ${fine.length > 0 && html`<${Row} name="Fine" facts=${fine.map((each) => [each.name, each.found])} />`}
    <//>`;
}
