"""The Python SDK, version 1."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

from mcp import ClientSession, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from plan import walk


@asynccontextmanager
async def connect(transport, url, hear):
    async def confirm(_context, _params):
        hear("elicitation/create")
        return types.ElicitResult(action="accept", content={"sure": True})

    async def think(_context, _params):
        hear("sampling/createMessage")
        return types.CreateMessageResult(model="m", role="assistant", content=types.TextContent(type="text", text="yes"))

    async def locate(_context):
        hear("roots/list")
        return types.ListRootsResult(roots=[types.Root(uri="file:///tmp")])

    streams = sse_client(url) if transport == "sse" else streamable_http_client(url)
    async with streams as opened:
        read, write = opened[:2]
        handlers = {"elicitation_callback": confirm, "sampling_callback": think, "list_roots_callback": locate}
        async with ClientSession(read, write, **handlers) as s:
            await s.initialize()
            yield SimpleNamespace(
                call=s.call_tool,
                templates=s.list_resource_templates,
                moved=s.send_roots_list_changed,
                progress=lambda: s.send_progress_notification("t", 1),
            )


walk(connect)
