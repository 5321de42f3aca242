//! Reads variables one by one and gathers what is wrong with them.

use std::fmt;

use actors::secret::Secret;

use super::secret_file;

/// One thing wrong with the settings: it never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The variable, or file and line.
    pub name: String,
    pub wrong: String,
    /// What to do about it.
    pub remedy: String,
}

/// All that is wrong with the settings: at least one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `faults` has at least one.
    pub(super) fn of(faults: Vec<Fault>) -> Self {
        let printable = |Fault { name, wrong, remedy }| {
            let [name, wrong, remedy] = [name, wrong, remedy].map(|text: String| printable(&text));
            Fault { name, wrong, remedy }
        };
        Self(faults.into_iter().map(printable).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "one setting is wrong:")?,
            n => write!(f, "{n} settings are wrong:")?,
        }
        for Fault { name, wrong, remedy } in &self.0 {
            write!(f, "\n  {name} {wrong}: {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Gives every variable a value, faulty ones a stand-in; [`finish`](Self::finish) hands out the whole only
/// without faults.
pub(super) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, faults: Vec::new() }
    }

    pub(super) fn fault(&mut self, name: &str, wrong: &str, remedy: &str) {
        let [name, wrong, remedy] = [name, wrong, remedy].map(printable);
        self.faults.push(Fault { name, wrong, remedy });
    }

    pub(super) fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn is_unset(&self, name: &str) -> bool {
        self.optional(name).is_none()
    }

    /// The same of a secret, which may be in a file.
    pub(super) fn is_secret_unset(&self, name: &str) -> bool {
        secret_file::places(name, self.lookup).is_empty()
    }

    /// The text of a secret: of the variable, of the file that `NAME_FILE` names, or of a credential.
    pub(super) fn secret_text(&mut self, name: &str) -> Option<String> {
        secret_file::find(name, self.lookup).unwrap_or_else(|Fault { name, wrong, remedy }| {
            self.fault(&name, &wrong, &remedy);
            None
        })
    }

    /// Something required is unset; nothing if it is known already that its file is faulty.
    pub(super) fn missing(&mut self, name: &str, remedy: &str) {
        let file = secret_file::file_variable(name);
        if !self.faults.iter().any(|fault| fault.name == name || fault.name == file) {
            self.fault(name, "is not set", remedy);
        }
    }

    /// A secret goes into headers and keys as it is, so white space, a line break at its end above all, is a
    /// fault.
    pub(super) fn optional_secret(&mut self, name: &str) -> Option<Secret> {
        let value = self.secret_text(name)?;
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            self.fault(name, "holds white space or characters beyond ASCII", "set it without them");
        }
        Some(Secret::new(value))
    }

    pub(super) fn required_secret(&mut self, name: &str, remedy: &str) -> Secret {
        self.optional_secret(name).unwrap_or_else(|| {
            self.missing(name, remedy);
            Secret::new(String::new())
        })
    }

    /// `wanted` says what the value must be; the value itself is shown, so this is not for secrets.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(value) = self.optional(name) else { return default };
        parse(&value).unwrap_or_else(|| {
            self.fault(name, &format!("is {value:?}"), &format!("give {wanted}"));
            default
        })
    }

    pub(super) fn number(&mut self, name: &str, default: u32, least: u32, most: u32) -> u32 {
        self.parsed(name, default, &format!("a number from {least} to {most}"), |value| {
            value.parse().ok().filter(|number| (least..=most).contains(number))
        })
    }

    pub(super) fn finish<T>(self, settings: T) -> Result<T, Faults> {
        if self.faults.is_empty() { Ok(settings) } else { Err(Faults(self.faults)) }
    }
}

/// One line, with characters that a terminal would obey escaped: a file's keys and texts may hold any.
fn printable(text: &str) -> String {
    let escaped = |c: char| c.is_control().then(|| c.escape_default());
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        match escaped(c) {
            Some(escape) => line.extend(escape),
            None => line.push(c),
        }
        line
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_that_no_terminal_obeys() {
        let lookup = |_: &str| None;
        let mut reader = Reader::new(&lookup);
        reader.fault(
            "agent.toml:1",
            "has the unknown key `a\n  PORT is fine\u{1b}[31m\u{9b}ü`",
            "use `name`",
        );
        let said = reader.finish(()).unwrap_err().to_string();
        let fault = r"agent.toml:1 has the unknown key `a\n  PORT is fine\u{1b}[31m\u{9b}ü`: use `name`";
        assert_eq!(said, format!("one setting is wrong:\n  {fault}"));
    }
}
