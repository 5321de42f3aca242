//! How the lines are shown: for a person, and as JSON.

use serde_json::{Value, json};

use super::{Level, Line, worst};
use crate::settings::Fault;

/// Lines for a person: what was seen, and below it how to mend it.
pub fn text(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Line { name, level, seen, remedy } in lines {
        text += &format!("{}  {name:<width$}  {seen}\n", level.as_str());
        if let Some(remedy) = remedy {
            text += &format!("      {:<width$}  -> {remedy}\n", "");
        }
    }
    let count = |level| lines.iter().filter(|line| line.level == level).count();
    let [passed, warned, failed] = [Level::Pass, Level::Warn, Level::Fail].map(count);
    text + &format!("{} lines: {passed} pass, {warned} warn, {failed} fail\n", lines.len())
}

/// The same for a program.
pub fn json(lines: &[Line]) -> Value {
    json!({"level": worst(lines), "lines": lines})
}

/// Settings that cannot be read, in the shape of lines.
pub fn faults<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> Value {
    let line = |Fault { name, wrong, remedy }: &Fault| json!({"name": name, "level": Level::Fail, "seen": wrong, "remedy": remedy});
    json!({"level": Level::Fail, "lines": faults.into_iter().map(line).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_read_have_the_shape_of_lines() {
        let fault =
            |name: &str| Fault { name: name.to_owned(), wrong: "is odd".into(), remedy: "mend it".into() };
        assert_eq!(
            faults(&[fault("PORT")]),
            json!({"level": "fail", "lines": [
                {"name": "PORT", "level": "fail", "seen": "is odd", "remedy": "mend it"},
            ]})
        );
    }

    #[test]
    fn a_person_sees_each_line_with_its_remedy_and_the_sum() {
        let lines = [Line::pass("a", "fine"), Line::fail("long", "bad", "mend it")];
        assert_eq!(
            text(&lines),
            "pass  a     fine\nfail  long  bad\n            -> mend it\n2 lines: 1 pass, 0 warn, 1 fail\n"
        );
    }

    #[test]
    fn a_program_gets_the_worst_level_and_null_where_nothing_is_to_be_mended() {
        let lines = [Line::pass("a", "fine"), Line::warn("b", "so so", "look")];
        assert_eq!(
            json(&lines),
            json!({"level": "warn", "lines": [
                {"name": "a", "level": "pass", "seen": "fine", "remedy": null},
                {"name": "b", "level": "warn", "seen": "so so", "remedy": "look"},
            ]})
        );
        assert_eq!(worst(&lines).exit_status(), 1);
        assert_eq!([Level::Pass, Level::Warn, Level::Fail].map(Level::exit_status), [0, 1, 2]);
    }
}
