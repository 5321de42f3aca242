#!/usr/bin/env bash
# nginx: what the client sends keeps a WebSocket open whose server is silent.
#
# Version: nginx 1.22.1 (Debian 12).
#
# Expected: a proxied WebSocket ends when its server sends nothing for `proxy_read_timeout`. nginx's page on
# WebSocket proxying says so about the proxied server. The directive's own entry says that the time runs
# between two reads from the proxied server.
#
# Instead: in a tunnel each byte from the client starts that time anew, so the tunnel ends only when both
# sides are silent. With a limit of 2 s, a silent client is cut off after 2 s. A client that sends a frame
# every 20 ms is still connected after 8 s, although the server sent nothing after its handshake.
#
# For telephony: a media stream carries the caller's audio for as long as the call lasts. So
# `proxy_read_timeout` never ends the stream of a server that took the call and then hung, and the caller
# hears silence. Who wants such a stream to end needs a watch of their own over streams without an answer.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
clean() {
    if [ -s "$folder/pid" ]; then kill "$(cat "$folder/pid")" || true; fi
    rm -rf "$folder"
}
trap clean EXIT

command -v python3 >/dev/null || cannot "python3 is not installed"
command -v nginx >/dev/null || cannot "nginx is not installed (Debian 12: apt-get install nginx)"
version=$(nginx -v 2>&1 | sed 's/.*nginx.//; s/ .*//')
echo "nginx $version"
[ "$version" = 1.22.1 ] || cannot "this is about nginx 1.22.1"

if [ "$(id -u)" = 0 ]; then echo "user root;" >"$folder/nginx.conf"; fi
cat >>"$folder/nginx.conf" <<EOF
daemon off;
pid $folder/pid;
events {}
http {
    access_log off;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server {
        listen unix:$folder/front;
        location / {
            proxy_pass http://unix:$folder/server;
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 2s;
            proxy_send_timeout 2s;
        }
    }
}
EOF

cat >"$folder/try.py" <<'EOF'
import base64
import hashlib
import pathlib
import socket
import subprocess
import sys
import threading
import time

LIMIT, WATCH = 2, 8
UUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
FRAME = b"\x82\xe4\0\0\0\0" + b"\xff" * 100  # binary, masked, 100 bytes
folder = pathlib.Path(sys.argv[1])


def head(connection):
    read = b""
    while not read.endswith(b"\r\n\r\n"):
        read += connection.recv(1) or sys.exit("a connection ended before its handshake was complete")
    return read.decode().splitlines()


def silent_server(connection):
    """Answers the handshake. After it, reads and never writes."""
    name = "sec-websocket-key: "
    key = next(line[len(name):] for line in head(connection) if line.lower().startswith(name))
    accept = base64.b64encode(hashlib.sha1(key.encode() + UUID).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    while connection.recv(65536):
        pass


def serve(listener):
    while True:
        threading.Thread(target=silent_server, args=(listener.accept()[0],), daemon=True).start()


def client():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(folder / "front"))
    connection.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    status = head(connection)[0].split()[1]
    return connection if status == "101" else sys.exit(f"the handshake was answered with {status}")


def seconds_open(talks):
    """How long a connection stays, or None if it is still there after WATCH seconds."""
    connection, begun = client(), time.monotonic()
    connection.settimeout(0.02)
    while time.monotonic() - begun < WATCH:
        try:
            if talks:
                connection.sendall(FRAME)
            if connection.recv(1) == b"":
                return time.monotonic() - begun
            sys.exit("the silent server sent something")
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - begun
    return None


def say(seconds):
    return f"still open after {WATCH} s" if seconds is None else f"closed after {seconds:.1f} s"


listener = socket.socket(socket.AF_UNIX)
listener.bind(str(folder / "server"))
listener.listen()
threading.Thread(target=serve, args=(listener,), daemon=True).start()
nginx = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "log"])
deadline = time.monotonic() + 10
while not (folder / "front").exists():
    if nginx.poll() is not None or time.monotonic() > deadline:
        sys.exit("nginx did not start: " + (folder / "log").read_text())
    time.sleep(0.05)
idle, talking = seconds_open(talks=False), seconds_open(talks=True)
print(f"proxy_read_timeout is {LIMIT} s, and the server sends nothing")
print(f"the client sends nothing:             {say(idle)}")
print(f"the client sends a frame every 20 ms: {say(talking)}")
sys.exit(0 if idle is not None and LIMIT - 0.5 < idle < 2 * LIMIT and talking is None else 1)
EOF

timeout 60 python3 "$folder/try.py" "$folder"
