// The openai SDK: responses, whose second turn follows the first by its id where
// it is streamed, and repeats its items where it is not.
import OpenAI from "openai";
import { CITY, DESCRIPTION, HELLO, RESULT, WEATHER, key, run, url } from "./turns.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const tools = [
  {
    type: "function",
    name: "get_weather",
    description: DESCRIPTION,
    parameters: CITY,
    strict: true,
  },
];
const said = (content) => [{ role: "user", content }];

function told(response, pieces) {
  const calls = response.output.filter((item) => item.type === "function_call");
  return {
    text: response.output_text,
    calls: calls.map((call) => [call.name, JSON.parse(call.arguments)]),
    finish: response.status,
    usage: [response.usage.input_tokens, response.usage.output_tokens],
    pieces,
    response,
  };
}

async function ask(request, streamed) {
  if (!streamed) return told(await client.responses.create(request));
  const stream = client.responses.stream(request);
  let pieces = 0;
  for await (const event of stream) pieces += event.type.endsWith(".delta");
  return told(await stream.finalResponse(), pieces);
}

const short = { max_output_tokens: 64, temperature: 0 };

await run({
  ask: (model) => ask({ model, input: said(HELLO), ...short }, false),
  stream: (model) => ask({ model, input: said(HELLO), ...short }, true),
  async tools(model, streamed) {
    const input = said(WEATHER);
    const first = await ask({ model, input, tools, store: streamed }, streamed);
    const results = first.response.output
      .filter((item) => item.type === "function_call")
      .map((call) => ({
        type: "function_call_output",
        call_id: call.call_id,
        output: RESULT,
      }));
    const second = streamed
      ? { previous_response_id: first.response.id, input: results }
      : { input: [...input, ...first.response.output, ...results], store: false };
    return { ...first, then: await ask({ model, tools, ...second }, streamed) };
  },
});
