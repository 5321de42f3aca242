//! TwiML: the documents we answer Twilio with (reference: twilio.md section 2).

/// Ends every webhook URL that we hand out: Twilio then retries a connection that fails, a read that takes
/// too long and a 5xx answer for up to 15 s, so a restart of ours costs the caller a moment, not the call.
/// Twilio neither sends nor signs it (reference: twilio.md section 6.1). A websocket URL takes no fragment.
pub const DELIVERY_FRAGMENT: &str = "#ct=1000&rt=5000&rc=5&rp=ct,rt,5xx&tt=15000";

/// `Content-Type` of every TwiML answer.
pub const CONTENT_TYPE: &str = "text/xml; charset=utf-8";

/// `<Connect><Stream>`: the call's audio, both ways, over a websocket of ours. All webhook URLs are absolute,
/// without fragment.
#[derive(Debug, Clone, Copy)]
pub struct ConnectStream<'a> {
    /// Asked what comes next once the stream has ended; its answer replaces the rest of the document.
    pub action: &'a str,
    /// `wss` (`ws` only between simulators), without query.
    pub stream_url: &'a str,
    pub status_callback: &'a str,
    /// Arrive as `start.customParameters`; name and value together are under 500 characters.
    pub parameters: &'a [(&'a str, &'a str)],
}

/// `<Dial>` of one telephone number.
#[derive(Debug, Clone, Copy)]
pub struct Dial<'a> {
    /// E.164.
    pub number: &'a str,
    /// Asked what comes next once the dialled call has ended; without it the next verb runs.
    pub action: Option<&'a str>,
    /// How long it rings, in seconds.
    pub timeout_seconds: u32,
    /// The number that is shown to whoever is dialled: one of ours, in E.164. Without it, the caller's;
    /// Twilio refuses to dial if the caller has none.
    pub caller_id: Option<&'a str>,
    /// Whoever answers follows the document at this URL before both are connected, and are not if it hangs
    /// up.
    pub whisper: Option<&'a str>,
}

/// `<Dial>` into a conference. Whoever enters talks and listens at once, without a beep, and the conference
/// ends with whoever leaves first.
#[derive(Debug, Clone, Copy)]
pub struct Conference<'a> {
    /// Unguessable, and without personal data.
    pub name: &'a str,
    /// Who enters, unique in the conference.
    pub label: &'a str,
    /// Asked what comes next once the conference is over; without it the next verb runs.
    pub action: Option<&'a str>,
    /// What is heard alone: a document of `<Say>`, `<Play>`, `<Pause>` and `<Redirect>`.
    pub wait: &'a str,
    pub status_callback: &'a str,
}

/// `<Gather>` of one key. Its document is heard meanwhile, and is cut short by the key.
#[derive(Debug, Clone, Copy)]
pub struct Gather<'a> {
    /// Told of the key, and asked what comes next.
    pub action: &'a str,
    /// How long a key is waited for when all was said.
    pub timeout_seconds: u32,
    /// Without a key, the action is asked as well, instead of the next verb.
    pub asks_without_key: bool,
}

/// `<Record>`: the caller leaves a message after a beep. One that says nothing meets the next verb, without
/// `action`.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Told of the recording, and asked what comes next.
    pub action: &'a str,
    pub recording_status_callback: &'a str,
    pub max_length_seconds: u32,
    /// So much silence ends it.
    pub timeout_seconds: u32,
    /// Keys that end it.
    pub finish_on_key: &'a str,
}

/// A document being written: verbs run in the order they are added. Without any it is the empty answer that a
/// status callback gets.
#[derive(Debug, Clone, Default)]
pub struct Twiml(String);

impl Twiml {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn connect_stream(mut self, connect: ConnectStream<'_>) -> Self {
        self.open("Connect");
        self.webhook("action", "method", connect.action);
        self.0.push('>');
        self.open("Stream");
        self.attribute("url", connect.stream_url);
        self.webhook("statusCallback", "statusCallbackMethod", connect.status_callback);
        self.0.push('>');
        for (name, value) in connect.parameters {
            self.open("Parameter");
            self.attribute("name", name);
            self.attribute("value", value);
            self.0.push_str("/>");
        }
        self.0.push_str("</Stream></Connect>");
        self
    }

