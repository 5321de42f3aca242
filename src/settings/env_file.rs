//! A file of variables, one `NAME=value` a line, as systemd, Docker and Compose read it too. What these
//! programs read in different ways is refused. No fault shows a value.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use super::reader::{Fault, Faults};

/// Bytes of the largest file.
const LARGEST: u64 = 1024 * 1024;

/// The variables of a file, each with its line.
#[derive(Default, PartialEq, Eq)]
pub struct EnvFile {
    pub path: String,
    pub variables: BTreeMap<String, Variable>,
}

#[derive(PartialEq, Eq)]
pub struct Variable {
    /// It may be a secret: no `Debug`.
    pub value: String,
    pub line: usize,
}

impl EnvFile {
    /// Reads a file.
    ///
    /// # Errors
    /// The file is unreadable, or a line has a fault.
    pub fn read(path: &str) -> Result<Self, Faults> {
        let fault = |wrong: String, remedy: &str| {
            Faults::of(vec![Fault { name: path.to_owned(), wrong, remedy: remedy.to_owned() }])
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        read.map_err(|error| fault(format!("cannot be read: {error}"), "give a file of variables"))?;
        if bytes.len() as u64 > LARGEST {
            return Err(fault("is larger than 1 MiB".to_owned(), "give a file of variables"));
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| fault("is not UTF-8 text".to_owned(), "give a file of variables"))?;
        Self::parse(path, &text)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// All lines that have a fault.
    pub fn parse(path: &str, text: &str) -> Result<Self, Faults> {
        let mut file = Self { path: path.to_owned(), variables: BTreeMap::new() };
        let mut faults = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            let parsed = variable(line).and_then(|variable| match variable {
                Some((name, _)) if file.variables.contains_key(name) => Err(TWICE),
                other => Ok(other),
            });
            match parsed {
                Ok(None) => {}
                Ok(Some((name, value))) => {
                    file.variables.insert(name.to_owned(), Variable { value, line: number });
                }
                Err((wrong, remedy)) => faults.push(Fault {
                    name: format!("{path}:{number}"),
                    wrong: wrong.to_owned(),
                    remedy: remedy.to_owned(),
                }),
            }
        }
        if faults.is_empty() { Ok(file) } else { Err(Faults::of(faults)) }
    }
}

/// What is wrong with a line, and what to do.
type Wrong = (&'static str, &'static str);

const HALF: Wrong = ("has no `=`", "write NAME=value, or begin a comment with #");
const NO_NAME: Wrong =
    ("has no name of a variable before `=`", "write letters, digits and `_`, without blanks around `=`");
const BLANK: Wrong = ("has a blank after `=`", "remove it, or put the value into '…' or \"…\"");
const OPEN: Wrong = ("has a quote without an end", "end it on the same line");
const AFTER_QUOTE: Wrong = ("has something after the closing quote", "put all of the value into the quotes");
const ESCAPE: Wrong =
    ("has a backslash that means nothing here", "write \\\\ for a backslash within \"…\", or use '…'");
const AMBIGUOUS: Wrong =
    ("has a quote, a backslash or ` #` in a value without quotes", "put the value into '…' or \"…\"");
const DOLLAR: Wrong = ("has a `$` that other readers of the file expand", "put the value into '…'");
const ESCAPED_QUOTE: Wrong =
    ("has a backslash before the closing `'`", "put the value into \"…\", with \\\\ for a backslash");
const EXPORT: Wrong = ("has `export` before the name", "remove it");
const BYTE_ORDER_MARK: Wrong = ("begins with a byte order mark", "save the file as UTF-8 without it");
const CONTROL: Wrong = ("has a control character", "remove it");
const TWICE: Wrong = ("sets a variable that a line before has set", "remove one of them");

/// The name and value of a line; none of a blank line or a comment.
fn variable(line: &str) -> Result<Option<(&str, String)>, Wrong> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.starts_with('\u{feff}') {
        return Err(BYTE_ORDER_MARK);
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(CONTROL);
    }
    if line.starts_with("export ") {
        return Err(EXPORT);
    }
    let (name, value) = line.split_once('=').ok_or(HALF)?;
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(NO_NAME);
    }
    let value = match value.chars().next() {
        Some('\'') => single_quoted(&value[1..])?,
        Some('"') => double_quoted(&value[1..])?,
        _ if value.starts_with([' ', '\t']) && !value.trim().is_empty() => return Err(BLANK),
        _ if value.contains(['"', '\'', '\\']) || value.contains(" #") => return Err(AMBIGUOUS),
        _ if value.contains('$') => return Err(DOLLAR),
        _ => value.to_owned(),
    };
    Ok(Some((name, value)))
}

fn single_quoted(rest: &str) -> Result<String, Wrong> {
    let (value, after) = rest.split_once('\'').ok_or(OPEN)?;
    match (value.ends_with('\\'), after.is_empty()) {
        (true, _) => Err(ESCAPED_QUOTE),
        (false, true) => Ok(value.to_owned()),
        (false, false) => Err(AFTER_QUOTE),
    }
}

