//! `switchboard ops alerts`, `acknowledge` and `test-alert`: what is wrong, who takes care of it, and whether
//! a person would hear of it.

use actors::alerts::{Notice, Way};
use actors::db::{AlertRow, BadUrl, DbError};
use chrono::Utc;
use clap::Args;

use crate::cli::accounts::{Deed, Done, act, print_json, time, who};
use crate::cli::shell::print_line;
use crate::cli::{FAILED, FINE, USAGE};
use crate::logging;
use crate::settings::{TestAlertSettings, environment};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only those that go on
    #[arg(long)]
    open: bool,
    /// How many alerts at most, 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct AcknowledgeArguments {
    /// The alert, by the ID of the list; every open alert of the same rule is acknowledged with it
    id: String,
}

/// Prints the alerts; the exit status.
pub async fn run(url: &str, arguments: Arguments) -> Result<Result<u8, DbError>, BadUrl> {
    let Arguments { open, limit, json } = arguments;
    act(url, Deed { action: "alerts-read", object: None }, async |accounts| {
        let rows = accounts.alerts().page(None, limit, open.then_some(true)).await?;
        if json {
            print_json(&rows)
        } else {
            rows.iter().for_each(|row| print_line(line(row)))
        }
        Ok(Done::Fine)
    })
    .await
}

pub async fn acknowledge(
    url: &str,
    AcknowledgeArguments { id }: AcknowledgeArguments,
) -> Result<Result<u8, DbError>, BadUrl> {
    let acknowledged = act(url, Deed { action: "alert-acknowledged", object: Some(&id) }, async |accounts| {
        let Some(row) = accounts.alerts().acknowledge(&id, &who()).await? else {
            return Ok(Done::Refused(format!("there is no alert with the ID {id:?}")));
        };
        print_line(line(&row));
        Ok(Done::Fine)
    });
    Ok(acknowledged.await?.map_err(with_the_way_out))
}

/// A process that serves takes an acknowledgement without the database; this command does not.
fn with_the_way_out(error: DbError) -> DbError {
    match error {
        DbError::Unavailable(said) => DbError::Unavailable(format!(
            "{said}; meanwhile, acknowledge on the dashboard or by `POST /api/alerts/ID/acknowledge`"
        )),
        error => error,
    }
}

/// One line.
fn line(row: &AlertRow) -> String {
    let AlertRow { id, rule, instance, severity, .. } = row;
    let state = match (row.cleared_at, &row.acknowledged_by) {
        (Some(at), _) => format!("cleared {}", time(at)),
        (None, Some(by)) => format!("open, acknowledged by {by}"),
        (None, None) => "open".to_owned(),
    };
    format!(
        "{id}  {}  {severity:<8}  {rule}  {instance}  {state}  told {}",
        time(row.raised_at),
        row.notifications
    )
}

/// Sends a test notice by every way; the exit status.
pub fn test() -> u8 {
    let settings = match TestAlertSettings::read(environment) {
        Ok(settings) => settings,
        Err(faults) => {
            eprintln!("switchboard ops cannot start: {faults}");
            return USAGE;
        }
    };
    logging::start(&settings.log);
    let ways = match Way::all(&settings.alerts, &settings.twilio, &settings.instance_id) {
        Ok(ways) => ways,
        Err(error) => {
            eprintln!("TWILIO_API_BASE_URL: {error}");
            return USAGE;
        }
    };
    if ways.is_empty() {
        eprintln!(
            "no way is configured: set URGENT_NOTIFICATION_NUMBER, with TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and \
             TWILIO_FROM_NUMBER, or ALERT_WEBHOOK_URL"
        );
        return USAGE;
    }
    actix_rt::System::new().block_on(send(&ways, &Notice::test(&settings.instance_id, Utc::now())))
}

async fn send(ways: &[Way], notice: &Notice) -> u8 {
    let mut status = FINE;
    for way in ways {
        match way.send(notice).await {
            Ok(()) => print_line(format_args!("{}: sent", way.name())),
            Err(error) => {
                print_line(format_args!("{}: not sent: {error}", way.name()));
                status = FAILED;
            }
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn who_cannot_acknowledge_without_the_database_hears_where_that_is_possible() {
        let told = with_the_way_out(DbError::Unavailable("refused".to_owned())).to_string();
        assert!(told.contains("refused; meanwhile, acknowledge on the dashboard"), "{told}");
        let refused = DbError::Refused("42501 denied".to_owned());
        assert_eq!(with_the_way_out(refused.clone()), refused);
    }

    #[test]
    fn a_line_says_whether_an_alert_goes_on_and_who_takes_care() {
        let mut row = AlertRow {
            id: "0a".to_owned(),
            rule: "memory".to_owned(),
            instance: "a:8080".to_owned(),
            severity: "warning".to_owned(),
            raised_at: DateTime::from_timestamp(0, 0).unwrap(),
            cleared_at: None,
            value: None,
            text: String::new(),
            acknowledged_at: None,
            acknowledged_by: None,
            notified_at: None,
            notifications: 1,
        };
        assert_eq!(line(&row), "0a  1970-01-01T00:00:00Z  warning   memory  a:8080  open  told 1");
        row.acknowledged_by = Some("cli:anna".to_owned());
        assert!(line(&row).contains("  open, acknowledged by cli:anna  "));
        row.cleared_at = DateTime::from_timestamp(60, 0);
        assert!(line(&row).contains("  cleared 1970-01-01T00:01:00Z  "));
    }
}