    pub fn say(self, text: &str) -> Self {
        self.say_in(None, text)
    }

    /// The same by a voice of this language, such as `de-DE`.
    pub fn say_in(mut self, language: Option<&str>, text: &str) -> Self {
        self.open("Say");
        if let Some(language) = language {
            self.attribute("language", language);
        }
        self.0.push('>');
        self.text(text);
        self.0.push_str("</Say>");
        self
    }

    pub fn pause(mut self, seconds: u32) -> Self {
        self.open("Pause");
        self.attribute("length", &seconds.to_string());
        self.0.push_str("/>");
        self
    }

    /// Audio at this URL, which is fetched by GET and cached.
    pub fn play(mut self, url: &str) -> Self {
        self.0.push_str("<Play>");
        self.text(url);
        self.0.push_str("</Play>");
        self
    }

    /// Waits for a key, while `heard` is heard: `<Say>`, `<Play>` and `<Pause>`.
    pub fn gather(mut self, gather: Gather<'_>, heard: &Self) -> Self {
        self.open("Gather");
        self.attribute("input", "dtmf");
        self.attribute("numDigits", "1");
        self.attribute("timeout", &gather.timeout_seconds.to_string());
        self.attribute("finishOnKey", ""); // every key is one
        if gather.asks_without_key {
            self.attribute("actionOnEmptyResult", "true");
        }
        self.webhook("action", "method", gather.action);
        self.0.push('>');
        self.0.push_str(&heard.0);
        self.0.push_str("</Gather>");
        self
    }

    pub fn conference(mut self, conference: Conference<'_>) -> Self {
        self.open("Dial");
        if let Some(action) = conference.action {
            self.webhook("action", "method", action);
        }
        self.0.push('>');
        self.open("Conference");
        self.attribute("participantLabel", conference.label);
        self.attribute("beep", "false");
        self.attribute("startConferenceOnEnter", "true");
        self.attribute("endConferenceOnExit", "true");
        self.webhook("waitUrl", "waitMethod", conference.wait);
        self.attribute("statusCallbackEvent", "start end join leave");
        self.webhook("statusCallback", "statusCallbackMethod", conference.status_callback);
        self.0.push('>');
        self.text(conference.name);
        self.0.push_str("</Conference></Dial>");
        self
    }

    pub fn dial(mut self, dial: Dial<'_>) -> Self {
        self.open("Dial");
        self.attribute("timeout", &dial.timeout_seconds.to_string());
        if let Some(action) = dial.action {
            self.webhook("action", "method", action);
        }
        if let Some(caller_id) = dial.caller_id {
            self.attribute("callerId", caller_id);
        }
        self.0.push('>');
        self.open("Number");
        if let Some(whisper) = dial.whisper {
            self.webhook("url", "method", whisper);
        }
        self.0.push('>');
        self.text(dial.number);
        self.0.push_str("</Number></Dial>");
        self
    }

    pub fn record(mut self, record: Record<'_>) -> Self {
        self.open("Record");
        self.webhook("action", "method", record.action);
        self.attribute("maxLength", &record.max_length_seconds.to_string());
        self.attribute("timeout", &record.timeout_seconds.to_string());
        self.attribute("finishOnKey", record.finish_on_key);
        self.attribute("playBeep", "true");
        let (callback, method) = ("recordingStatusCallback", "recordingStatusCallbackMethod");
        self.webhook(callback, method, record.recording_status_callback);
        self.attribute("recordingStatusCallbackEvent", "completed absent");
        self.0.push_str("/>");
        self
    }

    /// Goes on with another document of ours; verbs after it never run.
    pub fn redirect(mut self, url: &str) -> Self {
        self.0.push_str(r#"<Redirect method="POST">"#);
        self.text(url);
        self.text(DELIVERY_FRAGMENT);
        self.0.push_str("</Redirect>");
        self
    }

    pub fn hangup(mut self) -> Self {
        self.0.push_str("<Hangup/>");
        self
    }

    /// The whole document, to be sent as [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let verbs = &self.0;
        let header = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
        if verbs.is_empty() {
            format!("{header}<Response/>")
        } else {
            format!("{header}<Response>{verbs}</Response>")
        }
    }

