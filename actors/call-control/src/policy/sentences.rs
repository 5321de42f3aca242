//! What callers and colleagues hear of us without the agent, in the language of the persona. `{name}` stands
//! for a destination, `{who}` for the caller, `{why}` for the reason.

use super::destinations::PERSON_ON_DUTY;

/// The sentences of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentences {
    /// The language of the voice that speaks them, as Twilio writes it; none: its own default, English.
    pub voice: Option<&'static str>,
    /// A person is rung; the agent has said why, if it could.
    pub one_moment: &'static str,
    /// The caller waits for a person: at first, and then now and again.
    pub we_call: &'static str,
    pub still_calling: &'static str,
    /// The one before does not take the call, and this one is rung.
    pub now_we_call: &'static str,
    pub leave_a_message: &'static str,
    pub thank_you_for_calling: &'static str,
    pub thank_you_for_the_message: &'static str,
    pub no_message: &'static str,
    /// To the person who is rung.
    pub a_caller: &'static str,
    pub a_hidden_caller: &'static str,
    pub why: &'static str,
    pub press_1: &'static str,
    pub not_taken: &'static str,
    pub connecting: &'static str,
    pub has_hung_up: &'static str,
    pub is_gone: &'static str,
    /// [`PERSON_ON_DUTY`] within a sentence.
    person_on_duty: &'static str,
}

const ENGLISH: Sentences = Sentences {
    voice: None,
    one_moment: "One moment please.",
    we_call: "One moment please. We are calling {name}. To leave a message instead, press 1.",
    still_calling: "Thank you for waiting. We are still calling {name}. To leave a message instead, press 1.",
    now_we_call: "Nobody takes the call there. We are now calling {name}. To leave a message instead, press 1.",
    leave_a_message: "We are sorry, we cannot take your call right now. Please leave a message after the tone.",
    thank_you_for_calling: "Thank you for calling. Goodbye.",
    thank_you_for_the_message: "Thank you for your message. Goodbye.",
    no_message: "We did not receive a message. Please call again in a few minutes. Goodbye.",
    a_caller: "A call for {name}, from {who}.",
    a_hidden_caller: "A call for {name}, from a caller whose number is hidden.",
    why: "About: {why}.",
    press_1: "Press 1 to take the call. Press any other key to decline.",
    not_taken: "The call was not taken. Goodbye.",
    connecting: "Thank you. You are being connected.",
    has_hung_up: "The caller has hung up. Goodbye.",
    is_gone: "The caller is no longer waiting. Goodbye.",
    person_on_duty: "the person on duty",
};

const GERMAN: Sentences = Sentences {
    voice: Some("de-DE"),
    one_moment: "Einen Moment bitte.",
    we_call: "Einen Moment bitte. Wir rufen {name} an. Um stattdessen eine Nachricht zu hinterlassen, drücken Sie die 1.",
    still_calling: "Danke für Ihre Geduld. Wir rufen weiter {name} an. Um stattdessen eine Nachricht zu hinterlassen, drücken Sie die 1.",
    now_we_call: "Dort nimmt niemand ab. Wir rufen jetzt {name} an. Um stattdessen eine Nachricht zu hinterlassen, drücken Sie die 1.",
    leave_a_message: "Leider können wir Ihren Anruf gerade nicht annehmen. Bitte hinterlassen Sie nach dem Ton eine Nachricht.",
    thank_you_for_calling: "Vielen Dank für Ihren Anruf. Auf Wiederhören.",
    thank_you_for_the_message: "Vielen Dank für Ihre Nachricht. Auf Wiederhören.",
    no_message: "Wir haben keine Nachricht erhalten. Bitte rufen Sie in ein paar Minuten wieder an. Auf Wiederhören.",
    a_caller: "Ein Anruf für {name}, von {who}.",
    a_hidden_caller: "Ein Anruf für {name}, die Nummer ist unterdrückt.",
    why: "Es geht um: {why}.",
    press_1: "Drücken Sie die 1, um den Anruf anzunehmen, oder eine andere Taste, um ihn abzulehnen.",
    not_taken: "Der Anruf wurde nicht angenommen. Auf Wiederhören.",
    connecting: "Danke. Sie werden verbunden.",
    has_hung_up: "Der Anrufer hat aufgelegt. Auf Wiederhören.",
    is_gone: "Der Anrufer wartet nicht mehr. Auf Wiederhören.",
    person_on_duty: "den Bereitschaftsdienst",
};

const FRENCH: Sentences = Sentences {
    voice: Some("fr-FR"),
    one_moment: "Un instant, s'il vous plaît.",
    we_call: "Un instant, s'il vous plaît. Nous appelons {name}. Pour laisser un message, appuyez sur 1.",
    still_calling: "Merci de patienter. Nous appelons toujours {name}. Pour laisser un message, appuyez sur 1.",
    now_we_call: "Personne ne prend l'appel. Nous appelons maintenant {name}. Pour laisser un message, appuyez sur 1.",
    leave_a_message: "Nous sommes désolés, nous ne pouvons pas prendre votre appel. Veuillez laisser un message après le signal.",
    thank_you_for_calling: "Merci de votre appel. Au revoir.",
    thank_you_for_the_message: "Merci de votre message. Au revoir.",
    no_message: "Nous n'avons pas reçu de message. Veuillez rappeler dans quelques minutes. Au revoir.",
    a_caller: "Un appel pour {name}, du numéro {who}.",
    a_hidden_caller: "Un appel pour {name}, d'un numéro masqué.",
    why: "Objet : {why}.",
    press_1: "Appuyez sur 1 pour prendre l'appel, ou sur une autre touche pour le refuser.",
    not_taken: "L'appel n'a pas été pris. Au revoir.",
    connecting: "Merci. Vous allez être mis en relation.",
    has_hung_up: "La personne a raccroché. Au revoir.",
    is_gone: "La personne n'attend plus. Au revoir.",
    person_on_duty: "la personne de garde",
};

