#!/usr/bin/env bash
# openai: told to wait 130 s, the client for Node asks again within a second, and the one for Python gives up.
#
# Version: openai 7.59.0 (npm), openai 3.57.0 (PyPI).
#
# Expected: a client that repeats a request after 429 by itself waits as long as `Retry-After` says, or hands
# the error over. HTTP defines the header as the time to wait before the next request. Both README files
# promise two retries after a short backoff, and name no limit of the header.
#
# Instead: both clients keep to a wait of 1 s. A wait of 130 s is too long for both, and each draws the
# opposite conclusion. The client for Python makes one request and raises the error. The client for Node
# falls back to its own backoff of under a second, so it makes three requests within two seconds. The longer
# the service asks to be left alone, the sooner Node is back.
#
# For telephony: long waits come when a quota is used up, and all processes that share the key meet them at
# the same time. Node triples the load at that moment, while a caller waits. The same program in Python fails
# at the first answer. Set `maxRetries: 0`, read the header yourself, and give the caller to a person where
# the wait is longer than a caller's patience.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

command -v node >/dev/null || cannot "Node is not installed"
python3 -m venv "$folder/venv" || cannot "python3 has no venv"
timeout 300 "$folder/venv/bin/pip" install --quiet openai==3.57.0 || cannot "pip has no openai 3.57.0"
timeout 300 npm install --silent --no-audit --no-fund --prefix "$folder" openai@7.59.0 ||
    cannot "npm has no openai 7.59.0"

cat >"$folder/ask.py" <<'EOF'
import sys
import openai

try:
    openai.OpenAI(api_key="sk-none", base_url=sys.argv[1]).models.list()
except openai.RateLimitError:
    pass
EOF

cat >"$folder/ask.mjs" <<'EOF'
import OpenAI from "openai";

try {
  await new OpenAI({ apiKey: "sk-none", baseURL: process.argv[2] }).models.list();
} catch (error) {
  if (!(error instanceof OpenAI.RateLimitError)) throw error;
}
EOF

cat >"$folder/try.py" <<'EOF'
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

folder = pathlib.Path(sys.argv[1])
clients = {
    "Python": [folder / "venv/bin/python", folder / "ask.py"],
    "Node": ["node", folder / "ask.mjs"],
}
wait, requests = 0, []


class Refusal(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        requests.append(time.monotonic())
        fault = {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}
        body = json.dumps({"error": fault}).encode()
        self.send_response(429)
        self.send_header("Retry-After", str(wait))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
seen = {}
for wait in (1, 130):
    for name, command in clients.items():
        requests.clear()
        try:
            subprocess.run([*command, url], check=True, timeout=40)
        except subprocess.TimeoutExpired:
            pass
        pauses = [round(after - before, 1) for before, after in zip(requests, requests[1:])]
        seen[name, wait] = pauses
        print(f"Retry-After: {wait:3}  {name:6}  {len(requests)} requests, pauses in s: {pauses}")


def kept(pauses):
    return len(pauses) == 2 and all(0.9 <= pause < 5 for pause in pauses)


short = kept(seen["Python", 1]) and kept(seen["Node", 1])
node = seen["Node", 130]
sys.exit(0 if short and seen["Python", 130] == [] and len(node) == 2 and max(node) < 10 else 1)
EOF

timeout 240 "$folder/venv/bin/python" "$folder/try.py" "$folder"
