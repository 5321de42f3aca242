//! The people a caller can be given to, as the agent file names them.

use actors::call::destinations::{Destination, Manner};

use super::{REQUIRED, read, with_agent_file};

fn told(text: &str) -> Vec<String> {
    let faults = with_agent_file(text).expect_err(text);
    let told = faults.iter().map(|fault| {
        let line = fault.name.rsplit_once(':').map_or("", |(_, line)| line);
        format!("{line} {}", fault.wrong)
    });
    told.collect()
}

#[test]
fn destinations_are_read_in_the_files_order_and_are_warm_unless_told_otherwise() {
    let persona = with_agent_file(
        "[[destinations]]\nname = \"reception\"\ndescription = \"Appointments.\"\nnumber = \"+14155550101\"\n\
         [[destinations]]\nname = \"Dr. Müller\"\nnumber = \"+14155550102\"\ntransfer = \"cold\"\nring_seconds = 30\n",
    );
    let destinations = persona.unwrap().agent.persona.destinations;
    let reception = Destination {
        name: "reception".into(),
        description: "Appointments.".into(),
        number: "+14155550101".into(),
        manner: Manner::Warm,
        ring_seconds: 20,
    };
    assert_eq!(destinations[0], reception);
    let doctor = &destinations[1];
    assert_eq!((doctor.name.as_str(), doctor.manner, doctor.ring_seconds), ("Dr. Müller", Manner::Cold, 30));
}

#[test]
fn faults_of_a_destination_name_its_line_and_no_number() {
    let faults = told(
        "name = \"Ada\"\n[[destinations]]\nname = \"a\"\nnumber = \"0415 5550101\"\n\
         [[destinations]]\nname = \"a\"\nnumber = \"+14155550101\"\n\
         [[destinations]]\nname = \"b/c\"\nnumber = \"+14155550101\"\ntransfer = \"hot\"\nring_seconds = 90\nfax = 1\n\
         [[destinations]]\ndescription = \"nobody\"\n",
    );
    assert_eq!(
        faults,
        [
            "2 has a `number` of `a` that is not a telephone number",
            "5 has a second destination `a`",
            "11 has an unknown `transfer`",
            "12 has `ring_seconds` out of range",
            "13 has the unknown key `fax` in a destination",
            "8 has a destination whose name is not a plain name of letters, digits, spaces and `.-_'`",
            "8 has the `number` of `b/c` twice",
            "14 has a destination without `name`",
            "14 has a destination without `number`",
        ]
    );
    assert!(!faults.concat().contains("555"), "{faults:?}");
    assert_eq!(told("destinations = 1\n"), ["1 has `destinations` that are no list of tables"]);
    let many: String =
        (0..9).map(|n| format!("[[destinations]]\nname = \"d{n}\"\nnumber = \"+1415555010{n}\"\n")).collect();
    assert_eq!(told(&many), ["1 has 9 destinations"]);
}

#[test]
fn our_own_number_is_no_destination() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[[destinations]]\nname = \"desk\"\nnumber = \"+15005550006\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let ours = [("AGENT_FILE", path), ("TWILIO_FROM_NUMBER", "+15005550006")];
    let faults = read(&[&REQUIRED[..], &ours].concat()).unwrap_err();
    let fault = faults.iter().next().unwrap();
    assert!(fault.name.ends_with(":1"), "{faults}");
    assert_eq!(fault.wrong, "has a `number` of `desk` that is our own (TWILIO_FROM_NUMBER)");
    assert!(read(&[&REQUIRED[..], &ours[..1]].concat()).is_ok(), "it is not known to be ours");

    let both = [("HUMAN_FALLBACK_NUMBER", "+15005550006"), ("TWILIO_FROM_NUMBER", "+15005550006")];
    let faults = read(&[&REQUIRED[..], &both].concat()).unwrap_err();
    assert_eq!(faults.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>(), ["HUMAN_FALLBACK_NUMBER"]);
}
