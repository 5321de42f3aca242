//! Which elements there are, and which attributes each may have.

const RECORDING: [&str; 3] =
    ["recordingStatusCallback", "recordingStatusCallbackMethod", "recordingStatusCallbackEvent"];

/// Attributes of `<Dial>`, `<Conference>`, `<Record>` and `<Gather>` beside those of their recordings.
const DIAL: &[&str] = &[
    "action",
    "method",
    "timeout",
    "timeLimit",
    "callerId",
    "answerOnBridge",
    "record",
    "recordingTrack",
    "trim",
    "hangupOnStar",
    "ringTone",
    "sequential",
    "referUrl",
    "callReason",
];
const CONFERENCE: &[&str] = &[
    "muted",
    "beep",
    "startConferenceOnEnter",
    "endConferenceOnExit",
    "participantLabel",
    "waitUrl",
    "waitMethod",
    "maxParticipants",
    "jitterBufferSize",
    "record",
    "statusCallback",
    "statusCallbackMethod",
    "statusCallbackEvent",
    "coach",
    "region",
    "trim",
];
const RECORD: &[&str] = &[
    "action",
    "method",
    "maxLength",
    "timeout",
    "finishOnKey",
    "playBeep",
    "trim",
    "transcribe",
    "transcribeCallback",
];

const GATHER: &[&str] = &[
    "action",
    "method",
    "input",
    "numDigits",
    "timeout",
    "finishOnKey",
    "actionOnEmptyResult",
    "language",
    "bargeIn",
];

/// The attributes that an element may have; none for an unknown element.
pub(super) fn attributes(element: &str) -> Option<Vec<&'static str>> {
    let (own, recording): (&[&'static str], bool) = match element {
        "Response" | "Hangup" => (&[], false),
        "Say" => (&["voice", "language", "loop"], false),
        "Play" => (&["loop", "digits"], false),
        "Pause" => (&["length"], false),
        "Redirect" => (&["method"], false),
        "Reject" => (&["reason"], false),
        "Connect" => (&["action", "method"], false),
        "Stream" => (&["url", "name", "track", "statusCallback", "statusCallbackMethod"], false),
        "Parameter" => (&["name", "value"], false),
        "Number" => (
            &["statusCallback", "statusCallbackMethod", "statusCallbackEvent", "url", "method", "sendDigits"],
            false,
        ),
        "Gather" => (GATHER, false),
        "Dial" => (DIAL, true),
        "Conference" => (CONFERENCE, true),
        "Record" => (RECORD, true),
        _ => return None,
    };
    Some(own.iter().chain(recording.then_some(&RECORDING).into_iter().flatten()).copied().collect())
}
