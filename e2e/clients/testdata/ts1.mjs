// The TypeScript SDK, version 1.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { walk } from "./plan.mjs";

await walk(async (transport, url, hear) => {
  const client = new Client(
    { name: "e2e", version: "1" },
    { capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} } },
  );
  const answer = (schema, result) =>
    client.setRequestHandler(schema, async (request) => {
      hear(request.method);
      return result;
    });
  answer(ElicitRequestSchema, { action: "accept", content: { sure: true } });
  answer(CreateMessageRequestSchema, { model: "m", role: "assistant", content: { type: "text", text: "yes" } });
  answer(ListRootsRequestSchema, { roots: [{ uri: "file:///tmp" }] });
  const Transport = transport === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
  await client.connect(new Transport(new URL(url)));
  return client;
});
