//! `switchboard setup`: from nothing to a file of settings that was checked on the way.
//!
//! Pure: what is asked, what an answer may be, and what the files say. The dialogue is the command's.

use std::collections::BTreeMap;

use actors::call::persona::Persona;

use crate::settings::{Fault, Settings, catalog, file_variable, quoted};

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The setting that is asked for.
    pub name: &'static str,
    pub text: &'static str,
    /// It is not shown while it is typed.
    pub is_secret: bool,
    pub is_required: bool,
    /// What an empty answer means; empty: the setting stays unset.
    pub default: &'static str,
}

const fn question(name: &'static str, text: &'static str) -> Question {
    Question { name, text, is_secret: false, is_required: false, default: "" }
}

const fn required(question: Question) -> Question {
    Question { is_required: true, ..question }
}

const fn secret(question: Question) -> Question {
    Question { is_secret: true, ..question }
}

/// In the order in which they are asked.
pub const QUESTIONS: [Question; 11] = [
    required(secret(question(
        "DATABASE_URL",
        "the PostgreSQL database, possibly behind a transaction pooler",
    ))),
    secret(question("DIRECT_DATABASE_URL", "the same without a pooler, for migrations")),
    required(question("PUBLIC_URL", "the origin that Twilio sees, such as https://voice.example.com")),
    Question {
        default: "127.0.0.1",
        ..question("TRUSTED_PROXIES", "the address of the proxy that ends TLS")
    },
    question("TWILIO_ACCOUNT_SID", "Twilio's account SID, AC…"),
    required(secret(question("TWILIO_AUTH_TOKEN", "Twilio's primary auth token"))),
    question("TWILIO_FROM_NUMBER", "the number that is called, in E.164"),
    required(secret(question("OPENAI_API_KEY", "an API key of your OpenAI project"))),
    question("HUMAN_FALLBACK_NUMBER", "who takes a call if the agent cannot, in E.164"),
    question("URGENT_NOTIFICATION_NUMBER", "who gets a text message of a critical alert, in E.164"),
    secret(question("REDIS_URL", "the Redis that several instances share, if there are several")),
];

/// The settings that are answered, by name.
pub type Answers = BTreeMap<String, String>;

/// The value of a setting: as it was answered, as the environment has it, or as the file had it before. An
/// answer hides the file of a secret.
pub fn value(
    name: &str,
    answers: &Answers,
    environment: &dyn Fn(&str) -> Option<String>,
    before: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    if let Some(answer) = answers.get(name) {
        return Some(answer.clone());
    }
    if name.strip_suffix("_FILE").is_some_and(|secret| answers.contains_key(secret)) {
        return None;
    }
    environment(name).filter(|value| !value.is_empty()).or_else(|| before(name))
}

