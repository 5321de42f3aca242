//! What helps with each cause and warning.

/// What to do first; empty for a name that this version does not know.
pub(super) fn advice(name: &str) -> &'static str {
    match name {
        "database-unavailable" | "database-read-only" => {
            "calls go on; repair the database, and watch `spool` go to 0 after it"
        }
        "records-wait" => "`switchboard ops slow-queries`, `switchboard ops idle-transactions`",
        "realtime-refused" => "correct the key, quota, voice or model; the log names the setting",
        "realtime-unreachable" | "realtime-responses-fail" => {
            "look at the network and OpenAI's status page; callers reach the human fallback"
        }
        "records-set-aside" => "read the log line `a refused record is set aside`, and remove its cause",
        "webhooks-refused" => "a grant or the `search_path` is missing; `switchboard ops webhooks`",
        "full-house" => "raise MAX_CONCURRENT_CALLS, or start another instance",
        "agent-file-not-used" => "read the log lines that name `place` or `setting`; save the file again",
        "redis-away" => "repair Redis; this process counts requests by itself",
        "certificate-not-used" => "read the log line that names `setting`; put the right pair in place",
        "certificate-ends-soon" => "renew the certificate; the files are read again by themselves",
        "twilio-validation-bypassed" => "unset BYPASS_TWILIO_VALIDATION, and restart",
        "api-auth-off" => "fine on one machine; otherwise set API_AUTH=required, and restart",
        "no-users" => "`switchboard user add NAME --role admin`",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use actors::health::{CAUSES, WARNINGS};

    use super::*;

    #[test]
    fn there_is_advice_for_every_cause_and_warning() {
        for name in CAUSES.into_iter().chain(WARNINGS) {
            assert!(!advice(name).is_empty(), "{name}");
        }
        assert_eq!(advice("new"), "");
    }
}
