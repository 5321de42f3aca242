//! Levels that stand in for those of the table, as a setting gives them.

use super::rules::{RULES, position};
use crate::policy::thresholds::Levels;

/// Why a list of levels is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLevels {
    #[error("{0:?} is not the name of a rule")]
    UnknownRule(String),
    #[error("{0:?} is not a rule, `=`, and a warning and a critical level with `/` between them")]
    NoLevels(String),
    #[error("{0:?} has a warning level above the critical one, or a negative one")]
    Order(String),
}

/// Reads `memory=70/85,api-errors=2/10`: each rule's [`position`], and its levels. A level of `-` is never
/// reached.
///
/// # Errors
/// The first part that is wrong.
pub fn levels_of(text: &str) -> Result<Vec<(usize, Levels)>, BadLevels> {
    text.split(',').map(|part| one(part.trim())).collect()
}

fn one(part: &str) -> Result<(usize, Levels), BadLevels> {
    let wrong = || BadLevels::NoLevels(part.to_owned());
    let (name, levels) = part.split_once('=').ok_or_else(wrong)?;
    let position = position(name.trim()).ok_or_else(|| BadLevels::UnknownRule(name.trim().to_owned()))?;
    let (warning, critical) = levels.split_once('/').ok_or_else(wrong)?;
    let level = |text: &str| match text.trim() {
        "-" => Some(f64::INFINITY),
        text => text.parse().ok().filter(|level: &f64| level.is_finite()),
    };
    let critical = level(critical).ok_or_else(wrong)?;
    // Without a warning, it is critical at once.
    let warning = level(warning).ok_or_else(wrong)?;
    let warning = if warning.is_infinite() { critical } else { warning };
    if warning < 0.0 || critical < warning {
        return Err(BadLevels::Order(part.to_owned()));
    }
    debug_assert!(position < RULES.len());
    Ok((position, Levels { warning, critical }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_by_the_names_of_their_rules() {
        let at = |name| position(name).unwrap();
        assert_eq!(
            levels_of("memory=60/75.5, api-errors=2/-,spool-failing=-/3"),
            Ok(vec![
                (at("memory"), Levels::of(60.0, 75.5)),
                (at("api-errors"), Levels::warning(2.0)),
                (at("spool-failing"), Levels::critical(3.0)),
            ])
        );
    }

    #[test]
    fn levels_that_cannot_be_meant_are_refused() {
        for text in ["memory", "memory=70", "memory=a/b", "memory=70/nan", "memory=/85", ""] {
            assert!(matches!(levels_of(text), Err(BadLevels::NoLevels(_))), "{text}");
        }
        assert!(matches!(levels_of("memry=1/2"), Err(BadLevels::UnknownRule(_))));
        for text in ["memory=85/70", "memory=-1/5"] {
            assert!(matches!(levels_of(text), Err(BadLevels::Order(_))), "{text}");
        }
    }
}
