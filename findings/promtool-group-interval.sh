#!/usr/bin/env bash
# promtool: a test of rules evaluates a group more often than the group's own interval says.
#
# Version: Prometheus 2.42.0 with its promtool (Debian 12).
#
# Expected: Prometheus's page on rules says that `interval` of a group is how often its rules are evaluated,
# and that the global `evaluation_interval` is its default. The file of a unit test has a field of this name.
# So it is the default in the test as well, and a group with an interval of its own keeps to it.
#
# Instead: the test evaluates every group at the `evaluation_interval` of the test file, whatever the group
# says. An alert in a group of 20 s, on a fault that lasts 8 s, fires in the test. Prometheus itself, with the
# same file and the same fault between two evaluations, never has the alert, not even as pending.
#
# For telephony: expensive rules, such as error ratios over all calls, are put into a group that runs every
# few minutes. Their tests pass with outages that are shorter than that, and no alert comes when calls fail.
# Test each group in a file whose `evaluation_interval` is the group's interval.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
clean() {
    if [ -s "$folder/pid" ]; then kill "$(cat "$folder/pid")" || true; fi
    wait || true
    rm -rf "$folder"
}
trap clean EXIT

for program in promtool prometheus python3; do
    command -v "$program" >/dev/null || cannot "$program is not installed (Debian 12: package prometheus)"
done
for program in promtool prometheus; do
    version=$("$program" --version 2>&1 | sed -n '1s/.*version \([0-9.]*\).*/\1/p')
    echo "$program $version"
    [ "$version" = 2.42.0 ] || cannot "this is about $program 2.42.0"
done

cat >"$folder/rules.yml" <<'EOF'
groups:
  - name: calls
    interval: 20s
    rules:
      - alert: CallsFail
        expr: calls_failing > 0
        for: 2s
EOF
# Sound for 20 s, a fault of 8 s, sound again.
cat >"$folder/test.yml" <<'EOF'
rule_files: [rules.yml]
evaluation_interval: 1s
tests:
  - interval: 1s
    input_series:
      - series: calls_failing{job="calls", instance="one"}
        values: "0x20 1x7 0x60"
    alert_rule_test:
      - eval_time: 25s
        alertname: CallsFail
        exp_alerts:
          - exp_labels: {job: calls, instance: one}
EOF
echo "promtool expects the alert to fire at 25 s, amid the fault:"
tested=0
timeout 60 promtool test rules "$folder/test.yml" || tested=$?

cat >"$folder/try.py" <<'EOF'
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

folder = pathlib.Path(sys.argv[1])
failing = 0


class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(f"# TYPE calls_failing gauge\ncalls_failing {failing}\n".encode())

    def log_message(self, *_):
        pass


def ask(path, **query):
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    return json.load(urllib.request.urlopen(url, timeout=5))["data"]


def last_evaluation():
    """None before the first."""
    group = ask("rules")["groups"][0]
    return None if group["lastEvaluation"].startswith("0001") else group["lastEvaluation"]


def until(fact, what, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := fact():
                return value
        except OSError:
            pass  # not up yet
        if time.monotonic() > deadline:
            sys.exit(f"no {what} within {seconds} s")
        time.sleep(0.1)


def ever(query):
    return len(ask("query", query=query)["result"])


exporter = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
threading.Thread(target=exporter.serve_forever, daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
(folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: calls
    static_configs: [{{targets: ["127.0.0.1:{exporter.server_port}"]}}]
""")
with open(folder / "log", "w") as log:
    prometheus = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
(folder / "pid").write_text(str(prometheus.pid))
first = until(last_evaluation, "evaluation of the group", 60)
print("Prometheus has evaluated the group. The fault begins.")
failing, begun = 1, time.monotonic()
time.sleep(8)
failing = 0
until(lambda: ever("calls_failing == 0"), "end of the fault", 10)
same = last_evaluation() == first
second = until(lambda: last_evaluation() != first, "second evaluation", 60)
print(f"The next evaluation came {time.monotonic() - begun:.0f} s after the fault began.")
until(lambda: ever("calls_failing"), "sample", 10)
samples = ever("max_over_time(calls_failing[2m]) == 1")
alerts = ever('count_over_time(ALERTS{alertname="CallsFail"}[2m])')
print(f"series that show the fault: {samples}, alerts, pending or firing: {alerts}")
sys.exit(0 if same and samples == 1 and alerts == 0 else 1)
EOF

timeout 180 python3 "$folder/try.py" "$folder"
[ "$tested" = 0 ]
