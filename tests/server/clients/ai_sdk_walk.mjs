// What users of the Vercel AI SDK do, against the server whose address is given.
import assert from "node:assert";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";

const vortex = createOpenAICompatible({
  name: "vortex", baseURL: process.argv[2] + "/v1", supportsStructuredOutputs: true, includeUsage: true,
});
const model = vortex("vortex-fake");
const prompt = "What is the capital of France?";

const answer = await generateText({ model, prompt });
assert.equal(answer.text, "Paris.");
assert(answer.usage.totalTokens > 2);

let streamed = "";
for await (const piece of streamText({ model, prompt }).textStream) streamed += piece;
assert.equal(streamed, "Paris.");

const schema = z.object({ name: z.string(), age: z.number().int() });
assert(schema.parse((await generateObject({ model, schema, prompt: "Ada, 36" })).object));

const weather = tool({ inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => "21 degrees in " + city });
const called = await generateText({ model, prompt: "weather in Rome", toolChoice: "required", tools: { weather } });
assert(called.toolResults[0].output.startsWith("21 degrees"));

const vectors = await embedMany({ model: vortex.textEmbeddingModel("vortex-fake"), values: ["a", "b"] });
assert.equal(vectors.embeddings.length, 2);
console.log("ai sdk: every step passed");
