//! The flight recorder: what is recorded of the calls, where, and for how long it is kept.

use std::time::Duration;

use actors::call::recorder::{Mode, RecorderSettings};
use actors::jobs::Retentions;

use super::reader::Reader;
use super::values::folder;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// None when nothing is recorded. Full recordings have what was said, so they are not kept for longer than
/// it.
pub(super) fn read(reader: &mut Reader<'_>, keep: &Retentions) -> Option<RecorderSettings> {
    let wanted = "`off`, `redacted` or `full`";
    let mode = reader.parsed("FLIGHT_RECORDER", None, wanted, |v| match v {
        "off" => Some(None),
        "redacted" => Some(Some(Mode::Redacted)),
        "full" => Some(Some(Mode::Full)),
        _ => None,
    });
    let folder = folder(reader, "FLIGHT_RECORDER_DIR", "recordings");
    let megabytes = reader.number("FLIGHT_RECORDER_MAX_MB", 1_024, 1, 1_000_000);
    let days = reader.number("FLIGHT_RECORDER_DAYS", 7, 1, 36_500);
    let mode = mode?;
    let said_days = keep.transcript_days.unwrap_or(days); // a file of before may be full
    let (max_bytes, max_age) = (u64::from(megabytes) << 20, DAY * days.min(said_days));
    Some(RecorderSettings { mode, folder, max_bytes, max_age })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Faults, Settings};

    fn read(variables: &[(&str, &str)]) -> Result<Option<RecorderSettings>, Faults> {
        let required =
            [("DATABASE_URL", "postgres://d/a"), ("OPENAI_API_KEY", "k"), ("TWILIO_AUTH_TOKEN", "t")];
        let find = |name: &str| required.iter().chain(variables).find(|(known, _)| *known == name);
        Settings::read(|name| find(name).map(|(_, value)| (*value).to_owned()))
            .map(|settings| settings.recorder)
    }

    #[test]
    fn nothing_is_recorded_unless_it_is_asked_for() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("FLIGHT_RECORDER", "off")]).unwrap(), None);
        let wrong = read(&[("FLIGHT_RECORDER", "on")]).unwrap_err().to_string();
        assert!(
            wrong.contains("FLIGHT_RECORDER") && wrong.contains("`off`, `redacted` or `full`"),
            "{wrong}"
        );
        assert!(read(&[("FLIGHT_RECORDER_MAX_MB", "0")]).is_err(), "it is checked even so");
    }

    #[test]
    fn recordings_have_a_folder_and_limits() {
        let of_default = read(&[("FLIGHT_RECORDER", "redacted")]).unwrap().unwrap();
        assert_eq!((of_default.mode, of_default.max_bytes), (Mode::Redacted, 1 << 30));
        assert_eq!(of_default.max_age, 7 * DAY);
        assert!(of_default.folder.ends_with("switchboard/recordings"), "{}", of_default.folder.display());
        let variables = [
            ("FLIGHT_RECORDER", "full"),
            ("FLIGHT_RECORDER_DIR", "/var/recordings"),
            ("FLIGHT_RECORDER_MAX_MB", "3"),
            ("FLIGHT_RECORDER_DAYS", "30"),
        ];
        let chosen = read(&variables).unwrap().unwrap();
        assert_eq!((chosen.mode, chosen.max_bytes, chosen.max_age), (Mode::Full, 3 << 20, 30 * DAY));
        assert_eq!(chosen.folder.to_str(), Some("/var/recordings"));
    }

    #[test]
    fn what_was_said_is_not_kept_in_a_recording_for_longer_than_in_the_log() {
        let days = |mode| {
            let keep = [("RETENTION_TRANSCRIPT_DAYS", "2"), ("FLIGHT_RECORDER", mode)];
            read(&keep).unwrap().unwrap().max_age
        };
        assert_eq!((days("full"), days("redacted")), (2 * DAY, 2 * DAY), "full ones may be left over");
    }
}
