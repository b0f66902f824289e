// Hugging Face's client for Node against the endpoint that is given; prints JSON.
import { readFile } from "node:fs/promises";
import { InferenceClient } from "@huggingface/inference";

const [endpoint, picture] = process.argv.slice(2);
const client = new InferenceClient("none").endpoint(endpoint);
const about = async (blob) => ({ type: blob.type, bytes: (await blob.arrayBuffer()).byteLength });

const told = {};
const parameters = { negative_prompt: "a dog", width: 64, height: 128, seed: 7 };
told.made = await about(await client.textToImage({ inputs: "a cat", parameters }));
const inputs = new Blob([await readFile(picture)], { type: "image/png" });
told.changed = await about(
  await client.imageToImage({ inputs, parameters: { prompt: "blue", strength: 0.5 } }),
);
try {
  await client.textToImage({ inputs: "a cat", parameters: { width: 1, height: 1 } });
} catch (error) {
  told.error = { status: error.httpResponse?.status, message: error.message };
}
console.log(JSON.stringify(told));
