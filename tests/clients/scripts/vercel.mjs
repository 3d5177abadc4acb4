// Vercel's AI SDK, with the provider that the first argument names.
//
//     node vercel.mjs URL KEY PROVIDER MODEL…
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { CITY, DESCRIPTION, HELLO, RESULT, WEATHER, key, models, run, url } from "./turns.mjs";

const settings = { baseURL: `${url}/v1`, apiKey: key };
const providers = {
  "openai-chat": (model) => createOpenAI(settings).chat(model),
  "openai-responses": (model) => createOpenAI(settings).responses(model),
  "openai-compatible": (model) =>
    createOpenAICompatible({ ...settings, name: "posthouse", includeUsage: true })(model),
  anthropic: (model) => createAnthropic(settings)(model),
  // Without the prefix it takes what stands before a slash for a collection's name.
  google: (model) =>
    createGoogleGenerativeAI({ ...settings, baseURL: `${url}/v1beta` })(`models/${model}`),
};
const provider = providers[models.shift()];

const short = { prompt: HELLO, maxOutputTokens: 64, temperature: 0, maxRetries: 0 };
const turn = () => ({
  prompt: WEATHER,
  maxRetries: 0,
  stopWhen: stepCountIs(3),
  tools: {
    get_weather: tool({
      description: DESCRIPTION,
      inputSchema: jsonSchema(CITY),
      execute: async () => RESULT,
    }),
  },
});

function told({ text, toolCalls, finishReason, usage }, pieces) {
  return {
    text,
    calls: toolCalls.map((call) => [call.toolName, call.input]),
    finish: finishReason,
    usage: [usage.inputTokens, usage.outputTokens],
    pieces,
  };
}

async function stream(request) {
  const errors = [];
  const result = streamText({ ...request, onError: ({ error }) => errors.push(error) });
  let pieces = 0;
  for await (const _ of result.textStream) pieces += 1;
  if (errors.length) throw errors[0];
  return { steps: await result.steps, pieces };
}

await run({
  ask: async (model) => told(await generateText({ model: provider(model), ...short })),
  async stream(model) {
    const { steps, pieces } = await stream({ model: provider(model), ...short });
    return told(steps[0], pieces);
  },
  async tools(model, streamed) {
    const request = { model: provider(model), ...turn() };
    const { steps, pieces } = await (streamed ? stream(request) : generateText(request));
    return { ...told(steps[0], pieces), then: told(steps.at(-1)), steps: steps.length };
  },
});
