//! What separates words, in what was said and in what is looked for: anything but a letter or digit.
//!
//! PostgreSQL's own parser takes `Monday/Tuesday` for a path and `555-0100` for a number and its negative. So
//! all that separates is a space before the parser sees it. Which characters separate is listed here rather
//! than taken from the database, whose locale may know letters of ASCII only.

use std::fmt::Write as _;

/// From the first to the last of each, by code point.
const SEPARATORS: [(u32, u32); 39] = [
    (0x01, 0x2F), // ASCII
    (0x3A, 0x40),
    (0x5B, 0x60),
    (0x7B, 0xA9), // Latin-1
    (0xAB, 0xB4),
    (0xB6, 0xB9),
    (0xBB, 0xBF),
    (0xD7, 0xD7),
    (0xF7, 0xF7),
    (0x2C2, 0x2C5),
    (0x2D2, 0x2DF),
    (0x37E, 0x37E), // Greek
    (0x387, 0x387),
    (0x55A, 0x55F), // Armenian
    (0x589, 0x58A),
    (0x5BE, 0x5BE), // Hebrew
    (0x5F3, 0x5F4),
    (0x60C, 0x60C), // Arabic
    (0x61B, 0x61B),
    (0x61F, 0x61F),
    (0x66A, 0x66D),
    (0x6D4, 0x6D4),
    (0x964, 0x965),   // Devanagari
    (0x2000, 0x206F), // punctuation
    (0x20A0, 0x20CF), // currencies
    (0x2190, 0x2BFF), // arrows and symbols
    (0x3000, 0x3004), // CJK
    (0x3008, 0x3020),
    (0x3030, 0x3030),
    (0x303D, 0x303D),
    (0x30FB, 0x30FB),
    (0xFE10, 0xFE19),
    (0xFE30, 0xFE6F),
    (0xFF01, 0xFF0F), // full width
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF65),
    (0xFFFD, 0xFFFD),
    (0x1F000, 0x1FAFF), // pictures
];

/// The SQL of a text whose words are separated by spaces.
pub(super) fn separated(text: &str) -> String {
    format!("regexp_replace({text}, '{}', ' ', 'g')", class())
}

/// The separators as a regular expression of PostgreSQL.
fn class() -> String {
    let mut class = "[".to_owned();
    for (first, last) in SEPARATORS {
        let _ = write!(class, "\\U{first:08x}-\\U{last:08x}");
    }
    class + "]+"
}

fn separates(character: char) -> bool {
    let code = u32::from(character);
    code == 0 || SEPARATORS.iter().any(|(first, last)| (*first..=*last).contains(&code))
}

/// What is looked for, as `websearch_to_tsquery` reads it: words, `"a phrase"`, `or`, and `-` before what is
/// not to be there. What is written as one, such as `555-0100`, is a phrase.
pub(super) fn question(text: &str) -> String {
    let mut question = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (is_not, term) = match rest.strip_prefix('-') {
            Some(term) => (true, term),
            None => (false, rest),
        };
        let is_end = |character: char| character.is_whitespace() || character == '"';
        let (term, after) = match term.strip_prefix('"') {
            Some(phrase) => phrase.split_once('"').unwrap_or((phrase, "")),
            None => term.split_at(term.find(is_end).unwrap_or(term.len())),
        };
        add(&mut question, is_not, term);
        rest = after.trim_start();
    }
    question
}

fn add(question: &mut String, is_not: bool, term: &str) {
    let words: Vec<&str> = term.split(separates).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return;
    }
    if !question.is_empty() {
        question.push(' ');
    }
    if is_not {
        question.push('-');
    }
    if let [word] = words.as_slice() {
        question.push_str(word);
    } else {
        let _ = write!(question, "\"{}\"", words.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_but_a_letter_or_digit_separates_the_words_of_a_question() {
        for (text, expected) in [
            ("tuesday", "tuesday"),
            ("0100", "0100"),
            ("555-0100", "\"555 0100\""),
            ("Monday/Tuesday noon", "\"Monday Tuesday\" noon"),
            ("me@example.com", "\"me example com\""),
            ("\"a/b  c\" or -d_e", "\"a b c\" or -\"d e\""),
            ("-\"new knee\" -hip --x", "-\"new knee\" -hip -x"),
            ("it's \u{201C}here\u{201D}\u{2014}now", "\"it s\" \"here now\""),
            ("' & | ! knee :* <->", "knee"),
            ("\0knee", "knee"),
            ("5\u{20AC}\u{3000}\u{706B}\u{3002}\u{6C34}", "5 \"\u{706B} \u{6C34}\""),
            ("stra\u{DF}e na\u{EF}ve cafe\u{301}", "stra\u{DF}e na\u{EF}ve cafe\u{301}"),
            ("\"never closed", "\"never closed\""),
            ("a\"b c\"d", "a \"b c\" d"),
            ("- \" . \" -", ""),
            ("", ""),
        ] {
            assert_eq!(question(text), expected, "{text}");
        }
    }

    #[test]
    fn no_letter_or_digit_separates() {
        let letters = (0..=0x10_FFFF).filter_map(char::from_u32).filter(|c| c.is_alphanumeric());
        // Encircled letters and the like are symbols.
        let wrong: Vec<char> = letters.filter(|c| separates(*c) && !is_a_symbol(*c)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let ascii = (0..0x80).filter_map(char::from_u32).filter(|c| !c.is_ascii_alphanumeric());
        assert!(ascii.into_iter().all(separates));
    }

    fn is_a_symbol(character: char) -> bool {
        matches!(u32::from(character), 0xB2..=0xB9 | 0xBC..=0xBE | 0x2070..=0x209C | 0x2460..=0x24FF | 0x2776..=0x2793
            | 0x1F100..=0x1F1FF)
    }

    #[test]
    fn the_documents_that_were_made_before_are_made_anew_by_the_same_separators() {
        let migration = include_str!("../../../../migrations/2026-11-23-000033_word_separators/up.sql");
        let made = separated("left(string_agg(text, E'\\n' ORDER BY ordinal), 100000)");
        assert!(migration.contains(&made), "{made}");
    }
}
