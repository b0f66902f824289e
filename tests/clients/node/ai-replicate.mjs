// The AI SDK's provider for Replicate against the base URL that is given; prints JSON.
import { readFile } from "node:fs/promises";
import { createReplicate } from "@ai-sdk/replicate";
import { generateImage } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [baseURL, picture, mask] = process.argv.slice(2);
const replicate = createReplicate({ baseURL, apiToken: process.env.KEY });
const model = replicate.image("black-forest-labs/flux-schnell");
const replicateOptions = { negative_prompt: "a dog", num_inference_steps: 7 };

const told = {};
const made = await generateImage({
  model, prompt: "a cat", size: "64x128", seed: 7, providerOptions: { replicate: replicateOptions },
});
told.made = made.images.map((each) => [each.mediaType, each.uint8Array.length]);
told.warnings = made.warnings.length;
const images = [await readFile(picture)];
const version = replicate.image("darkroom/pix:pix");
const masked = await generateImage({
  model: version,
  prompt: { text: "blue", images, mask: await readFile(mask) },
  providerOptions: { replicate: { strength: 0.5 } },
});
told.masked = masked.images.length;
try {
  await generateImage({ model, prompt: "a cat", size: "63x64" });
} catch (error) {
  told.error = { message: error.message, status: error.statusCode };
}
try {
  await generateImage({ model, prompt: "a cat", maxRetries: 0 });
} catch (error) {
  told.failed = error.name;
}
console.log(JSON.stringify(told));
