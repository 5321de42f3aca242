#!/usr/bin/env bash
# PgBouncer: a cancelled query that still waits for a server connection runs all the same, later.
#
# Version: PgBouncer 1.18.0 and PostgreSQL 15 (Debian 12), psycopg 3.3.9.
#
# Expected: a cancel request may come too late, says PostgreSQL's protocol. But a query that has not begun is
# the easiest one to give up, and PostgreSQL ends a query that waits for a lock at once, with 57014. PgBouncer
# gives each client a cancel key, and its manual lists cancel requests in the output of SHOW POOLS.
#
# Instead: PgBouncer takes a cancel request for a query in its queue without an error and drops it. Its log
# calls the client idle. The client goes on waiting. When a server connection becomes free, the cancelled
# query is executed and committed. A query whose client closed its connection is not.
#
# For telephony: a pool is full when the load is highest, and then deadlines pass. A process that cancels a
# late write and repeats it elsewhere has written twice. One that cancels and tells the caller "not saved" has
# saved it. After a deadline, close the connection instead.
set -euo pipefail

cannot() {
    echo "cannot run: $*" >&2
    exit 2
}

folder=$(mktemp -d)
clean() {
    local postgres="$folder/data/postmaster.pid" pgbouncer="$folder/pgbouncer.pid"
    if [ -s "$pgbouncer" ]; then kill -TERM "$(cat "$pgbouncer")" || true; fi
    if [ -s "$postgres" ]; then kill -INT "$(head -1 "$postgres")" || true; fi
    wait || true
    rm -rf "$folder"
}
trap clean EXIT

bin=/usr/lib/postgresql/15/bin
[ -x "$bin/initdb" ] || cannot "PostgreSQL 15 is not installed (Debian 12: apt-get install postgresql-15)"
command -v pgbouncer >/dev/null || cannot "PgBouncer is not installed (Debian 12: apt-get install pgbouncer)"
version=$(pgbouncer --version | sed -n 's/^PgBouncer //p')
echo "PgBouncer $version, $("$bin/postgres" --version)"
[ "$version" = 1.18.0 ] || cannot "this is about PgBouncer 1.18.0"
python3 -m venv "$folder/venv" || cannot "python3 has no venv"
timeout 300 "$folder/venv/bin/pip" install --quiet 'psycopg[binary]==3.3.9' ||
    cannot "pip has no psycopg 3.3.9"

# Neither server runs as root.
user=()
if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null || cannot "there is no user postgres"
    user=(runuser -u postgres --)
    chown postgres "$folder"
fi
"${user[@]}" "$bin/initdb" --pgdata "$folder/data" --username postgres --auth trust >"$folder/initdb.log"
"${user[@]}" "$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -p 5432 \
    >"$folder/postgres.log" 2>&1 &
for _ in $(seq 300); do
    if "$bin/pg_isready" --quiet --host "$folder" --port 5432; then break; fi
    sleep 0.1
done
"$bin/pg_isready" --quiet --host "$folder" --port 5432 || cannot "PostgreSQL did not start within 30 s"
cat >"$folder/pgbouncer.ini" <<EOF
[databases]
postgres = host=$folder port=5432 user=postgres
[pgbouncer]
unix_socket_dir = $folder
listen_port = 6432
auth_type = any
admin_users = postgres
pool_mode = transaction
default_pool_size = 1
pidfile = $folder/pgbouncer.pid
logfile = $folder/pgbouncer.log
EOF
"${user[@]}" pgbouncer --quiet "$folder/pgbouncer.ini" &

cat >"$folder/try.py" <<'EOF'
import sys
import threading
import time

import psycopg

DIRECT, POOLED = 5432, 6432
folder = sys.argv[1]


def connect(port, name="postgres"):
    return psycopg.connect(host=folder, port=port, user="postgres", dbname=name, autocommit=True,
                           connect_timeout=10, prepare_threshold=None)


def until(fact, what):
    deadline = time.monotonic() + 10
    while not fact():
        if time.monotonic() > deadline:
            sys.exit(f"no {what} within 10 s")
        time.sleep(0.05)


def reachable():
    try:
        connect(POOLED).close()
        return True
    except psycopg.OperationalError:
        return False


def insert(connection, who, outcome):
    try:
        connection.execute("INSERT INTO written VALUES (%s)", (who,))
        outcome.append("committed")
    except psycopg.Error as error:
        outcome.append(error.sqlstate or type(error).__name__)


def begin_insert(connection, who):
    outcome = []
    thread = threading.Thread(target=insert, args=(connection, who, outcome), daemon=True)
    thread.start()
    return thread, outcome


until(reachable, "PgBouncer")
direct, admin = connect(DIRECT), connect(POOLED, "pgbouncer")
direct.execute("CREATE TABLE written (who text)")


def locked():
    return direct.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()[0] == 1


def queued():
    with admin.cursor() as cursor:
        cursor.execute("SHOW POOLS")
        at = [column.name for column in cursor.description].index("cl_waiting")
        return any(row[0] == "postgres" and int(row[at]) == 1 for row in cursor)


def idle():
    others = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
    return direct.execute(others).fetchone()[0] == 0


# 1. PostgreSQL alone: the query waits for a lock.
holder, writer = connect(DIRECT), connect(DIRECT)
holder.execute("BEGIN")
holder.execute("LOCK TABLE written")
thread, outcome = begin_insert(writer, "behind a lock")
until(locked, "query that waits for a lock")
writer.cancel()
thread.join(10)
holder.execute("COMMIT")
print("PostgreSQL, cancelled while it waits for a lock:", outcome)

# 2. PgBouncer: the query waits for the only server connection. It is cancelled.
holder, writer = connect(POOLED), connect(POOLED)
holder.execute("BEGIN")
holder.execute("SELECT 1")
thread, outcome_pooled = begin_insert(writer, "cancelled in the queue")
until(queued, "query in the queue")
writer.cancel()
thread.join(3)
print("PgBouncer, 3 s after the query in the queue was cancelled:", outcome_pooled or "it still waits")
waits = thread.is_alive()
holder.execute("COMMIT")
thread.join(10)
print("PgBouncer, after the server connection became free:", outcome_pooled)

# 3. The same, but the client closes its connection.
holder.execute("BEGIN")
holder.execute("SELECT 1")
leaver = psycopg.connect(host=folder, port=POOLED, user="postgres", dbname="postgres", autocommit=True)
leaver.pgconn.send_query(b"INSERT INTO written VALUES ('closed in the queue')")
leaver.pgconn.flush()
until(queued, "query in the queue")
leaver.close()
holder.execute("COMMIT")
connect(POOLED).execute("SELECT 1")  # was behind it in the queue
until(lambda: not queued() and idle(), "idle server")
rows = [row[0] for row in direct.execute("SELECT who FROM written")]
print("written:", rows)
as_described = outcome == ["57014"] and waits and outcome_pooled == ["committed"]
sys.exit(0 if as_described and rows == ["cancelled in the queue"] else 1)
EOF

status=0
timeout 120 "$folder/venv/bin/python" "$folder/try.py" "$folder" || status=$?
grep -o 'closing because: cancel request.*' "$folder/pgbouncer.log" | sed 's/^/the log: /' || true
exit "$status"
