//! Words of a caller that are urgent whatever the model makes of them: pure data.

use serde::{Deserialize, Serialize};

use super::sentences::primary;

/// Longer phrases are cut: nobody says them word for word.
const MAX_WORDS: usize = 12;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct UrgentPhrases(Vec<Phrase>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Phrase {
    given: String,
    words: Vec<String>,
}

impl UrgentPhrases {
    pub fn new<'a>(phrases: impl IntoIterator<Item = &'a str>) -> Self {
        let phrases = phrases.into_iter().map(|given| {
            let words = words(given).take(MAX_WORDS).collect();
            Phrase { given: given.to_owned(), words }
        });
        Self(phrases.filter(|phrase| !phrase.words.is_empty()).collect())
    }

    /// Those of a language, where we know some.
    pub fn of_language(language: &str) -> Self {
        let phrases: &[&str] = match primary(language).as_str() {
            "en" => &ENGLISH,
            "de" => &GERMAN,
            "es" => &SPANISH,
            "fr" => &FRENCH,
            _ => &[],
        };
        Self::new(phrases.iter().copied())
    }

    /// These, and those of `more`.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The phrase with this number.
    pub fn get(&self, number: usize) -> Option<&str> {
        self.0.get(number).map(|phrase| phrase.given.as_str())
    }

    /// The number of the first of them that stands in `text`, in whole words; neither case nor punctuation
    /// matters.
    pub fn find(&self, text: &str) -> Option<usize> {
        let said: Vec<String> = words(text).collect();
        let is_said = |phrase: &&Phrase| said.windows(phrase.words.len()).any(|part| part == phrase.words);
        self.0.iter().position(|phrase| is_said(&phrase))
    }
}

impl From<Vec<String>> for UrgentPhrases {
    fn from(phrases: Vec<String>) -> Self {
        Self::new(phrases.iter().map(String::as_str))
    }
}

impl From<UrgentPhrases> for Vec<String> {
    fn from(phrases: UrgentPhrases) -> Self {
        phrases.0.into_iter().map(|phrase| phrase.given).collect()
    }
}

/// For `serde(with)`: phrases that calls share.
pub mod shared {
    use std::sync::Arc;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::UrgentPhrases;

    pub fn serialize<S: Serializer>(phrases: &Arc<UrgentPhrases>, serializer: S) -> Result<S::Ok, S::Error> {
        (**phrases).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<UrgentPhrases>, D::Error> {
        UrgentPhrases::deserialize(deserializer).map(Arc::new)
    }
}

/// The words of a text in lower case. An apostrophe joins what it stands between, so that "can't" and "cant"
/// are one word.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric() && !is_apostrophe(c));
    parts
        .map(|part| part.chars().filter(|c| !is_apostrophe(*c)).flat_map(char::to_lowercase).collect())
        .filter(|word: &String| !word.is_empty())
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{2bc}')
}

const ENGLISH: [&str; 45] = [
    "pain in my chest",
    "pain in his chest",
    "pain in her chest",
    "isn't breathing",
    "couldn't breathe",
    "struggling to breathe",
    "had a stroke",
    "unresponsive",
    "collapsed",
    "won't stop bleeding",
    "can't stop the bleeding",
    "bleeding a lot",
    "want to die",
    "too many pills",
    "hurt myself",
    "chest pain",
    "chest pains",
    "my chest hurts",
    "heart attack",
    "can't breathe",
    "cannot breathe",
    "can not breathe",
    "can't get any air",
    "not breathing",
    "stopped breathing",
    "trouble breathing",
    "difficulty breathing",
    "choking",
    "having a stroke",
    "having a seizure",
    "unconscious",
    "passed out",
    "won't wake up",
    "bleeding heavily",
    "bleeding won't stop",
    "severe bleeding",
    "overdose",
    "overdosed",
    "poisoned",
    "suicide",
    "suicidal",
    "kill myself",
    "killing myself",
    "end my life",
    "allergic shock",
];

const GERMAN: [&str; 26] = [
    "Schmerzen in meiner Brust",
    "Brustschmerz",
    "nicht atmen",
    "stark blutet",
    "blutet sehr stark",
    "bringe mich um",
    "Suizid",
    "ohnmächtig",
    "zusammengebrochen",
    "Brustschmerzen",
    "Schmerzen in der Brust",
    "Herzinfarkt",
    "Schlaganfall",
    "keine Luft",
    "kriege keine Luft",
    "bekomme keine Luft",
    "atmet nicht",
    "nicht mehr atmen",
    "erstickt",
    "bewusstlos",
    "blutet stark",
    "Krampfanfall",
    "vergiftet",
    "Überdosis",
    "Selbstmord",
    "mich umbringen",
];

const SPANISH: [&str; 17] = [
    "me duele el pecho",
    "suicidarme",
    "se ha desmayado",
    "dolor en el pecho",
    "dolor de pecho",
    "ataque al corazón",
    "infarto",
    "derrame cerebral",
    "no puedo respirar",
    "no puede respirar",
    "no respira",
    "se está ahogando",
    "inconsciente",
    "sangra mucho",
    "sobredosis",
    "suicidio",
    "quiero matarme",
];

const FRENCH: [&str; 18] = [
    "arrive pas à respirer",
    "me suicider",
    "arrêt cardiaque",
    "fait un malaise",
    "douleur à la poitrine",
    "mal à la poitrine",
    "crise cardiaque",
    "infarctus",
    "un AVC",
    "peux pas respirer",
    "peux plus respirer",
    "ne respire plus",
    "ne respire pas",
    "s'étouffe",
    "inconscient",
    "overdose",
    "suicide",
    "me tuer",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'p>(phrases: &'p UrgentPhrases, text: &str) -> Option<&'p str> {
        phrases.get(phrases.find(text)?)
    }

    #[test]
    fn a_phrase_is_found_in_whole_words_whatever_their_case_and_punctuation() {
        let english = UrgentPhrases::of_language("en");
        for (said, phrase) in [
            ("I have CHEST pain.", Some("chest pain")),
            ("It's my chest -- pain, since noon", Some("chest pain")),
            ("He can\u{2019}t breathe!", Some("can't breathe")),
            ("he cant  breathe", Some("can't breathe")),
            ("an overdose?", Some("overdose")),
            ("My chest is painted", None),
            ("a chess pain", None),
            ("the breathing exercises can't wait", None),
            ("", None),
            ("pain chest", None),
        ] {
            assert_eq!(found(&english, said), phrase, "{said}");
        }
        let swiss = UrgentPhrases::of_language("de-CH");
        assert_eq!(found(&swiss, "Ich kann nicht atmen!"), Some("nicht atmen"));
        assert_eq!(
            found(&UrgentPhrases::of_language("EN_us"), "Pain in my chest."),
            Some("pain in my chest")
        );
        assert_eq!(found(&UrgentPhrases::of_language("de"), "Eine ÜBERDOSIS, glaube ich"), Some("Überdosis"));
    }

    #[test]
    fn a_phrase_without_words_is_none_and_a_language_that_we_do_not_know_has_none() {
        assert!(UrgentPhrases::new(["", " !? "]).is_empty());
        assert!(UrgentPhrases::of_language("pl").is_empty());
        assert_eq!(found(&UrgentPhrases::new(["Gas leak"]), "There is a gas-leak here"), Some("Gas leak"));
    }
}
