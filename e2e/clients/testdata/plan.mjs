// Does what a plan says with the sessions that connect opens, and prints what came of each step as one line of JSON.

const session = async (transport, { name, url, steps }, connect) => {
  const asked = [];
  const say = (step, outcome) => console.log(JSON.stringify({ session: name, step, ...outcome }));
  let client;
  try {
    client = await connect(transport, url, (method) => asked.push(method));
  } catch (e) {
    say("connect", { broken: String(e) });
    return false;
  }
  for (const step of steps) {
    const outcome = await Promise.race([take(client, step), silence()]);
    say(`${step.do} ${step.name}`, outcome);
    if (outcome.broken && step.name === "greet") return false; // it does not live: nothing more is to be learned
  }
  say("asked", { text: asked.join(" ") });
  await client.close();
  return true;
};

const take = async (client, { do: verb, name }) => {
  try {
    switch (verb) {
      case "list":
        await client.listResourceTemplates();
        return { text: "listed" };
      case "notify":
        await client.notification({ method: name, params: params(name) });
        return { text: "sent" };
    }
    const result = await client.callTool({ name, arguments: {} });
    return { text: result.content[0].text, failed: result.isError === true };
  } catch (e) {
    return failure(e);
  }
};

const silence = () =>
  new Promise((done) => {
    setTimeout(() => done({ broken: "no answer" }), 10000);
  });

const params = (method) => (method === "notifications/progress" ? { progressToken: "t", progress: 1 } : undefined);

// An error with a numeric code is a JSON-RPC error, or an HTTP status where the client names it so; any other is none that it
// understands as an answer.
const failure = (e) => {
  if (typeof e.code !== "number") return { broken: `${e.constructor.name} ${e.code ?? ""}: ${e.message}` };
  return { code: e.code, error: `${e.constructor.name}: ${e.message}`, data: e.data === undefined ? "" : JSON.stringify(e.data) };
};

export const walk = async (connect) => {
  const plan = JSON.parse(process.argv[2]);
  for (const s of plan.sessions) if (!(await session(plan.transport, s, connect))) break;
  process.exit(0); // whatever keeps a connection open has nothing more to say
};
