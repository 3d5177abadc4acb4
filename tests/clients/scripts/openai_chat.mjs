// The openai SDK: chat completions.
import OpenAI from "openai";
import { CITY, DESCRIPTION, HELLO, RESULT, WEATHER, key, run, url } from "./turns.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const tools = [
  {
    type: "function",
    function: { name: "get_weather", description: DESCRIPTION, parameters: CITY },
  },
];
const said = (content) => [{ role: "user", content }];

function told(completion, pieces) {
  const [choice] = completion.choices;
  const calls = choice.message.tool_calls ?? [];
  return {
    text: choice.message.content ?? "",
    calls: calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
    finish: choice.finish_reason,
    usage: [completion.usage.prompt_tokens, completion.usage.completion_tokens],
    pieces,
    message: choice.message,
  };
}

async function ask(request, streamed) {
  if (!streamed) return told(await client.chat.completions.create(request));
  const stream = client.chat.completions.stream({
    ...request,
    stream_options: { include_usage: true },
  });
  let pieces = 0;
  for await (const chunk of stream) pieces += chunk.choices.length;
  return told(await stream.finalChatCompletion(), pieces);
}

const short = { max_tokens: 64, temperature: 0 };

await run({
  ask: (model) => ask({ model, messages: said(HELLO), ...short }, false),
  stream: (model) => ask({ model, messages: said(HELLO), ...short }, true),
  async tools(model, streamed) {
    const messages = said(WEATHER);
    const first = await ask({ model, messages, tools }, streamed);
    messages.push(first.message);
    for (const call of first.message.tool_calls)
      messages.push({ role: "tool", tool_call_id: call.id, content: RESULT });
    return { ...first, then: await ask({ model, messages, tools }, streamed) };
  },
});
