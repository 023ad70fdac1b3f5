// The TypeScript SDK, version 2.
import { Client, SSEClientTransport, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { walk } from "./plan.mjs";

await walk(async (transport, url, hear) => {
  const client = new Client(
    { name: "e2e", version: "1" },
    {
      capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} },
      versionNegotiation: { mode: transport === "modern" ? "auto" : "legacy" },
    },
  );
  const answer = (method, result) =>
    client.setRequestHandler(method, async () => {
      hear(method);
      return result;
    });
  answer("elicitation/create", { action: "accept", content: { sure: true } });
  answer("sampling/createMessage", { model: "m", role: "assistant", content: { type: "text", text: "yes" } });
  answer("roots/list", { roots: [{ uri: "file:///tmp" }] });
  const Transport = transport === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
  await client.connect(new Transport(new URL(url)));
  if (transport === "modern" && client.getNegotiatedProtocolVersion() < "2026-07-28") throw new Error("the client fell back");
  return client;
});
