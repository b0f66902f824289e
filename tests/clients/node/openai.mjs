// OpenAI's client for Node against the base URL that is given; prints what it got as JSON.
import { readFile } from "node:fs/promises";
import OpenAI, { toFile } from "openai";

const [baseURL, picture, mask] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 2 });
const file = async (path) => toFile(await readFile(path), "picture.png", { type: "image/png" });

const told = {};
told.models = (await client.models.list()).data.map((each) => each.id);
const made = await client.images.generate({ prompt: "a cat", n: 2, size: "64x64", seed: 7 });
told.made = made.data.map((each) => Object.keys(each).sort());
const edited = await client.images.edit({
  prompt: "blue", image: [await file(picture)], mask: await file(mask),
});
told.edited = edited.data.length;
told.warnings = edited.warnings;
told.events = [];
for await (const event of await client.images.generate({ prompt: "a dog", stream: true })) {
  told.events.push(event.type);
}
try {
  await client.images.generate({ prompt: "a cat", size: "big" });
} catch (error) {
  told.error = { name: error.constructor.name, param: error.param, code: error.code };
}
console.log(JSON.stringify(told));
