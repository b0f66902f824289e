// The AI SDK's provider for compatible APIs against the base URL that is given; prints JSON.
import { readFile } from "node:fs/promises";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateImage } from "ai";

globalThis.AI_SDK_LOG_WARNINGS = false;
const [baseURL, picture, mask] = process.argv.slice(2);
const model = createOpenAICompatible({ name: "darkroom", baseURL, apiKey: "none" }).imageModel("pix");
const options = { darkroom: { negative_prompt: "a dog", seed: 7 } };

const told = {};
const made = await generateImage({
  model, prompt: "a cat", n: 2, size: "64x64", aspectRatio: "1:1", seed: 1,
  providerOptions: options,
});
told.ignored = made.warnings.map((each) => each.feature);
told.made = made.images.map((each) => each.uint8Array.length);
const images = [await readFile(picture)];
const edited = await generateImage({ model, prompt: { text: "blue", images } });
told.edited = edited.images.length;
const masked = await generateImage({
  model, prompt: { text: "red", images, mask: await readFile(mask) },
});
told.masked = masked.images[0].mediaType;
try {
  await generateImage({ model, prompt: "a cat", size: "1x1" });
} catch (error) {
  told.error = error.message;
}
try {
  await generateImage({ model, prompt: "a cat", maxRetries: 1 });
} catch (error) {
  told.failed = error.message;
  told.tries = error.errors.length;
}
console.log(JSON.stringify(told));
