"""Does what a plan says with the sessions that connect opens, and prints what came of each step as one line of JSON."""

import json
import sys

import anyio

PATIENCE = 10  # seconds


def walk(connect):
    plan = json.loads(sys.argv[1])

    async def all_sessions():
        for s in plan["sessions"]:
            if not await session(plan["transport"], s, connect):
                return

    anyio.run(all_sessions)


async def session(transport, s, connect):
    def say(step, outcome):
        print(json.dumps({"session": s["name"], "step": step, **outcome}), flush=True)

    asked = []
    try:
        async with connect(transport, s["url"], asked.append) as client:
            for step in s["steps"]:
                outcome = await take(client, step)
                say(f"{step['do']} {step['name']}", outcome)
                if "broken" in outcome and step["name"] == "greet":
                    return False  # it does not live: nothing more is to be learned
            say("asked", {"text": " ".join(asked)})
            return True
    except Exception as e:  # whatever a transport raises when it is torn down
        say("session", {"broken": repr(e)})
        return False


async def take(client, step):
    try:
        with anyio.fail_after(PATIENCE):
            match step:
                case {"do": "list"}:
                    await client.templates()
                    return {"text": "listed"}
                case {"do": "notify", "name": "notifications/progress"}:
                    await client.progress()
                    return {"text": "sent"}
                case {"do": "notify"}:
                    await client.moved()
                    return {"text": "sent"}
            result = await client.call(step["name"])
            return {"text": result.content[0].text, "failed": failed(result)}
    except Exception as e:
        return failure(e)


def failed(result):
    return bool(getattr(result, "isError", None) or getattr(result, "is_error", None))


def failure(e):
    """An error that the SDK reads as one of the protocol's carries it."""
    if not hasattr(e, "error"):
        return {"broken": repr(e)}
    data = "" if e.error.data is None else json.dumps(e.error.data, separators=(",", ":"))
    return {"code": e.error.code, "error": f"{type(e).__name__}: {e.error.message}", "data": data}
