//! Fills a log: calls every 18 s up to now, each with ten turns and a document, in the order of time, as the
//! program writes them. Words are as frequent as in a language: `w1` is in nearly every call, `w4000` in one
//! of a thousand.

use tokio_postgres::{Client, NoTls};

/// So many connections fill at once.
const FILLERS: u64 = 2;
/// So many turns a call.
pub const TURNS: u64 = 10;

/// What the turns are made of; what is said by whom is decided by a hash of the turn's number.
const SENTENCES: &str = "
    CREATE UNLOGGED TABLE sentences AS
    SELECT id, text, to_tsvector('simple', text) AS document
    FROM (
        SELECT id, (
            SELECT string_agg('w' || (5000 ^ random())::INT, ' ')
            FROM generate_series(1, 8 + (random() * 6)::INT) WHERE id >= 0
        ) AS text
        FROM generate_series(0, 19999) AS id
    ) AS said;
    CREATE UNIQUE INDEX ON sentences (id) INCLUDE (text);
    CREATE AGGREGATE together(TSVECTOR) (SFUNC = tsvector_concat, STYPE = TSVECTOR, INITCOND = '');
    CREATE FUNCTION sentence(call BIGINT, turn BIGINT) RETURNS INT IMMUTABLE PARALLEL SAFE
        RETURN (hashint8(call * 10 + turn) & 2147483647) % 20000;
    ANALYZE sentences";

const CALLS: &str = "
    INSERT INTO calls (call_sid, epoch, from_number, to_number, instance, started_at, ended_at, outcome, reason, urgent,
        turns, barge_ins, first_audio_ms, usage, cost_usd, recordings)
    SELECT 'CA' || md5(n::TEXT), 1, '+1555' || lpad((random() * 100000)::INT::TEXT, 7, '0'),
        '+1555019' || (random() * 8)::INT, 'instance-' || n % 3, at, at + make_interval(secs => 10 + random() * 500),
        CASE
            WHEN p < 0.75 THEN 'completed' WHEN p < 0.85 THEN 'transferred' WHEN p < 0.9 THEN 'voicemail'
            WHEN p < 0.95 THEN 'abandoned' WHEN p < 0.98 THEN 'refused' ELSE 'failed'
        END,
        'caller-hung-up', random() < 0.02, 10, 1, 400, '{\"totalTokens\": 1234}', random(), (random() < 0.1)::INT
    FROM (
        SELECT n, $now - ($calls - n) * INTERVAL '18 s' AS at, random() AS p FROM generate_series($first, $last) AS n
    ) AS call";

const SAID: &str = "
    INSERT INTO turns (call_sid, ordinal, epoch, speaker, text, started_at, heard_ms)
    SELECT 'CA' || md5(n::TEXT), turn, 1, CASE turn % 2 WHEN 1 THEN 'agent' ELSE 'caller' END, text,
        $now - ($calls - n) * INTERVAL '18 s' + turn * INTERVAL '10 s', 1000
    FROM generate_series($first, $last) AS n
        CROSS JOIN generate_series(1, 10) AS turn
        JOIN sentences ON id = sentence(n, turn)";

const DOCUMENTS: &str = "
    INSERT INTO call_search (call_sid, started_at, document)
    SELECT 'CA' || md5(n::TEXT), $now - ($calls - n) * INTERVAL '18 s', (
        SELECT together(document ORDER BY turn)
        FROM generate_series(1, 10) AS turn JOIN sentences ON id = sentence(n, turn)
    )
    FROM generate_series($first, $last) AS n";

/// What is made when the rows are there: constraints and indexes, by table and name.
const MADE_LATER: &str = "
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::REGCLASS, conname),
        format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::REGCLASS, conname, pg_get_constraintdef(oid)),
        CASE contype WHEN 'f' THEN 0 ELSE 1 END AS place
    FROM pg_constraint
    WHERE contype IN ('p', 'f') AND conrelid IN ('calls'::REGCLASS, 'turns'::REGCLASS, 'call_search'::REGCLASS)
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::REGCLASS), pg_get_indexdef(indexrelid), 2
    FROM pg_index
    WHERE indrelid IN ('calls'::REGCLASS, 'call_search'::REGCLASS) AND NOT indisprimary
    ORDER BY place";

/// Puts so many calls into a database that has the schema and nothing else.
pub async fn fill(url: &str, calls: u64) -> Result<(), tokio_postgres::Error> {
    let first = connect(url).await?;
    first.batch_execute(SENTENCES).await?;
    let mut later = Vec::new();
    for row in first.query(MADE_LATER, &[]).await? {
        first.batch_execute(row.get(0)).await?;
        later.push(row.get::<_, String>(1));
    }

    let now = first.query_one("SELECT now()::TEXT", &[]).await?.get::<_, String>(0);
    let share = calls.div_ceil(FILLERS);
    let parts = (0..FILLERS).map(async |part| {
        let client = connect(url).await?;
        let (from, to) = (part * share + 1, calls.min((part + 1) * share));
        for statement in [CALLS, SAID, DOCUMENTS] {
            let statement = statement
                .replace("$now", &format!("TIMESTAMPTZ '{now}'"))
                .replace("$calls", &calls.to_string())
                .replace("$first", &from.to_string())
                .replace("$last", &to.to_string());
            client.batch_execute(&statement).await?;
        }
        Ok::<(), tokio_postgres::Error>(())
    });
    futures_util::future::try_join_all(parts).await?;

    // The words take as long as all the rest; what refers to something comes after it.
    let (words, mut rest): (Vec<_>, Vec<_>) = later.into_iter().partition(|made| made.contains("USING gin"));
    rest.sort_by_key(|made| made.contains("FOREIGN KEY"));
    let second = connect(url).await?;
    let build = async |client: &Client, statements: Vec<String>| {
        for statement in statements {
            client.batch_execute(&statement).await?;
        }
        Ok::<(), tokio_postgres::Error>(())
    };
    futures_util::future::try_join(build(&first, words), build(&second, rest)).await?;

    first
        .batch_execute("DROP FUNCTION sentence; DROP AGGREGATE together(TSVECTOR); DROP TABLE sentences")
        .await?;
    first.batch_execute("VACUUM (ANALYZE)").await
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(
            "SET synchronous_commit = off; SET maintenance_work_mem = '1GB'; SET work_mem = '64MB'",
        )
        .await?;
    Ok(client)
}