const SPANISH: Sentences = Sentences {
    voice: Some("es-ES"),
    one_moment: "Un momento, por favor.",
    we_call: "Un momento, por favor. Estamos llamando a {name}. Para dejar un mensaje, pulse 1.",
    still_calling: "Gracias por esperar. Seguimos llamando a {name}. Para dejar un mensaje, pulse 1.",
    now_we_call: "Nadie atiende la llamada. Ahora llamamos a {name}. Para dejar un mensaje, pulse 1.",
    leave_a_message: "Lo sentimos, no podemos atender su llamada. Deje un mensaje después de la señal.",
    thank_you_for_calling: "Gracias por su llamada. Adiós.",
    thank_you_for_the_message: "Gracias por su mensaje. Adiós.",
    no_message: "No hemos recibido ningún mensaje. Vuelva a llamar en unos minutos. Adiós.",
    a_caller: "Una llamada para {name}, del número {who}.",
    a_hidden_caller: "Una llamada para {name}, de un número oculto.",
    why: "Motivo: {why}.",
    press_1: "Pulse 1 para atender la llamada, u otra tecla para rechazarla.",
    not_taken: "La llamada no se ha atendido. Adiós.",
    connecting: "Gracias. Le ponemos en comunicación.",
    has_hung_up: "La persona ha colgado. Adiós.",
    is_gone: "La persona ya no espera. Adiós.",
    person_on_duty: "la persona de guardia",
};

/// The language that a code names, without its region: `de` of `de-CH`.
pub fn primary(language: &str) -> String {
    language.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase()
}

impl Sentences {
    /// Those of an ISO 639-1 code, such as `de` or `de-AT`; English where there are none.
    pub fn of(language: &str) -> &'static Self {
        match primary(language).as_str() {
            "de" => &GERMAN,
            "fr" => &FRENCH,
            "es" => &SPANISH,
            _ => &ENGLISH,
        }
    }

    /// A sentence with the name of a destination.
    pub fn with_name(&self, sentence: &str, name: &str) -> String {
        let name = if name == PERSON_ON_DUTY { self.person_on_duty } else { name };
        sentence.replace("{name}", name)
    }

    /// Who is calling for whom, and why.
    pub fn announces(&self, name: &str, from: Option<&str>, why: Option<&str>) -> String {
        let caller = match from {
            Some(number) => self.with_name(self.a_caller, name).replace("{who}", &digits(number)),
            None => self.with_name(self.a_hidden_caller, name),
        };
        match why {
            Some(why) => {
                format!("{caller} {}", self.why.replace("{why}", why.trim_end_matches(['.', '!', ' '])))
            }
            None => caller,
        }
    }
}

/// A number as it is spoken: digit by digit, in groups of three.
fn digits(number: &str) -> String {
    let digits: Vec<_> = number.chars().filter(char::is_ascii_digit).collect();
    let group = |group: &[char]| group.iter().map(char::to_string).collect::<Vec<_>>().join(" ");
    digits.chunks(3).map(group).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&Sentences; 4] = [&ENGLISH, &GERMAN, &FRENCH, &SPANISH];

    #[test]
    fn a_language_without_sentences_has_the_english_ones() {
        assert_eq!(Sentences::of("de-AT"), &GERMAN);
        assert_eq!(Sentences::of("FR"), &FRENCH);
        assert_eq!([Sentences::of("en"), Sentences::of("ja"), Sentences::of("")], [&ENGLISH; 3]);
    }

    #[test]
    fn a_person_hears_the_number_digit_by_digit_and_the_reason() {
        let said = ENGLISH.announces("reception", Some("+14155550100"), Some("a bill."));
        assert_eq!(said, "A call for reception, from 1 4 1, 5 5 5, 5 0 1, 0 0. About: a bill.");
        let said = ENGLISH.announces(PERSON_ON_DUTY, None, None);
        assert_eq!(said, "A call for the person on duty, from a caller whose number is hidden.");
        assert!(GERMAN.announces(PERSON_ON_DUTY, None, None).contains("den Bereitschaftsdienst"));
    }

    #[test]
    fn every_sentence_has_the_places_that_it_needs() {
        for Sentences {
            we_call, still_calling, now_we_call, a_caller, a_hidden_caller, why, press_1, ..
        } in ALL
        {
            assert!(
                [we_call, still_calling, now_we_call, a_caller, a_hidden_caller]
                    .iter()
                    .all(|s| s.contains("{name}"))
            );
            assert!([we_call, still_calling, now_we_call, press_1].iter().all(|s| s.contains('1')));
            assert!(a_caller.contains("{who}") && why.contains("{why}"));
        }
    }
}
