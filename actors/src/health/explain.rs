//! What a cause or a warning of the health means, and what helps: one text for the log, `/healthz`, the page
//! and the alerts.

use call_control::alerts::{RULES, Rule};
use serde::Serialize;
use utoipa::ToSchema;

use super::State;

/// What a person reads of a cause or a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// The name of the cause or warning.
    pub name: &'static str,
    pub meaning: &'static str,
    /// What helps.
    pub remedy: &'static str,
    #[serde(skip)]
    pub is_critical: bool,
}

/// Settings and states that no alert judges.
const OTHERS: [Explanation; 3] = [
    Explanation {
        name: "twilio-validation-bypassed",
        meaning: "Webhooks and streams are believed without Twilio's signature.",
        remedy: "Unset `BYPASS_TWILIO_VALIDATION`, and restart.",
        is_critical: false,
    },
    Explanation {
        name: "api-auth-off",
        meaning: "Whoever sits at this machine reads calls and transcripts without a login.",
        remedy: "Set `API_AUTH=required`, and restart.",
        is_critical: false,
    },
    Explanation {
        name: "no-users",
        meaning: "Nobody can log in.",
        remedy: "Add the first user with `switchboard user add NAME --role admin`.",
        is_critical: false,
    },
];
/// The alert of another name that judges the same.
const SYNONYMS: [(&str, &str); 1] = [("full-house", "ceiling-reached")];
/// The log says these at the start, or with lines of their own.
const SAID_ELSEWHERE: [&str; 4] = ["full-house", "twilio-validation-bypassed", "api-auth-off", "no-users"];

/// What a cause or warning means. None: there is none of this name.
pub fn explain(name: &str) -> Option<Explanation> {
    if let Some(known) = OTHERS.iter().find(|known| known.name == name) {
        return Some(*known);
    }
    let name = *super::CAUSES.iter().chain(&super::WARNINGS).find(|known| **known == name)?;
    let synonym = SYNONYMS.iter().find(|(known, _)| *known == name);
    let rule = synonym.map_or(name, |(_, rule)| *rule);
    let rule: &Rule = RULES.iter().find(|known| known.name == rule)?;
    let is_critical = rule.levels.warning == rule.levels.critical;
    Some(Explanation { name, meaning: rule.text, remedy: rule.remedy, is_critical })
}

/// What the log has to say of a change of the health.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Causes and warnings that were not there before.
    pub begun: Vec<Explanation>,
    /// Those that are gone.
    pub over: Vec<&'static str>,
}

/// What has changed since `before`; none at the start.
pub fn news(before: Option<&State>, now: &State) -> News {
    let all = |state: &State| -> Vec<&'static str> {
        let names = state.causes.iter().chain(&state.warnings).copied();
        names.filter(|name| !SAID_ELSEWHERE.contains(name)).collect()
    };
    let (before, now) = (before.map(all).unwrap_or_default(), all(now));
    let begun = now.iter().filter(|name| !before.contains(name)).filter_map(|name| explain(name));
    News { begun: begun.collect(), over: before.into_iter().filter(|name| !now.contains(name)).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::{CAUSES, Database, WARNINGS};
    use super::*;

    fn state(causes: &[&'static str], warnings: &[&'static str]) -> State {
        State {
            status: "degraded",
            database: Database::Healthy,
            realtime_fails: false,
            causes: causes.to_vec(),
            warnings: warnings.to_vec(),
        }
    }

    #[test]
    fn every_cause_and_warning_is_explained_with_what_helps() {
        for name in CAUSES.into_iter().chain(WARNINGS) {
            let explained = explain(name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(explained.name, name);
            assert!(explained.meaning.ends_with('.') && explained.remedy.ends_with('.'), "{explained:?}");
        }
        assert_eq!(explain("memory"), None, "an alert, and no state of health");
        let is_critical = |name| explain(name).unwrap().is_critical;
        assert!(is_critical("database-unavailable") && !is_critical("redis-away"));
    }

    #[test]
    fn a_cause_is_news_when_it_comes_and_when_it_goes_and_not_between() {
        let names = |news: &News| news.begun.iter().map(|begun| begun.name).collect::<Vec<_>>();
        let away = state(&["database-unavailable"], &["redis-away", "api-auth-off"]);
        let first = news(None, &away);
        assert_eq!(names(&first), ["database-unavailable", "redis-away"], "a setting is said at the start");
        assert_eq!(news(Some(&away), &away), News::default());
        let next = news(Some(&away), &state(&["records-wait"], &["redis-away"]));
        assert_eq!((names(&next), next.over), (vec!["records-wait"], vec!["database-unavailable"]));
    }
}
