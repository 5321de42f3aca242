//! Text messages in a storm: when the next one may go, and one text for several alerts.

use super::{Millis, Rule, Severity};

/// A number gets one text message within this time, and one more for the first critical alert.
pub const PAUSE: Millis = 60 * 1_000;
/// Characters of three parts of a text message.
pub const LONGEST: usize = 459;

/// Room for `, and 99 more. Over: and 99 more. ` behind a name.
const RESERVE: usize = 36;

/// When text messages went to a number.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pause: Millis,
    last: Option<Millis>,
    last_critical: Option<Millis>,
}

impl Pace {
    pub const fn new(pause: Millis) -> Self {
        Self { pause, last: None, last_critical: None }
    }

    /// From when on the next message may go. A critical one waits only for another critical one.
    pub fn due(&self, is_critical: bool) -> Millis {
        let last = if is_critical { self.last_critical } else { self.last };
        last.map_or(0, |at| at.saturating_add(self.pause))
    }

    /// A message went out, or may have.
    pub fn sent(&mut self, is_critical: bool, now: Millis) {
        self.last = Some(now);
        if is_critical {
            self.last_critical = Some(now);
        }
    }
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    Bad(Severity),
    Over,
}

/// One alert of several that are told together.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    pub rule: &'static Rule,
    pub id: &'a str,
    pub is: Is,
}

/// The place of the worst: the highest severity, and the first of several. A state goes before a figure,
/// because a state names a cause and a figure shows its effect. None: all are over.
pub fn worst(items: &[Item<'_>]) -> Option<usize> {
    let gravity = |item: &Item<'_>| match item.is {
        Is::Bad(severity) => Some((severity, item.rule.unit.is_empty())),
        Is::Over => None,
    };
    let all = items.iter().enumerate().rev();
    let bad = all.filter_map(|(index, item)| Some((gravity(item)?, index)));
    bad.max_by_key(|(gravity, _)| *gravity).map(|(_, index)| index)
}

/// One text for several alerts of an instance, in at most three parts of a text message. The identifier is
/// that of the worst.
pub fn summary(items: &[Item<'_>], instance: &str) -> String {
    let names = |is_listed: &dyn Fn(usize, &Item<'_>) -> bool| -> Vec<&str> {
        let listed = items.iter().enumerate().filter(|(index, item)| is_listed(*index, item));
        listed.map(|(_, item)| item.rule.name).collect()
    };
    let over = names(&|_, item| item.is == Is::Over);
    let end = "See /api/alerts.";
    let Some(worst) = worst(items) else {
        let head = format!("Switchboard OK: {} alerts are over on {instance}:", over.len());
        return listed(&[(&head, &over)], end);
    };
    let also = names(&|index, item| index != worst && item.is != Is::Over);
    let Item { rule, id, is } = items[worst];
    let severity = if is == Is::Bad(Severity::Critical) { "CRITICAL" } else { "WARNING" };
    let alerts = if also.is_empty() { "1 alert".to_owned() } else { format!("{} alerts", also.len() + 1) };
    let head =
        format!("Switchboard: {alerts}, worst: {} on {instance} ({severity}). {}", rule.name, rule.text);
    let head = if also.is_empty() { head } else { format!("{head} Also:") };
    listed(&[(&head, &also), (" Over:", &over)], &format!("{end} ID {id}"))
}

/// Heads, each with its list, and the end. Names that find no room are counted. A head without a list stands
/// only at the beginning.
fn listed(parts: &[(&str, &[&str])], end: &str) -> String {
    let mut text = String::new();
    for (index, (head, names)) in parts.iter().enumerate() {
        if names.is_empty() && index > 0 {
            continue;
        }
        text += head;
        for (told, name) in names.iter().enumerate() {
            let left = names.len() - told;
            if text.len() + name.len() + RESERVE + end.len() > LONGEST {
                text = format!("{} and {left} more.", text.trim_end_matches(','));
                break;
            }
            text = format!("{text} {name}{}", if left == 1 { "." } else { "," });
        }
    }
    format!("{text} {end}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alerts::{RULES, position};

    const CRITICAL: Is = Is::Bad(Severity::Critical);

    fn item(name: &str, is: Is) -> Item<'static> {
        Item { rule: &RULES[position(name).unwrap()], id: "0a1", is }
    }

    #[test]
    fn many_alerts_of_one_moment_are_one_text_that_names_the_worst() {
        let items = [
            item("api-errors", CRITICAL),
            item("webhook-errors", CRITICAL),
            item("database-unavailable", CRITICAL),
            item("memory", Is::Over),
        ];
        assert_eq!(
            summary(&items, "a:8080"),
            "Switchboard: 3 alerts, worst: database-unavailable on a:8080 (CRITICAL). PostgreSQL does not \
             answer. Calls go on, and records wait on disk. Also: api-errors, webhook-errors. Over: memory. \
             See /api/alerts. ID 0a1"
        );
    }

    #[test]
    fn an_alert_beside_the_end_of_another_is_one_alert() {
        let items = [item("memory", CRITICAL), item("api-errors", Is::Over)];
        let text = summary(&items, "a");
        assert!(
            text.starts_with("Switchboard: 1 alert, worst: memory on a (CRITICAL). The process"),
            "{text}"
        );
        assert!(text.ends_with(" Over: api-errors. See /api/alerts. ID 0a1"), "{text}");
    }

    #[test]
    fn several_ends_are_one_text() {
        let items = [item("memory", Is::Over), item("api-errors", Is::Over)];
        let text = summary(&items, "a");
        assert_eq!(text, "Switchboard OK: 2 alerts are over on a: memory, api-errors. See /api/alerts.");
    }

    #[test]
    fn a_number_gets_one_message_a_minute_and_the_first_critical_one_at_once() {
        let mut pace = Pace::new(PAUSE);
        assert_eq!((pace.due(true), pace.due(false)), (0, 0));
        pace.sent(false, 1_000);
        assert_eq!(
            (pace.due(true), pace.due(false)),
            (0, 61_000),
            "the end of an alert delays no critical one"
        );
        pace.sent(true, 5_000);
        assert_eq!((pace.due(true), pace.due(false)), (65_000, 65_000));
        pace.sent(false, 65_000);
        assert_eq!((pace.due(true), pace.due(false)), (65_000, 125_000));
    }

    proptest! {
        #[test]
        fn a_summary_fits_into_three_parts_and_tells_of_every_alert(
            chosen in prop::collection::vec((0..RULES.len(), 0..3_u8), 1..45),
            instance in "[a-z0-9:.-]{1,64}",
        ) {
            let is = |kind| match kind { 0 => CRITICAL, 1 => Is::Bad(Severity::Warning), _ => Is::Over };
            let items: Vec<_> = chosen
                .iter()
                .map(|(rule, kind)| Item { rule: &RULES[*rule], id: "019ad5f2c8e6b1f0a94d3c27e51", is: is(*kind) })
                .collect();
            let text = summary(&items, &instance);
            prop_assert!(text.is_ascii() && text.len() <= LONGEST, "{} {text}", text.len());
            let more: usize = text
                .split(" and ")
                .filter_map(|rest| rest.split_once(" more.")?.0.parse::<usize>().ok())
                .sum();
            let named = items.iter().filter(|item| text.contains(item.rule.name)).count();
            prop_assert!(named + more >= items.len(), "{text}");
        }
    }
}