    fn open(&mut self, element: &str) {
        self.0.push('<');
        self.0.push_str(element);
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        for c in value.chars().filter(|&c| is_xml(c)) {
            match c {
                '"' => self.0.push_str("&quot;"),
                '\t' => self.0.push_str("&#09;"),
                '\n' => self.0.push_str("&#10;"),
                other => self.text_char(other),
            }
        }
        self.0.push('"');
    }

    fn webhook(&mut self, url_attribute: &str, method_attribute: &str, url: &str) {
        self.attribute(url_attribute, &format!("{url}{DELIVERY_FRAGMENT}"));
        self.attribute(method_attribute, "POST");
    }

    fn text(&mut self, text: &str) {
        text.chars().filter(|&c| is_xml(c)).for_each(|c| self.text_char(c));
    }

    fn text_char(&mut self, c: char) {
        match c {
            '&' => self.0.push_str("&amp;"),
            '<' => self.0.push_str("&lt;"),
            '>' => self.0.push_str("&gt;"),
            '\r' => self.0.push_str("&#13;"), // a parser would turn a bare one into a line feed
            other => self.0.push(other),
        }
    }
}

/// Whether XML 1.0 may hold the character at all; Twilio ends the call over one that it may not (error
/// 12100).
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    #[test]
    fn a_call_is_connected_to_a_stream() {
        let twiml = Twiml::new()
            .connect_stream(ConnectStream {
                action: "https://voice.example.com/api/voice/after-stream",
                stream_url: "wss://voice.example.com/api/voice/stream",
                status_callback: "https://voice.example.com/api/voice/stream-status?a=1&b=2",
                parameters: &[("token", "k1.\"9f2c\"")],
            })
            .say("Sorry, we lost the connection.")
            .hangup();
        let expected = concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?><Response>"#,
            r#"<Connect action="https://voice.example.com/api/voice/after-stream"#,
            r#"#ct=1000&amp;rt=5000&amp;rc=5&amp;rp=ct,rt,5xx&amp;tt=15000" method="POST">"#,
            r#"<Stream url="wss://voice.example.com/api/voice/stream""#,
            r#" statusCallback="https://voice.example.com/api/voice/stream-status?a=1&amp;b=2"#,
            r#"#ct=1000&amp;rt=5000&amp;rc=5&amp;rp=ct,rt,5xx&amp;tt=15000" statusCallbackMethod="POST">"#,
            r#"<Parameter name="token" value="k1.&quot;9f2c&quot;"/></Stream></Connect>"#,
            r#"<Say>Sorry, we lost the connection.</Say><Hangup/></Response>"#,
        );
        assert_eq!(twiml.render(), expected);
    }

    #[test]
    fn a_caller_is_given_to_a_person() {
        let twiml = Twiml::new()
            .say("One moment <please> & thanks")
            .pause(2)
            .dial(Dial {
                number: "+14155550123",
                action: None,
                timeout_seconds: 20,
                caller_id: None,
                whisper: None,
            })
            .redirect("https://voice.example.com/next");
        let expected = concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?><Response><Say>One moment &lt;please&gt; &amp; thanks</Say>"#,
            r#"<Pause length="2"/><Dial timeout="20"><Number>+14155550123</Number></Dial>"#,
            r#"<Redirect method="POST">https://voice.example.com/next"#,
            r#"#ct=1000&amp;rt=5000&amp;rc=5&amp;rp=ct,rt,5xx&amp;tt=15000</Redirect></Response>"#,
        );
        assert_eq!(twiml.render(), expected);
    }

    #[test]
    fn a_person_is_asked_for_a_key_before_the_call_is_theirs() {
        let heard = Twiml::new().say_in(Some("de-DE"), "Ein Anruf").play("https://h/music").pause(1);
        let gather = Gather { action: "https://h/key", timeout_seconds: 10, asks_without_key: true };
        let conference = Conference {
            name: "room",
            label: "person",
            action: None,
            wait: "https://h/wait?a=1&b=2",
            status_callback: "https://h/events",
        };
        let fragment = "#ct=1000&amp;rt=5000&amp;rc=5&amp;rp=ct,rt,5xx&amp;tt=15000";
        let expected = format!(
            concat!(
                r#"<?xml version="1.0" encoding="UTF-8"?><Response><Gather input="dtmf" numDigits="1" timeout="10""#,
                r#" finishOnKey="" actionOnEmptyResult="true" action="https://h/key{0}" method="POST">"#,
                r#"<Say language="de-DE">Ein Anruf</Say><Play>https://h/music</Play><Pause length="1"/></Gather>"#,
                r#"<Dial><Conference participantLabel="person" beep="false" startConferenceOnEnter="true""#,
                r#" endConferenceOnExit="true" waitUrl="https://h/wait?a=1&amp;b=2{0}" waitMethod="POST""#,
                r#" statusCallbackEvent="start end join leave" statusCallback="https://h/events{0}""#,
                r#" statusCallbackMethod="POST">room</Conference></Dial></Response>"#,
            ),
            fragment
        );
        assert_eq!(Twiml::new().gather(gather, &heard).conference(conference).render(), expected);
    }

    #[test]
    fn a_caller_leaves_a_message() {
        let twiml = Twiml::new().record(Record {
            action: "https://voice.example.com/done",
            recording_status_callback: "https://voice.example.com/status",
            max_length_seconds: 120,
            timeout_seconds: 5,
            finish_on_key: "#",
        });
        let fragment = "#ct=1000&amp;rt=5000&amp;rc=5&amp;rp=ct,rt,5xx&amp;tt=15000";
        let expected = format!(
            concat!(
                r#"<?xml version="1.0" encoding="UTF-8"?><Response><Record action="https://voice.example.com/done{0}""#,
                r##" method="POST" maxLength="120" timeout="5" finishOnKey="#" playBeep="true""##,
                r#" recordingStatusCallback="https://voice.example.com/status{0}""#,
                r#" recordingStatusCallbackMethod="POST" recordingStatusCallbackEvent="completed absent"/></Response>"#,
            ),
            fragment
        );
        assert_eq!(twiml.render(), expected);
    }

    #[test]
    fn a_document_without_verbs_is_the_empty_answer() {
        assert_eq!(Twiml::new().render(), r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#);
    }

    #[test]
    fn characters_that_xml_cannot_hold_are_dropped() {
        assert!(Twiml::new().say("a\0b\u{1b}c\u{ffff}d").render().contains("<Say>abcd</Say>"));
    }

    proptest! {
        #[test]
        fn a_parser_reads_back_what_was_written(value in any::<String>(), text in any::<String>()) {
            let legal = |s: &str| s.chars().filter(|&c| is_xml(c)).collect::<String>();
            let document = Twiml::new()
                .connect_stream(ConnectStream {
                    action: "a", stream_url: "s", status_callback: "c", parameters: &[("token", &value)],
                })
                .say(&text)
                .render();
            let mut reader = Reader::from_str(&document);
            let (mut read_value, mut read_text, mut in_say) = (String::new(), String::new(), false);
            loop {
                match reader.read_event().unwrap() {
                    Event::Empty(element) => {
                        let attribute = element.try_get_attribute("value").unwrap().unwrap();
                        read_value = attribute.unescape_value().unwrap().into_owned();
                    }
                    Event::Start(element) => in_say = element.name().as_ref() == b"Say",
                    Event::End(_) => in_say = false,
                    Event::Text(piece) if in_say => read_text.push_str(&piece.decode().unwrap()),
                    Event::GeneralRef(entity) if in_say => {
                        let name = entity.decode().unwrap();
                        read_text.push_str(&quick_xml::escape::unescape(&format!("&{name};")).unwrap());
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            prop_assert_eq!(read_value, legal(&value));
            prop_assert_eq!(read_text, legal(&text));
        }
    }
}
