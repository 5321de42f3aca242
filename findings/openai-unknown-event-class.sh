#!/usr/bin/env bash
# openai for Python: a Realtime event or item of an unknown type has the class of a known one.
#
# Version: openai 3.57.0 with websockets 17.4 (PyPI).
#
# Expected: a service adds types of events between two versions of its client. The client's README calls what
# it returns Pydantic models. Events are a union told apart by `type`, and each class names its `type` as a
# literal. Pydantic refuses an unknown tag of such a union. So `isinstance` and `match` by class pass by an
# object whose type the client does not know.
#
# Instead: it gets the first class of the union, without an error. An event of an unknown type is a
# `ConversationCreatedEvent`. An item of an unknown type is a system message, and an audio format of an
# unknown type is `AudioPCM`. The fields are those of the unknown object, so only `type` tells.
#
# For telephony: code that matches by class takes an unknown event for the start of a conversation and files
# an unknown item as an instruction of the operator. It plays audio of a new format as PCM, which is noise for
# the caller. Compare `type`, never the class.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv" || cannot "python3 has no venv"
timeout 300 "$folder/venv/bin/pip" install --quiet openai==3.57.0 websockets==17.4 ||
    cannot "pip has no openai 3.57.0 or websockets 17.4"

cat >"$folder/try.py" <<'EOF'
import asyncio
import json
import sys

import openai
import websockets.asyncio.server
from openai.types.realtime import ConversationCreatedEvent, ConversationItemDone, SessionUpdatedEvent
from openai.types.realtime.realtime_audio_formats import AudioPCM
from openai.types.realtime.realtime_conversation_item_system_message import (
    RealtimeConversationItemSystemMessage as SystemMessage,
)

EVENTS = [
    {"type": "response.output_audio.progress", "event_id": "event_1", "response_id": "resp_1"},
    {"type": "conversation.item.done", "event_id": "event_2", "previous_item_id": None,
     "item": {"type": "keypad_input", "id": "item_1", "digits": "42"}},
    {"type": "session.updated", "event_id": "event_3",
     "session": {"type": "realtime", "audio": {"input": {"format": {"type": "audio/opus"}}}}},
]


async def service(connection):
    for event in EVENTS:
        await connection.send(json.dumps(event))
    await connection.wait_closed()


async def main():
    async with websockets.asyncio.server.serve(service, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = openai.AsyncOpenAI(api_key="sk-none", websocket_base_url=f"ws://127.0.0.1:{port}/v1")
        async with client.realtime.connect(model="gpt-realtime") as connection:
            event, done, updated = [await connection.recv() for _ in EVENTS]
    audio_format = updated.session.audio.input.format
    for what, thing in (("event", event), ("item", done.item), ("format", audio_format)):
        print(f"{what} of type {thing.type!r}: {type(thing).__name__}")
    known = isinstance(done, ConversationItemDone) and isinstance(updated, SessionUpdatedEvent)
    return known and (
        isinstance(event, ConversationCreatedEvent)
        and isinstance(done.item, SystemMessage)
        and isinstance(audio_format, AudioPCM)
    )


sys.exit(0 if asyncio.run(asyncio.wait_for(main(), 30)) else 1)
EOF

timeout 60 "$folder/venv/bin/python" "$folder/try.py"
