//! Which route needs what: the one table.

use actors::access::Scope;

/// What a client must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Anybody may ask.
    Nothing,
    /// Whoever is known.
    Login,
    Scope(Scope),
}

/// The need of each route below `/api`, but for Twilio's, by its pattern in the list of routes.
pub const NEEDS: [(&str, Need); 33] = [
    ("/api/auth/login", Need::Nothing),
    ("/api/auth/logout", Need::Nothing),
    ("/api/auth/me", Need::Login),
    ("/api/call-monitor", Need::Scope(Scope::Monitor)),
    ("/api/call-logs", Need::Scope(Scope::Logs)),
    ("/api/call-logs.csv", Need::Scope(Scope::Logs)),
    ("/api/call-logs/{callSid}", Need::Scope(Scope::Logs)),
    ("/api/call-logs/{callSid}/voicemail/listened", Need::Scope(Scope::Operate)),
    ("/api/ops/status", Need::Scope(Scope::Monitor)),
    ("/api/ops/calls/{callSid}/hang-up", Need::Scope(Scope::Operate)),
    ("/api/ops/calls/{callSid}/transfer", Need::Scope(Scope::Operate)),
    ("/api/ops/drain", Need::Scope(Scope::Admin)),
    ("/api/ops/resume", Need::Scope(Scope::Admin)),
    ("/api/ops/pool", Need::Scope(Scope::Admin)),
    ("/api/ops/jobs", Need::Scope(Scope::Admin)),
    ("/api/ops/jobs/{name}/pause", Need::Scope(Scope::Admin)),
    ("/api/ops/jobs/{name}/resume", Need::Scope(Scope::Admin)),
    ("/api/ops/jobs/{name}/run", Need::Scope(Scope::Admin)),
    ("/api/ops/idle-transactions", Need::Scope(Scope::Admin)),
    ("/api/ops/idle-transactions/kill", Need::Scope(Scope::Admin)),
    ("/api/ops/slow-queries", Need::Scope(Scope::Admin)),
    ("/api/ops/webhooks", Need::Scope(Scope::Admin)),
    ("/api/ops/webhooks/retry", Need::Scope(Scope::Admin)),
    ("/api/ops/log-level", Need::Scope(Scope::Admin)),
    ("/api/alerts", Need::Scope(Scope::Monitor)),
    ("/api/alerts/{id}/acknowledge", Need::Scope(Scope::Operate)),
    ("/api/inbox", Need::Scope(Scope::Logs)),
    ("/api/inbox/{id}/done", Need::Scope(Scope::Operate)),
    ("/api/inbox/{id}/reopen", Need::Scope(Scope::Operate)),
    ("/api/inbox/{id}/recording", Need::Scope(Scope::Logs)),
    ("/api/audit", Need::Scope(Scope::Admin)),
    ("/api/openapi.json", Need::Nothing),
    ("/api/docs", Need::Nothing),
];

/// What a path that leads nowhere tells is for whoever is known. A route that is not in the table is for
/// nobody but an administrator.
pub fn need(pattern: Option<&str>) -> Need {
    let Some(pattern) = pattern else { return Need::Login };
    let found = NEEDS.iter().find(|(known, _)| *known == pattern);
    found.map_or(Need::Scope(Scope::Admin), |(_, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_list_that_is_not_twilios_is_in_the_table() {
        let list = include_str!("../mod.rs");
        let (_, api) = list.split_once("web::scope(\"/api\")").expect("the list");
        let (api, _) = api.split_once(";\n").expect("its end");
        let paths = api.split("(\"/").skip(1).map(|rest| rest.split_once('"').expect("a path").0);
        let listed: Vec<_> = paths.map(|path| format!("/api/{path}")).collect();
        assert_eq!(listed.len(), NEEDS.len(), "{listed:?}");
        for path in listed {
            assert!(NEEDS.iter().any(|(known, _)| *known == path), "{path}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_open_to_nobody_by_mistake() {
        assert_eq!(need(Some("/api/new")), Need::Scope(Scope::Admin));
        assert_eq!(need(None), Need::Login);
    }
}
