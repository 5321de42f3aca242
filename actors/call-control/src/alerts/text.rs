//! What a person reads of an alert. No text holds a caller's number or a word that a caller said.

use super::{Rule, Severity, Turn, Watch};

/// They end also because nothing was tried any more: no success is known then.
const AGES_OUT: [&str; 2] = ["realtime-unreachable", "realtime-responses-fail"];

/// What happened, on which instance, and what to do: one line in ASCII, for a text message and for a webhook.
pub fn notice(rule: &Rule, turn: Turn, severity: Severity, value: Option<f64>, instance: &str) -> String {
    let how = match turn {
        Turn::Cleared => "OK".to_owned(),
        Turn::Repeat => format!("still {}", severity.as_str().to_uppercase()),
        _ => severity.as_str().to_uppercase(),
    };
    let head = format!("Switchboard {how}: {} on {instance}.", rule.name);
    match turn {
        Turn::Cleared if AGES_OUT.contains(&rule.name) => format!("{head} No longer seen."),
        Turn::Cleared => format!("{head} It is over."),
        _ => format!("{head} {}{} {}", rule.text, shown(rule, value), rule.remedy),
    }
}

/// A notice with the identifier of its alert. The alert is acknowledged by it. A person who gets the notice
/// twice sees by it that there is one alert.
pub fn with_id(notice: &str, id: &str) -> String {
    format!("{notice} ID {id}")
}

/// The value in its unit, as a sentence after a blank; nothing of a state, or of a value that is not known.
fn shown(rule: &Rule, value: Option<f64>) -> String {
    let is_shown = |value: &f64| value.is_finite() && !rule.unit.is_empty();
    let Some(value) = value.filter(is_shown) else { return String::new() };
    let digits = usize::from(value.abs() < 10.0 && value.fract() != 0.0);
    format!(" Now {value:.digits$} {}.", rule.unit)
}

/// What a rule looks at, for a table.
pub fn watched(rule: &Rule) -> String {
    let over = match rule.watch {
        Watch::Level(_) | Watch::Percent(..) => "lasting",
        Watch::Growth(_) | Watch::Share { .. } | Watch::P95 { .. } => "in",
    };
    format!("{over} {} s", rule.window / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::digest::LONGEST;
    use crate::alerts::{RULES, position};

    fn of(name: &str) -> &'static Rule {
        &RULES[position(name).unwrap()]
    }

    #[test]
    fn a_notice_says_what_where_how_much_and_what_to_do() {
        let memory = of("memory");
        assert_eq!(
            notice(memory, Turn::Raised, Severity::Warning, Some(71.6), "a:8080"),
            "Switchboard WARNING: memory on a:8080. The process uses much of the memory that it may have. \
             Now 72 %. If another instance takes calls, drain this one with `switchboard ops drain`; raise the limit."
        );
        let said = notice(memory, Turn::Repeat, Severity::Critical, None, "a");
        assert!(said.starts_with("Switchboard still CRITICAL: memory on a. The process"), "{said}");
        let over = notice(memory, Turn::Cleared, Severity::Critical, Some(1.0), "a");
        assert_eq!(over, "Switchboard OK: memory on a. It is over.");
        let few = notice(memory, Turn::Repeat, Severity::Critical, Some(f64::INFINITY), "a");
        assert!(!few.contains("Now"), "{few}");
        let unseen = notice(of("realtime-unreachable"), Turn::Cleared, Severity::Critical, None, "a");
        assert_eq!(unseen, "Switchboard OK: realtime-unreachable on a. No longer seen.");
        let state = notice(of("redis-away"), Turn::Raised, Severity::Warning, Some(1.0), "a");
        assert!(!state.contains("Now"), "{state}");
    }

    #[test]
    fn every_notice_fits_into_three_parts_of_a_text_message() {
        for rule in RULES {
            let longest = notice(rule, Turn::Repeat, Severity::Critical, Some(123_456.0), &"i".repeat(64));
            let longest = with_id(&longest, &"0".repeat(27));
            assert!(longest.is_ascii() && longest.len() <= LONGEST, "{}: {longest}", rule.name);
        }
    }
}
