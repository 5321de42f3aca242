//! What becomes of sessions and of the audit after their time.

use actors::jobs::{Job as _, Progress, Prune, Retentions};

use super::db;
use crate::support::postgres::TestDatabase;

#[actix_rt::test]
async fn sessions_that_expired_over_a_day_ago_and_an_old_audit_are_deleted() {
    let database = TestDatabase::create().await;
    let db = db(&database.url, "here");
    database
        .query(
            "INSERT INTO users (name, password_hash, role) VALUES ('anna', 'hash', 'admin');
            INSERT INTO sessions (key_hash, user_id, expires_at, client)
                SELECT sha256(hours::text::bytea), users.id, now() - hours * interval '1 hour', hours
                FROM users, unnest(ARRAY[-1, 23, 25]) AS hours;
            INSERT INTO sessions (key_hash, user_id, expires_at)
                SELECT sha256(('old' || n)::bytea), users.id, now() - interval '2 days'
                FROM users, generate_series(1, 1500) AS n;
            INSERT INTO audit (at, who, action, outcome)
                SELECT now() - age * interval '1 day', 'nobody', age, 'ok' FROM unnest(ARRAY[0, 49, 51]) AS age",
        )
        .await;
    for (audit_days, audit) in [(None, &["0", "49", "51"][..]), (Some(50), &["0", "49"])] {
        let job = Prune { db: db.operations(), keep: Retentions { audit_days, ..Retentions::default() } };
        assert_eq!(job.run().await, Ok(Progress::Done));
        let sessions = "SELECT client FROM sessions ORDER BY expires_at DESC";
        assert_eq!(database.query(sessions).await, ["-1", "23"]);
        assert_eq!(database.query("SELECT action FROM audit ORDER BY at DESC").await, audit);
    }
}
