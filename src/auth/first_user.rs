//! Says how the first user is added, while there is none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::web::Data;

use crate::app::App;
use crate::http::settings::ApiAuth;

/// How often is looked while nobody can log in, or nothing is known.
const SOON: Duration = Duration::from_secs(5);
/// How often is looked while somebody can.
const LATER: Duration = Duration::from_secs(60);

/// Looks now and then whether anybody can log in, as long as the process lives. A database that is away
/// changes nothing about what was known before.
pub async fn watch(app: Data<App>) {
    if app.settings.http.api_auth == ApiAuth::Off {
        return;
    }
    let mut was_said = false;
    loop {
        let count = app.db.accounts().user_count().await;
        let pause = match count {
            Ok(0) => {
                app.has_no_users.store(true, Ordering::Relaxed);
                if !was_said {
                    tracing::warn!(
                        "nobody can log in: add the first user with `switchboard user add NAME --role admin`"
                    );
                    was_said = true;
                }
                SOON
            }
            Ok(_) => {
                app.has_no_users.store(false, Ordering::Relaxed);
                LATER
            }
            Err(error) => {
                tracing::debug!(%error, "it is not known whether anybody can log in");
                SOON
            }
        };
        actix_rt::time::sleep(pause).await;
    }
}
