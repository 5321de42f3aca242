//! Who may do what: scopes, and the roles that give them.
//!
//! A person has a role, a token has scopes of its own. Each route and command needs one scope. Scopes do not
//! imply each other: what a role may do is the list of its scopes, and nothing else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that somebody may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// See the live picture.
    Monitor,
    /// Read the call log, transcripts and recordings.
    Logs,
    /// Steer calls and the process.
    Operate,
    /// Read the audit, and manage users and tokens.
    Admin,
    /// Read the metrics.
    Metrics,
}

impl Scope {
    pub const ALL: [Self; 5] = [Self::Monitor, Self::Logs, Self::Operate, Self::Admin, Self::Metrics];

    /// The word used in commands, answers and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Logs => "logs",
            Self::Operate => "operate",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is not the name of a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope (expected monitor, logs, operate, admin or metrics)")]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        let scope = Self::ALL.into_iter().find(|scope| scope.as_str() == word);
        scope.ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// A set of scopes. As text it is a list with commas; as JSON an array.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing is allowed.
    pub const NONE: Self = Self(0);

    /// These scopes.
    pub const fn of(scopes: &[Scope]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < scopes.len() {
            set |= scopes[index].bit();
            index += 1;
        }
        Self(set)
    }

    /// Whether this scope is among them.
    pub const fn allow(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.allow(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | scope.bit()))
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        scopes.into_iter().collect()
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.iter().collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    /// At least one scope; spaces around a word do not count.
    fn from_str(list: &str) -> Result<Self, UnknownScope> {
        list.split(',').map(|word| word.trim().parse::<Scope>()).collect()
    }
}

/// What a person is to the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees the live picture and the log.
    Viewer,
    /// Steers calls as well.
    Operator,
    /// May do everything.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word used in commands, answers and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// What it may do.
    pub const fn scopes(self) -> Scopes {
        match self {
            Self::Viewer => Scopes::of(&[Scope::Monitor, Scope::Logs]),
            Self::Operator => Scopes::of(&[Scope::Monitor, Scope::Logs, Scope::Operate]),
            Self::Admin => Scopes::of(&Scope::ALL),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is not the name of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role (expected viewer, operator or admin)")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == word);
        role.ok_or_else(|| UnknownRole(word.to_owned()))
    }
}

/// The name of a user or a token: ASCII, so that two names that look alike are the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(String);

/// The text cannot be the name of a user or a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected up to 64 letters, digits, `.`, `_`, `-`, `@` and `+`, the first a letter or digit")]
pub struct BadName;

impl FromStr for AccountName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let fits = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-@+".contains(c));
        if fits { Ok(Self(text.to_owned())) } else { Err(BadName) }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_is_listed_for_it_and_nothing_else() {
        let listed = |role: Role| role.scopes().to_string();
        assert_eq!(listed(Role::Viewer), "monitor,logs");
        assert_eq!(listed(Role::Operator), "monitor,logs,operate");
        assert_eq!(listed(Role::Admin), "monitor,logs,operate,admin,metrics");
        assert!(!Role::Operator.scopes().allow(Scope::Admin));
        assert!(!Role::Viewer.scopes().allow(Scope::Metrics));
    }

    #[test]
    fn every_set_of_scopes_is_read_back_from_its_text_and_its_json() {
        for set in 1..1 << Scope::ALL.len() {
            let scopes = Scopes(set);
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
            let json = serde_json::to_string(&scopes).unwrap();
            assert_eq!(serde_json::from_str::<Scopes>(&json).unwrap(), scopes, "{json}");
            for scope in Scope::ALL {
                assert_eq!(scopes.allow(scope), scopes.iter().any(|one| one == scope));
            }
        }
        assert_eq!(
            serde_json::to_string(&Scopes::of(&[Scope::Logs, Scope::Monitor])).unwrap(),
            r#"["monitor","logs"]"#
        );
    }

    #[test]
    fn a_list_of_scopes_names_scopes_only_and_at_least_one() {
        assert_eq!(" logs , monitor,logs".parse(), Ok(Scopes::of(&[Scope::Monitor, Scope::Logs])));
        for list in ["", ",", "logs,", "Logs", "everything", "logs monitor"] {
            assert!(list.parse::<Scopes>().is_err(), "{list:?}");
        }
        let said = "logs,root".parse::<Scopes>().unwrap_err().to_string();
        assert_eq!(said, "\"root\" is not a scope (expected monitor, logs, operate, admin or metrics)");
    }

    #[test]
    fn every_role_and_scope_is_read_back_from_its_word() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
            assert_eq!(serde_json::to_string(&scope).unwrap(), format!("\"{scope}\""));
        }
        assert!("Admin".parse::<Role>().is_err());
    }

    #[test]
    fn a_name_is_short_and_ascii_and_begins_with_a_letter_or_digit() {
        for name in ["anna", "7", "Anna.B+test@example.com", &"a".repeat(64)] {
            assert_eq!(name.parse::<AccountName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        for name in ["", "-anna", ".", "an na", "ann\u{e4}", "anna:x", "anna\n", &"a".repeat(65)] {
            assert_eq!(name.parse::<AccountName>(), Err(BadName), "{name:?}");
        }
    }
}
