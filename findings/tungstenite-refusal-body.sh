#!/usr/bin/env bash
# tungstenite: the body of a refused handshake is what came in the same read as the headers.
#
# Version: tungstenite 0.30.0 (crates.io), which is below tokio-tungstenite 0.30; websockets 17.4 (PyPI).
#
# Expected: a service that refuses a WebSocket answers with a status and a body that says why. tungstenite's
# change log says that such an answer is returned with its HTTP body, and `Error::Http` has a response with an
# optional body. The answer states its `Content-Length`. So the body is whole, or absent, or the read failed.
#
# Instead: the body is the rest of the read in which the headers ended. Sent in one piece with the headers, it
# is whole. If it comes 300 ms later, it is present and empty. If half of it comes with the headers, it is
# that half. There is no error. The client of websockets returns all of it each time.
#
# For telephony: the body tells a used-up quota from a rate limit, and a wrong key from an unknown model. They
# need different answers to the caller and to the operator. A server that writes headers and body in two
# steps is enough, or a packet boundary between them. So a test on one machine sees the reason, and
# production sees an empty one or JSON that does not parse. Decide by status and headers, and take the body
# for a hint only if its length is the `Content-Length`.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

command -v cargo >/dev/null || cannot "cargo is not installed"
python3 -m venv "$folder/venv" || cannot "python3 has no venv"
timeout 300 "$folder/venv/bin/pip" install --quiet websockets==17.4 || cannot "pip has no websockets 17.4"

mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'EOF'
[package]
name = "refused"
version = "0.0.0"
edition = "2021"

[dependencies]
tungstenite = { version = "=0.30.0", default-features = false, features = ["handshake"] }

[workspace]
EOF
cat >"$folder/src/main.rs" <<'EOF'
use tungstenite::{client, Error, HandshakeError};

/// Prints the length of the body that came with the refusal.
fn main() {
    let port = std::env::args().nth(1).expect("a port");
    let stream = std::net::TcpStream::connect(format!("127.0.0.1:{port}")).expect("a connection");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a deadline");
    match client(format!("ws://127.0.0.1:{port}/v1/realtime"), stream) {
        Err(HandshakeError::Failure(Error::Http(response))) => match response.body() {
            Some(body) => println!("{}", body.len()),
            None => println!("none"),
        },
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}
EOF
export CARGO_TARGET_DIR="$folder/target"
timeout 900 cargo build --quiet --manifest-path "$folder/Cargo.toml" || cannot "cargo did not build"

cat >"$folder/ask.py" <<'EOF'
import sys
import websockets.exceptions
import websockets.sync.client

try:
    websockets.sync.client.connect(f"ws://127.0.0.1:{sys.argv[1]}/v1/realtime", open_timeout=10)
except websockets.exceptions.InvalidStatus as refused:
    print(len(refused.response.body))
EOF

cat >"$folder/try.py" <<'EOF'
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time

folder = pathlib.Path(sys.argv[1])
FAULT = {"message": "The quota is used up.", "type": "insufficient_quota", "code": "insufficient_quota"}
BODY = json.dumps({"error": FAULT | {"param": None}}).encode()
HEAD = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
    + f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n".encode()
)
HALF = len(BODY) // 2
PIECES = {
    "in one piece with the headers": [HEAD + BODY],
    "300 ms after the headers": [HEAD, BODY],
    "half with the headers, half 300 ms later": [HEAD + BODY[:HALF], BODY[HALF:]],
}
CLIENTS = {
    "tungstenite": [folder / "target/debug/refused"],
    "websockets": [folder / "venv/bin/python", folder / "ask.py"],
}


def refuse(listener, pieces):
    connection, _ = listener.accept()
    connection.settimeout(10)
    read = b""
    while not read.endswith(b"\r\n\r\n"):
        read += connection.recv(1)
    try:
        for at, piece in enumerate(pieces):
            time.sleep(0.3 if at else 0)
            connection.sendall(piece)
        while connection.recv(4096):  # until the client has left
            pass
    except OSError:
        pass  # the client did not wait for the rest
    connection.close()


listener = socket.create_server(("127.0.0.1", 0))
seen = {}
for how, pieces in PIECES.items():
    for name, command in CLIENTS.items():
        threading.Thread(target=refuse, args=(listener, pieces), daemon=True).start()
        port = str(listener.getsockname()[1])
        seen[name, how] = subprocess.check_output([*command, port], timeout=30, text=True).strip()
    print(f"body of {len(BODY)} bytes, {how}:", {name: seen[name, how] for name in CLIENTS})
lengths = {name: [seen[name, how] for how in PIECES] for name in CLIENTS}
whole = str(len(BODY))
as_described = lengths == {"tungstenite": [whole, "0", str(HALF)], "websockets": [whole] * 3}
sys.exit(0 if as_described else 1)
EOF

timeout 240 "$folder/venv/bin/python" "$folder/try.py" "$folder"
