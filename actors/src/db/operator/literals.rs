//! The text of a statement without what people have written into it: callers' numbers, names and words stand
//! in literals.

use std::iter::Peekable;
use std::str::Chars;

/// A longer text is cut.
const LONGEST: usize = 1_000;
/// What stands in place of a literal.
const LITERAL: char = '?';
/// So many digits may be a telephone number, also within a name.
const DIGITS: usize = 7;

/// The statement in one line: its literals are `?`, and its comments are gone. A text that ends within a
/// literal shows nothing of it.
pub(super) fn without_literals(sql: &str) -> String {
    let mut shown = Shown::default();
    let mut chars = sql.chars().peekable();
    while let Some(next) = chars.next() {
        match (next, chars.peek()) {
            ('-', Some('-')) => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                shown.space();
            }
            ('/', Some('*')) => {
                skip_comment(&mut chars);
                shown.space();
            }
            ('\'', _) => {
                skip_string(&mut chars, shown.is_after_escape_prefix());
                shown.push(LITERAL);
            }
            ('"', _) => {
                let mut name = String::from('"');
                while let Some(c) = chars.next_if(|c| *c != '"') {
                    name.push(c);
                }
                name.extend(chars.next());
                shown.name(&name);
            }
            ('$', Some(c)) if c.is_ascii_digit() => {
                let mut parameter = String::from('$');
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    parameter.push(digit);
                }
                shown.name(&parameter);
            }
            ('$', Some(c)) if *c == '$' || is_of_a_name(*c) => {
                skip_dollar_quoted(&mut chars);
                shown.push(LITERAL);
            }
            (c, _) if c.is_ascii_digit() => {
                while chars.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).is_some() {}
                shown.push(LITERAL);
            }
            (c, _) if is_of_a_name(c) => {
                let mut name = String::from(c);
                while let Some(c) = chars.next_if(|c| is_of_a_name(*c) || *c == '$') {
                    name.push(c);
                }
                shown.name(&name);
            }
            (c, _) if c.is_whitespace() => shown.space(),
            (c, _) => shown.push(c),
        }
    }
    shown.finish()
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Behind `/`: to the end of the comment, which may have others in it.
fn skip_comment(chars: &mut Peekable<Chars<'_>>) {
    let mut depth = 0_u32;
    let mut before = '/';
    for c in chars.by_ref() {
        let pair = (before, c);
        before = c;
        match pair {
            ('/', '*') => depth += 1,
            ('*', '/') => depth = depth.saturating_sub(1),
            _ => continue,
        }
        before = ' '; // of `/*/` only the first two begin a comment
        if depth == 0 {
            return;
        }
    }
}

/// Behind the first quote: to the end of the string.
fn skip_string(chars: &mut Peekable<Chars<'_>>, has_escapes: bool) {
    while let Some(c) = chars.next() {
        match c {
            '\\' if has_escapes => drop(chars.next()),
            '\'' if chars.next_if_eq(&'\'').is_none() => return,
            _ => {}
        }
    }
}

/// Behind `$`: to the end of what `$tag$` quotes, or to that of a name that quotes nothing.
fn skip_dollar_quoted(chars: &mut Peekable<Chars<'_>>) {
    let mut tag = String::from('$');
    while let Some(c) = chars.next_if(|c| is_of_a_name(*c)) {
        tag.push(c);
    }
    if chars.next_if_eq(&'$').is_none() {
        return;
    }
    tag.push('$');
    let mut seen = String::new();
    for c in chars.by_ref() {
        seen.push(c);
        if c == '$' && seen.ends_with(&tag) {
            return;
        }
    }
}

/// What is shown so far.
#[derive(Default)]
struct Shown {
    text: String,
    length: usize,
}

impl Shown {
    fn push(&mut self, c: char) {
        self.length += 1;
        if self.length <= LONGEST {
            self.text.push(if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
        }
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.push(' ');
        }
    }

    /// A name, unless it may be a telephone number.
    fn name(&mut self, name: &str) {
        if name.chars().filter(|c| c.is_numeric()).count() >= DIGITS {
            return self.push(LITERAL);
        }
        name.chars().for_each(|c| self.push(c));
    }

    /// A string that begins now has escapes with a backslash: `E'…'`.
    fn is_after_escape_prefix(&self) -> bool {
        let mut last = self.text.chars().rev();
        matches!(last.next(), Some('e' | 'E')) && !last.next().is_some_and(is_of_a_name)
    }

    fn finish(mut self) -> String {
        if self.length > LONGEST {
            self.text.push('…');
        }
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_statement_is_shown_without_literals_and_comments() {
        for (sql, shown) in [
            ("SELECT 1", "SELECT ?"),
            (
                "select * from calls\n  where from_number = '+14155550100'",
                "select * from calls where from_number = ?",
            ),
            ("SELECT 'it''s', E'it\\'s 5', e'\\\\', name'x'", "SELECT ?, E?, e?, name?"),
            ("SELECT $1, $12::text, t1.c2, 1.5e10, 0xff", "SELECT $1, $12::text, t1.c2, ?, ?"),
            ("SELECT $$a ' b$$, $x$ $$ $x$, 2", "SELECT ?, ?, ?"),
            ("SELECT 1 -- of +14155550100\n, 2 /* a /* b */ 'c */ FROM t", "SELECT ? , ? FROM t"),
            ("SELECT \"a col\", \"+1 415 555 0100\", n14155550100", "SELECT \"a col\", ?, ?"),
            ("SELECT 'cut off by the serv", "SELECT ?"),
            ("DO $$ cut off", "DO ?"),
            ("SELECT\u{1b}[2J", "SELECT\u{FFFD}[?"),
            ("", ""),
        ] {
            assert_eq!(without_literals(sql), shown, "{sql}");
        }
        let long = without_literals(&"a ".repeat(1_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (1_001, true));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_asked_no_number_and_no_quoted_word_is_shown(
            before in "[a-zA-Z_,(=$1-9 ]{0,12}", after in "[ ,;)a-z]{0,12}", word in "[0-9]{7,15}",
        ) {
            for literal in [format!("'+{word}'"), format!("E'\\'{word}'"), format!("$q$ {word} $q$"), word.clone()] {
                let shown = without_literals(&format!("{before} {literal}{after}"));
                prop_assert!(!shown.contains(&word), "{}", shown);
            }
        }

        #[test]
        fn any_text_at_all_is_one_line_without_seven_digits_in_a_row(text in "\\PC{0,60}|[-'\"$/*a0-9\n]{0,60}") {
            let shown = without_literals(&text);
            prop_assert!(!shown.contains('\n'));
            let digits = shown.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
            prop_assert!(digits < Some(DIGITS), "{}", shown);
        }
    }
}
