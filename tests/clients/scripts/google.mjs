// Google's SDK.
import { GoogleGenAI } from "@google/genai";
import { CITY, DESCRIPTION, HELLO, RESULT, WEATHER, key, run, url } from "./turns.mjs";

const client = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url } });
const tools = [
  {
    functionDeclarations: [
      { name: "get_weather", description: DESCRIPTION, parametersJsonSchema: CITY },
    ],
  },
];
const said = (text) => [{ role: "user", parts: [{ text }] }];

async function ask(request, streamed) {
  const chunks = [];
  if (streamed)
    for await (const chunk of await client.models.generateContentStream(request))
      chunks.push(chunk);
  else chunks.push(await client.models.generateContent(request));
  const parts = chunks.flatMap((chunk) => chunk.candidates?.[0].content?.parts ?? []);
  const last = chunks.at(-1);
  const calls = parts.filter((part) => part.functionCall);
  return {
    text: parts.map((part) => (part.thought ? "" : (part.text ?? ""))).join(""),
    calls: calls.map((part) => [part.functionCall.name, part.functionCall.args]),
    finish: last.candidates[0].finishReason,
    usage: [
      last.usageMetadata.promptTokenCount,
      last.usageMetadata.candidatesTokenCount ?? 0,
    ],
    pieces: streamed ? chunks.length : undefined,
    parts,
  };
}

const short = { maxOutputTokens: 64, temperature: 0 };

await run({
  ask: (model) => ask({ model, contents: said(HELLO), config: short }, false),
  stream: (model) => ask({ model, contents: said(HELLO), config: short }, true),
  async tools(model, streamed) {
    const contents = said(WEATHER);
    const request = { model, contents, config: { tools } };
    const first = await ask(request, streamed);
    contents.push({ role: "model", parts: first.parts });
    const results = first.parts
      .filter((part) => part.functionCall)
      .map(({ functionCall: { id, name } }) => ({
        functionResponse: { id, name, response: { output: RESULT } },
      }));
    contents.push({ role: "user", parts: results });
    return { ...first, then: await ask(request, streamed) };
  },
});
