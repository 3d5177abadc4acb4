// Anthropic's SDK.
import Anthropic from "@anthropic-ai/sdk";
import { CITY, DESCRIPTION, HELLO, RESULT, WEATHER, key, run, url } from "./turns.mjs";

const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });
const tools = [{ name: "get_weather", description: DESCRIPTION, input_schema: CITY }];
const said = (content) => [{ role: "user", content }];

function told(message, pieces) {
  const texts = message.content.filter((block) => block.type === "text");
  const calls = message.content.filter((block) => block.type === "tool_use");
  return {
    text: texts.map((block) => block.text).join(""),
    calls: calls.map((block) => [block.name, block.input]),
    finish: message.stop_reason,
    usage: [message.usage.input_tokens, message.usage.output_tokens],
    pieces,
    content: message.content,
  };
}

async function ask(request, streamed) {
  if (!streamed) return told(await client.messages.create(request));
  const stream = client.messages.stream(request);
  let pieces = 0;
  for await (const event of stream) pieces += event.type === "content_block_delta";
  return told(await stream.finalMessage(), pieces);
}

const short = { max_tokens: 64, temperature: 0 };

await run({
  ask: (model) => ask({ model, messages: said(HELLO), ...short }, false),
  stream: (model) => ask({ model, messages: said(HELLO), ...short }, true),
  async tools(model, streamed) {
    const messages = said(WEATHER);
    const request = { model, messages, tools, max_tokens: 1024 };
    const first = await ask(request, streamed);
    messages.push({ role: "assistant", content: first.content });
    const results = first.content
      .filter((block) => block.type === "tool_use")
      .map((block) => ({ type: "tool_result", tool_use_id: block.id, content: RESULT }));
    messages.push({ role: "user", content: results });
    return { ...first, then: await ask(request, streamed) };
  },
});
