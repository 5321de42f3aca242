//! `switchboard ops status`: the whole picture of a process on one screen.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use awc::http::Method;
use chrono::Utc;
use clap::Args;
use serde_json::Value;
use tokio::time::timeout;

use self::screen::screen;
use super::server::{Answer, Server, Way, clean};
use crate::cli::{FAILED, FINE, USAGE};

mod screen;

/// How often the picture is drawn anew.
const EVERY: Duration = Duration::from_secs(2);
/// For the second request, so that the command ends within half a minute.
const HEALTH_WITHIN: Duration = Duration::from_secs(8);
/// What the API says where something that it needs is away.
const AWAY: &str = "temporarily unavailable";
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Debug, Args)]
pub struct Arguments {
    /// Show it anew every 2 s, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    server: Server,
}

pub fn run(Arguments { watch, server }: &Arguments) -> u8 {
    let way = match server.way() {
        Ok(way) => way,
        Err(wrong) => {
            eprintln!("switchboard ops status: {wrong}");
            return USAGE;
        }
    };
    actix_rt::System::new().block_on(async {
        if *watch { follow(&way, server.json).await } else { once(&way, server.json).await }
    })
}

async fn once(way: &Way, json: bool) -> u8 {
    match picture(way, json).await {
        Ok(text) => {
            if show(&text).is_err() {
                return FAILED;
            }
            FINE
        }
        Err(wrong) => {
            eprintln!("switchboard ops status: {wrong}");
            FAILED
        }
    }
}

/// Until nobody reads any more.
async fn follow(way: &Way, json: bool) -> u8 {
    let clear = if !json && std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let text = match picture(way, json).await {
            Ok(text) => text,
            Err(wrong) => format!("{} {wrong}", Utc::now().format("%T")),
        };
        if show(&format!("{clear}{text}")).is_err() {
            return FINE;
        }
        actix_rt::time::sleep(EVERY).await;
    }
}

fn show(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

/// The text of the picture; of what everybody may see if the token may not see more, or cannot be looked up.
async fn picture(way: &Way, json: bool) -> Result<String, String> {
    let Answer { status, body } = way.ask(Method::GET, "/api/ops/status", None).await?;
    match status {
        200 => Ok(text(&body, json, "")),
        401 | 403 | 503 => {
            let health = timeout(HEALTH_WITHIN, way.ask(Method::GET, "/healthz", None)).await;
            let health =
                health.map_err(|_| format!("/healthz does not answer within {HEALTH_WITHIN:?}"))??;
            if !health.is_fine() {
                return Err(health.refusal());
            }
            let more = format!("\n\n{}", lacking(&Answer { status, body }));
            Ok(text(&serde_json::json!({"health": health.body}), json, &more))
        }
        _ => Err(Answer { status, body }.refusal()),
    }
}

/// Why the picture is not whole.
fn lacking(refused: &Answer) -> &str {
    match (refused.status, refused.body["detail"].as_str()) {
        (503, Some(detail)) if detail != AWAY => detail,
        (503, _) => "the token cannot be looked up now: the database does not answer",
        _ => "more with a token that has the scope `monitor` (--token or SWITCHBOARD_TOKEN)",
    }
}

fn text(picture: &Value, json: bool, more: &str) -> String {
    if json { picture.to_string() } else { format!("{}{more}", clean(&screen(picture))) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_picture_that_is_not_whole_says_whether_a_token_or_the_database_is_missing() {
        let said =
            |status, detail: &str| lacking(&Answer { status, body: json!({"detail": detail}) }).to_owned();
        assert!(said(401, "log in to use this").starts_with("more with a token"));
        assert!(said(403, "this needs the scope `monitor`").starts_with("more with a token"));
        let away = "the token cannot be looked up now: the database does not answer";
        assert_eq!(said(503, "temporarily unavailable"), away);
        assert_eq!(said(503, "too many ask at once"), "too many ask at once");
    }
}