fn double_quoted(rest: &str) -> Result<String, Wrong> {
    let mut value = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next().ok_or(OPEN)? {
            '"' => break,
            '\\' => match characters.next().ok_or(OPEN)? {
                c @ ('"' | '\\' | '$' | '`') => value.push(c),
                _ => return Err(ESCAPE),
            },
            '$' => return Err(DOLLAR),
            c => value.push(c),
        }
    }
    if characters.as_str().is_empty() { Ok(value) } else { Err(AFTER_QUOTE) }
}

/// A value as it stands behind `=`; none if no line can have it.
pub fn quoted(value: &str) -> Option<String> {
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let is_plain = !value.contains(['"', '\'', '\\', '$', '`', ' ', '\t', '#']);
    if is_plain {
        return Some(value.to_owned());
    }
    if !value.contains('\'') && !value.ends_with('\\') {
        return Some(format!("'{value}'"));
    }
    let escaped = value.chars().fold(String::new(), |mut text, c| {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
        text
    });
    Some(format!("\"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_read_as_it_was_written(value in "[ -~\täß]{0,12}") {
            let line = format!("A={}\n", quoted(&value).unwrap());
            prop_assert_eq!(parsed(&line), [("A".to_owned(), value)]);
        }
    }

    #[test]
    fn a_value_of_several_lines_cannot_be_written() {
        assert_eq!(quoted("a\nb"), None);
        assert_eq!(quoted("postgresql://u:p%24@h/d?a=b").as_deref(), Some("postgresql://u:p%24@h/d?a=b"));
    }

    fn parsed(text: &str) -> Vec<(String, String)> {
        let file = EnvFile::parse("a.env", text).unwrap_or_else(|faults| panic!("{faults}"));
        file.variables.into_iter().map(|(name, variable)| (name, variable.value)).collect()
    }

    fn faults(text: &str) -> Vec<String> {
        let faults = EnvFile::parse("a.env", text).err().expect("a fault");
        faults.iter().map(|fault| format!("{} {}", fault.name, fault.wrong)).collect()
    }

    #[test]
    fn a_line_is_a_variable_a_comment_or_blank() {
        let text = "# a comment\n\n  A=1\nC=x y z \r\nD='a \"$b\\ #c'\nE=\"a\\\"b\\\\c\\$d 'e'\"\n\
                    F=postgresql://u:p%24w=@h/d?a=b#c\nG=\n";
        let wanted = [
            ("A", "1"),
            ("C", "x y z"),
            ("D", "a \"$b\\ #c"),
            ("E", "a\"b\\c$d 'e'"),
            ("F", "postgresql://u:p%24w=@h/d?a=b#c"),
            ("G", ""),
        ];
        assert_eq!(parsed(text), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_half_written_line_is_a_fault_with_its_line_and_without_its_value() {
        for (line, wrong) in [
            ("OPENAI_API_KEY", HALF),
            ("sk-secret", HALF),
            ("A B=sk-secret", NO_NAME),
            ("A =sk-secret", NO_NAME),
            ("A= sk-secret", BLANK),
            ("1A=sk-secret", NO_NAME),
            ("=sk-secret", NO_NAME),
            ("A=\"sk-secret", OPEN),
            ("A='sk-secret", OPEN),
            ("A=\"sk-secret\\\"", OPEN),
            ("A=\"sk-secret\"x", AFTER_QUOTE),
            ("A='sk-secret' # why", AFTER_QUOTE),
            ("A=\"sk-secret\\n\"", ESCAPE),
            ("A=sk-secret # why", AMBIGUOUS),
            ("A=sk-sec'ret", AMBIGUOUS),
            ("A=sk-secret\\", AMBIGUOUS),
            ("A=sk-secret$B", DOLLAR),
            ("A=\"sk-secret$B\"", DOLLAR),
            ("A='sk-secret\\'", ESCAPED_QUOTE),
            ("A='sk-secret\\'x'", ESCAPED_QUOTE),
            ("export A=sk-secret", EXPORT),
            ("; A=sk-secret", NO_NAME),
            ("; sk-secret", HALF),
            ("\u{feff}A=sk-secret", BYTE_ORDER_MARK),
            ("A=sk-secret\u{7}", CONTROL),
        ] {
            let faults =
                EnvFile::parse("a.env", &format!("# first\n{line}\n")).err().expect(line).to_string();
            assert!(faults.contains(&format!("a.env:2 {}", wrong.0)), "{line}: {faults}");
            assert!(!faults.contains("sk-sec"), "{faults}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        assert_eq!(
            faults("A=1\nB\nA=2\n"),
            ["a.env:2 has no `=`", "a.env:3 sets a variable that a line before has set"]
        );
    }

    #[test]
    fn a_file_that_is_missing_too_large_or_no_text_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = |name: &str, content: Option<&[u8]>| {
            let path = folder.path().join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            EnvFile::read(path.to_str().unwrap()).err().expect(name).to_string()
        };
        assert!(wrong("none", None).contains("cannot be read: No such file"));
        assert!(wrong("large", Some(&vec![b'#'; LARGEST as usize + 1])).contains("is larger than 1 MiB"));
        assert!(wrong("bytes", Some(b"A=\xff")).contains("is not UTF-8 text"));
    }
}
