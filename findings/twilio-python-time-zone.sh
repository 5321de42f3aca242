#!/usr/bin/env bash
# twilio for Python: a time with a zone is sent as if its clock stood in UTC. The client for Node converts it.
#
# Version: twilio 9.13.0 (PyPI), twilio 6.3.1 (npm).
#
# Expected: Python's documentation calls a datetime with a zone one definite moment. The client's methods ask
# for a `datetime`, and the API takes ISO 8601 with Z. So the moment is converted to UTC, or refused.
#
# Instead: year to second are written as they stand, and "Z" is put behind them. 09:00 in New York is sent as
# 09:00:00Z, which is 04:00 there. Nothing warns. Dates have the same fault: the last hours of a day in New
# York belong to the next day in UTC, and are sent as the day before. The client for Node sends the moment.
#
# For telephony: `calls.list(start_time_after=...)` skips or repeats hours of calls, so a bill or a
# reconciliation of calls is wrong by the distance to UTC. `messages.create(send_at=...)` sends the reminder
# at night. The same job in Node is right. Call `.astimezone(timezone.utc)` on every time.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

command -v node >/dev/null || cannot "Node is not installed"
python3 -m venv "$folder/venv" || cannot "python3 has no venv"
timeout 300 "$folder/venv/bin/pip" install --quiet twilio==9.13.0 || cannot "pip has no twilio 9.13.0"
timeout 300 npm install --silent --no-audit --no-fund --prefix "$folder" twilio@6.3.1 ||
    cannot "npm has no twilio 6.3.1"

# Both clients have an HTTP client of the caller's own. This one shows the request and sends nothing.
cat >"$folder/try.py" <<'EOF'
import json
import logging
from datetime import datetime
from zoneinfo import ZoneInfo

from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

sent = {}


class Recorder(HttpClient):
    def request(self, method, url, params=None, data=None, **others):
        sent.update(params or {})
        sent.update(data or {})
        answers = {"/Calls.json": {"calls": []}, "/Records.json": {"usage_records": []}}
        answer = next((answers[end] for end in answers if url.endswith(end)), {"sid": "SM1"})
        return Response(200, json.dumps(answer))


client = Client("AC" + "0" * 32, "token", http_client=Recorder(logging.getLogger(), False))
new_york = ZoneInfo("America/New_York")
morning = datetime(2026, 12, 1, 9, tzinfo=new_york)
evening = datetime(2026, 12, 1, 21, tzinfo=new_york)
client.calls.list(start_time_after=morning)
client.usage.records.list(start_date=evening)
client.messages.create(to="+15005550006", messaging_service_sid="MG1", body="Your appointment is today.",
                       schedule_type="fixed", send_at=morning)
for name in ("StartTime>", "SendAt", "StartDate"):
    print(name, sent[name])
EOF

cat >"$folder/try.js" <<'EOF'
const twilio = require("twilio");

const sent = {};
const recorder = {
  request: async ({ params, data }) => {
    Object.assign(sent, params, data);
    return { statusCode: 200, body: { calls: [], usage_records: [], sid: "SM1" } };
  },
};
const client = twilio("AC" + "0".repeat(32), "token", { httpClient: recorder });
const morning = new Date("2026-12-01T09:00:00-05:00");
const evening = new Date("2026-12-01T21:00:00-05:00");
(async () => {
  await client.calls.list({ startTimeAfter: morning });
  await client.usage.records.list({ startDate: evening });
  await client.messages.create({
    to: "+15005550006",
    messagingServiceSid: "MG1",
    body: "Your appointment is today.",
    scheduleType: "fixed",
    sendAt: morning,
  });
  for (const name of ["StartTime>", "SendAt", "StartDate"]) console.log(name, sent[name]);
})();
EOF

echo "09:00 in New York is 14:00Z. 21:00 there on 1 December is 2 December in UTC."
python=$(timeout 60 "$folder/venv/bin/python" "$folder/try.py")
node=$(cd "$folder" && timeout 60 node try.js)
echo "Python:"
echo "$python"
echo "Node:"
echo "$node"
[ "$python" = "StartTime> 2026-12-01T09:00:00Z
SendAt 2026-12-01T09:00:00Z
StartDate 2026-12-01" ] && [ "$node" = "StartTime> 2026-12-01T14:00:00Z
SendAt 2026-12-01T14:00:00Z
StartDate 2026-12-02" ]
