//! What a query through our connection type costs, beside the same one through plain tokio-postgres in the
//! same run.
//!
//! Both ask a private PostgreSQL over a unix socket, in turns, so that whatever else happens on the machine
//! falls on both alike. Plain is `query_typed`: like ours one flight with an unnamed statement, so that it
//! works behind a transaction pooler. Ours also builds the statement with diesel, and reads its rows with it.
//! With a limit, the server is told in the same flight after how long to give up.
//!
//! `cargo bench --bench query`. The aim is that ours with a limit, which is what the program pays, costs at
//! most 20 % more. Without `--bench`, as under `cargo test`, nothing is measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use actors::db::{Connection, migrate};
use clap::Parser;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use switchboard::private_postgres::PrivatePostgres;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use figures::{Asked, Figures};

#[path = "support/figures.rs"]
mod figures;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as the program has it

/// Of turns, for each query.
const ROUNDS: usize = 200;
/// Queries in a turn.
const QUERIES: u32 = 50;
/// Ours with a limit over plain.
const AIM: f64 = 1.2;
/// As the program sets it for its questions.
const LIMIT: Duration = Duration::from_secs(6);

diesel::table! {
    turns (call_sid, ordinal) {
        call_sid -> Text,
        ordinal -> Integer,
        speaker -> Text,
        text -> Text,
    }
}

/// The rows of a turn as both read them.
type Turn = (i32, String, String);

const CALL: &str = "CA00000000000000000000000000000001";
const SQL: &str =
    "SELECT ordinal, speaker, text FROM turns WHERE call_sid = $1 AND ordinal <= $2 ORDER BY ordinal";

async fn plain(client: &Client, rows: i32) -> Vec<Turn> {
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&CALL, Type::TEXT), (&rows, Type::INT4)];
    let rows = client.query_typed(SQL, &parameters).await.expect("an answer");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn ours(connection: &mut Connection, rows: i32) -> Vec<Turn> {
    turns::table
        .select((turns::ordinal, turns::speaker, turns::text))
        .filter(turns::call_sid.eq(CALL))
        .filter(turns::ordinal.le(rows))
        .order(turns::ordinal)
        .load(connection)
        .await
        .expect("an answer")
}

/// Mean time of a query over a turn, in microseconds.
async fn turn(mut query: impl AsyncFnMut() -> Vec<Turn>) -> f64 {
    let begun = Instant::now();
    for _ in 0..QUERIES {
        black_box(query().await);
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(QUERIES)
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    asked: Asked,
}

async fn bench(asked: &Asked) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("switchboard-bench-").tempdir_in("/tmp")?;
    let cluster = PrivatePostgres::start(folder.path())?;
    migrate::migrate(cluster.url()).await?;
    let (client, driver) = tokio_postgres::connect(cluster.url(), NoTls).await?;
    tokio::spawn(driver);
    let fill = format!(
        "INSERT INTO turns (call_sid, epoch, ordinal, speaker, text, started_at) \
         SELECT '{CALL}', 1, n, 'agent', repeat('said ', 20), now() FROM generate_series(1, 50) n; ANALYZE turns"
    );
    client.batch_execute(&fill).await?;
    let mut connection = Connection::establish(cluster.url()).await?;
    let mut limited = Connection::establish(cluster.url()).await?;
    limited.limit(Some(LIMIT));

    let mut figures = Figures::of("query");
    for rows in [1, 50] {
        assert_eq!(plain(&client, rows).await, ours(&mut connection, rows).await);
        let mut times = [vec![], vec![], vec![]];
        for _ in 0..ROUNDS {
            times[0].push(turn(async || plain(&client, rows).await).await);
            times[1].push(turn(async || ours(&mut connection, rows).await).await);
            times[2].push(turn(async || ours(&mut limited, rows).await).await);
        }
        let [plain, ours, limited] = times;
        let over_plain = |times: &[f64]| times.iter().zip(&plain).map(|(time, plain)| time / plain).collect();
        let (ours_over, limited_over) = (over_plain(&ours), over_plain(&limited));
        let mut add = |name: &str, turns: Vec<f64>| figures.add(format!("{rows} rows: {name}"), turns);
        let (ratio, ratio_limited) =
            (add("ours over plain", ours_over), add("with a limit over plain", limited_over));
        println!(
            "query of {rows} rows, µs: plain {}, ours {}, with a limit {}; over plain: ours {ratio}, with a limit \
             {ratio_limited}, aim at most {AIM}: {}",
            add("plain, µs", plain),
            add("ours, µs", ours),
            add("with a limit, µs", limited),
            if ratio_limited.median <= AIM { "met" } else { "NOT met" }
        );
    }
    figures.finish(asked)
}

fn main() -> anyhow::Result<()> {
    let Arguments { asked } = Arguments::parse();
    if !asked.is_for("query") {
        return Ok(());
    }
    // One worker for the drivers, as the program has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(bench(&asked))
}
