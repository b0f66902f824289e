// Replicate's client for Node against the base URL that is given; prints what it got as JSON.
import { readFile } from "node:fs/promises";
import Replicate from "replicate";

const [baseUrl, picture] = process.argv.slice(2);
const auth = process.env.KEY;
const replicate = new Replicate({ baseUrl, auth });
const inData = (url, init) =>
  fetch(url, { ...init, headers: { ...init?.headers, "X-Darkroom-Output": "data" } });
const input = { prompt: "a cat", num_outputs: 2 };

const told = {};
const made = await replicate.run("darkroom/pix", { input });
told.made = await Promise.all(made.map(async (url) => (await (await fetch(url)).blob()).size));
const data = new Replicate({ baseUrl, auth, fetch: inData });
const [file] = await data.run("darkroom/pix:pix", {
  input: { prompt: "a dog", image: await readFile(picture), prompt_strength: 0.5 },
});
told.file = (await file.blob()).size;
told.events = [];
for await (const event of replicate.stream("darkroom/pix", { input })) told.events.push(event.event);
const prediction = await replicate.predictions.create({ model: "darkroom/pix", input });
told.canceled = (await replicate.predictions.cancel(prediction.id)).status;
told.listed = [];
for await (const page of replicate.paginate(replicate.predictions.list)) {
  told.listed.push(...page.map((each) => each.status));
}
told.version = (await replicate.models.get("darkroom", "pix")).latest_version.id;
told.account = (await replicate.accounts.current()).username;
try {
  await replicate.run("darkroom/pix", { input: { prompt: "a cat", width: 63 } });
} catch (error) {
  told.error = { name: error.name, status: error.response.status };
}
console.log(JSON.stringify(told));
