"""The Python SDK, version 2."""

from contextlib import asynccontextmanager
from types import SimpleNamespace
from warnings import simplefilter

import mcp_types as types
from mcp.client.client import Client
from mcp.client.sse import sse_client

from plan import walk

simplefilter("ignore")  # roots and sampling are deprecated, and still there


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

    handlers = {"elicitation_callback": confirm, "sampling_callback": think, "list_roots_callback": locate}
    server = sse_client(url) if transport == "sse" else url
    async with Client(server, mode="auto" if transport == "modern" else "legacy", **handlers) as c:
        if transport == "modern" and c.protocol_version < "2026-07-28":
            raise RuntimeError("the client fell back")
        yield SimpleNamespace(
            call=c.call_tool,
            templates=c.list_resource_templates,
            moved=c.session.send_roots_list_changed,
            progress=lambda: c.send_progress_notification("t", 1),
        )


walk(connect)
