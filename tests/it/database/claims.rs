//! Who tells a person of an alert, when the database is slow.

use std::time::Duration;

use futures_util::future::join3;

use super::start;
use crate::support::postgres::{TestDatabase, client};

#[actix_rt::test]
async fn a_slow_database_is_waited_for_so_that_one_of_two_instances_tells_a_person() {
    let database = TestDatabase::create().await;
    let (one, other) = (start(&database.url), start(&database.url));
    let slow = client(&database.url).await;
    slow.batch_execute("BEGIN; LOCK TABLE alert_notices").await.unwrap();
    let window = Duration::from_secs(840);
    let claim = |db: &actors::db::Db, instance: &'static str| {
        let log = db.accounts().alerts();
        async move { log.claim("api-response-time", "critical:sms", instance, window, window).await }
    };
    let freed = slow.batch_execute("SELECT pg_sleep(2.2); COMMIT");
    let (one, other, freed) = join3(claim(&one, "a"), claim(&other, "b"), freed).await;
    freed.unwrap();
    assert_ne!(one.unwrap(), other.unwrap());
}