/// What is wrong with the answer to a question, in view of those before it.
pub fn fault(name: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Fault> {
    let faults = Settings::read(lookup).err()?;
    let file = file_variable(name);
    faults.iter().find(|fault| fault.name == name || fault.name == file).cloned()
}

/// The text of the file of settings. `given` is what there is besides the answers. What the file had
/// `before` and is no setting of ours stays.
///
/// # Errors
/// The name of a setting whose value no file can have.
pub fn env_file(
    answers: &Answers,
    given: &dyn Fn(&str) -> Option<String>,
    before: Option<&Answers>,
) -> Result<String, String> {
    let value = |name: &str| {
        let given = || given(name).filter(|value| !value.is_empty());
        answers.get(name).cloned().or_else(given).filter(|value| !value.is_empty())
    };
    let line = |name: &str| Some(format!("{name}={}", quoted(&value(name)?)?));
    for entry in catalog::entries() {
        if value(entry.name).is_some_and(|value| quoted(&value).is_none()) {
            return Err(entry.name.to_owned());
        }
    }
    let mut text = catalog::filled(&|name| line(name).or_else(|| line(&file_variable(name))));
    let is_ours = |name: &str| {
        let has = |name: &str| text.lines().any(|line| variable(line) == Some(name));
        has(name) || name.strip_suffix("_FILE").is_some_and(has)
    };
    let others = before.into_iter().flatten().filter(|(name, _)| !is_ours(name));
    let others: Vec<_> =
        others.filter_map(|(name, value)| Some(format!("{name}={}\n", quoted(value)?))).collect();
    if !others.is_empty() {
        text += "\n# ---- Others, as they were ----\n\n";
        text += &others.concat();
    }
    Ok(text)
}

/// The name of the variable that a line sets, or sets without its `#`.
fn variable(line: &str) -> Option<&str> {
    Some(line.trim_start_matches('#').split_once('=')?.0)
}

/// The text of an agent file to begin with.
pub fn agent_file(name: &str) -> String {
    let [name, instructions, greeting] = [
        name.to_owned(),
        format!("You answer the telephone for {name}. Opening hours are …"),
        Persona::english_greeting(name, "911"),
    ]
    .map(|text| toml::Value::String(text).to_string());
    format!(
        "# Who answers the telephone. docs/configuration.md has every key. A change is noticed at once.\n\
         name = {name}\n\
         # Say what callers ask for: hours, address, prices, whom to ask for what.\n\
         instructions = {instructions}\n\
         greeting = {greeting}\n\
         voice = \"marin\"\n\
         language = \"en\"\n\
         emergency_number = \"911\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Agent, EnvFile};

    fn lookup(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn an_answer_is_judged_though_others_are_still_missing() {
        let wrong = fault("PUBLIC_URL", &lookup(&[("PUBLIC_URL", "http://voice.example.com")])).unwrap();
        assert!(wrong.wrong.contains("is not the origin"), "{wrong:?}");
        assert_eq!(fault("PUBLIC_URL", &lookup(&[("PUBLIC_URL", "https://voice.example.com")])), None);
        let number = fault("TWILIO_FROM_NUMBER", &lookup(&[("TWILIO_FROM_NUMBER", "555-hush")])).unwrap();
        assert!(!format!("{number:?}").contains("hush"), "{number:?}");
    }

    #[test]
    fn every_question_is_about_a_setting_and_the_required_ones_are_asked() {
        let known = catalog::entries();
        for question in QUESTIONS {
            assert!(known.iter().any(|entry| entry.name == question.name), "{}", question.name);
        }
        for entry in known.iter().filter(|entry| entry.is_required) {
            assert!(
                QUESTIONS.iter().any(|asked| asked.name == entry.name && asked.is_required),
                "{}",
                entry.name
            );
        }
    }

    #[test]
    fn the_file_has_the_answers_and_what_was_given_and_is_read_as_it_was_written() {
        let answers = Answers::from([
            ("DATABASE_URL".to_owned(), "postgresql://u:p a#b@h/d".to_owned()),
            ("REDIS_URL".to_owned(), String::new()),
        ]);
        let given =
            lookup(&[("PORT", "9000"), ("OPENAI_API_KEY_FILE", "/run/key"), ("DATABASE_URL", "other")]);
        let text = env_file(&answers, &given, None).unwrap();
        let file = EnvFile::parse("a.env", &text).unwrap();
        let value = |name: &str| file.variables.get(name).map(|variable| variable.value.as_str());
        assert_eq!(value("DATABASE_URL"), Some("postgresql://u:p a#b@h/d"));
        assert_eq!((value("PORT"), value("OPENAI_API_KEY_FILE")), (Some("9000"), Some("/run/key")));
        assert_eq!((value("REDIS_URL"), value("OPENAI_API_KEY")), (None, None));
        let broken = Answers::from([("OPENAI_API_KEY".to_owned(), "a\nb".to_owned())]);
        assert_eq!(env_file(&broken, &|_| None, None), Err("OPENAI_API_KEY".to_owned()));
    }

    #[test]
    fn an_answer_goes_before_the_environment_and_that_before_the_file_that_was_there() {
        let answers = Answers::from([
            ("OPENAI_API_KEY".to_owned(), "typed".to_owned()),
            ("REDIS_URL".to_owned(), String::new()),
        ]);
        let environment = lookup(&[("OPENAI_API_KEY_FILE", "/run/key"), ("PORT", "9000"), ("BIND_ADDR", "")]);
        let before =
            lookup(&[("PORT", "1"), ("BIND_ADDR", "::1"), ("REDIS_URL", "old"), ("SECRET_KEY", "k")]);
        let value = |name| value(name, &answers, &environment, &before);
        assert_eq!(value("OPENAI_API_KEY").as_deref(), Some("typed"));
        assert_eq!(value("OPENAI_API_KEY_FILE"), None, "the answer hides it");
        assert_eq!(value("REDIS_URL").as_deref(), Some(""), "it was answered with nothing");
        for (name, wanted) in [("PORT", "9000"), ("BIND_ADDR", "::1"), ("SECRET_KEY", "k")] {
            assert_eq!(value(name).as_deref(), Some(wanted), "{name}");
        }
    }

    #[test]
    fn what_was_added_by_hand_stays_in_the_file() {
        let before = [("XDG_DATA_HOME", "/srv/data"), ("HOME", "/srv/a b"), ("PORT", "9000")];
        let before = before.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let answers = Answers::from([("PORT".to_owned(), "8000".to_owned())]);
        let text = env_file(&answers, &|_| None, Some(&before)).unwrap();
        let file = EnvFile::parse("a.env", &text).unwrap_or_else(|faults| panic!("{faults}"));
        let value = |name: &str| file.variables.get(name).map(|variable| variable.value.as_str());
        assert_eq!((value("XDG_DATA_HOME"), value("HOME")), (Some("/srv/data"), Some("/srv/a b")));
        assert_eq!(value("PORT"), Some("8000"));
    }

    #[test]
    fn the_agent_file_to_begin_with_is_one() {
        let text = agent_file("Anna's \"Clinic\"");
        let agent = Agent::read("agent.toml", Ok(text.into_bytes())).unwrap();
        assert_eq!(agent.persona.name, "Anna's \"Clinic\"");
        assert!(agent.persona.greeting.contains("Anna's"), "{}", agent.persona.greeting);
    }
}
