// What every script does: four turns with each model, printed as one JSON object.
//
//     node SCRIPT.mjs URL KEY MODEL…
//
// A turn that fails is printed with its error, so that one does not hide the others.
// Temperatures are zero: llama.cpp's answer, which is noise, must be the same noise.
// (It leaves out who speaks where an answer begins with half a character.)

export const [url, key, ...models] = process.argv.slice(2);

export const HELLO = "say hello";
export const WEATHER = "weather everywhere, get_weather";
export const RESULT = "sunny, 21 degrees";
export const DESCRIPTION = "How the weather is";
export const CITY = {
  type: "object",
  properties: { city: { type: "string", enum: ["Oslo", "Rome"] } },
  required: ["city"],
  additionalProperties: false,
};

/** Run the turns of a client: `ask(model)`, `stream(model)`, `tools(model, streamed)`. */
export async function run(client) {
  const turns = {
    text: (model) => client.ask(model),
    stream: (model) => client.stream(model),
    tools: (model) => client.tools(model, false),
    "streamed-tools": (model) => client.tools(model, true),
  };
  const told = {};
  for (const model of models) {
    told[model] = {};
    for (const [name, turn] of Object.entries(turns)) {
      try {
        told[model][name] = await turn(model);
      } catch (error) {
        told[model][name] = { error: `${error?.stack ?? error}`.slice(0, 2000) };
      }
    }
  }
  console.log(JSON.stringify(told));
}
