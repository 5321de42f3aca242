//! The tools of the agent file, and what the environment says of them.

use actors::call::tool_policy::Kind;

use super::{Faults, REQUIRED, read};
use crate::settings::Settings;

/// With hosts that may be asked and with a tool's secret.
fn with_tools(text: &str) -> Result<Settings, Faults> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap();
    let given = [
        ("AGENT_FILE", path),
        ("TOOL_HOSTS", "crm.example.com, 127.0.0.1"),
        ("TOOL_SECRET_CRM", "s3cret"),
        ("HUMAN_FALLBACK_NUMBER", "+14155550123"),
    ];
    read(&[&REQUIRED[..], &given].concat())
}

fn told(text: &str) -> Vec<String> {
    let faults = with_tools(text).expect_err(text);
    assert!(!faults.to_string().contains("s3cret"));
    let told = faults.iter().map(|fault| {
        let line = fault.name.rsplit_once(':').map_or("", |(_, line)| line);
        format!("{line} {}", fault.wrong)
    });
    told.collect()
}

const SLOTS: &str = "[[tools]]\nname = \"slots\"\ndescription = \"Free slots.\"\n";

#[test]
fn a_tool_is_read_whole_and_the_agent_has_it_beside_the_built_in_ones() {
    let settings = with_tools(&format!(
        "{SLOTS}url = \"https://crm.example.com/slots\"\ntimeout_seconds = 5\nsecret = \"TOOL_SECRET_CRM\"\n\
         [tools.parameters]\ntype = \"object\"\nrequired = [\"day\"]\nproperties.day = {{ type = \"string\", maxLength = 1_0 }}\n\
         [tools.answer]\ntype = \"array\"\n\
         [[mcp]]\nlabel = \"notes\"\nurl = \"https://crm.example.com/mcp\"\ntools = [\"find\"]\n"
    ));
    let toolbox = settings.unwrap().agent.persona.toolbox;
    let tool = toolbox.get("slots").unwrap();
    let day = serde_json::json!({"type": "string", "maxLength": 10});
    assert_eq!(tool.parameters.as_json()["properties"]["day"], day);
    let Kind::Http(endpoint) = &tool.kind else { panic!("{tool:?}") };
    assert_eq!((endpoint.url.path(), endpoint.within), ("/slots", 5_000));
    assert_eq!(endpoint.secret.as_ref().map(|secret| secret.expose()), Some("s3cret"));
    assert!(endpoint.answer.is_some());
    assert!(toolbox.get("transfer_to_human").is_some(), "there is a person on duty");
    let told = toolbox.to_json();
    assert_eq!(told[5]["server_label"], "notes");
    assert!(!format!("{toolbox:?}").contains("s3cret"));
}

#[test]
fn without_a_person_nobody_is_offered_a_transfer_and_without_a_file_the_built_in_tools_are_there() {
    let toolbox = read(&REQUIRED).unwrap().agent.persona.toolbox;
    let names: Vec<_> = toolbox.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["end_call", "take_message", "flag_urgent"]);
}

#[test]
fn a_host_that_was_not_allowed_and_a_secret_that_is_not_a_tools_are_faults() {
    let url = |url: &str| told(&format!("{SLOTS}url = \"{url}\"\n"));
    assert_eq!(
        url("https://evil.example.com/"),
        ["4 has a `url` whose host `evil.example.com` is not in TOOL_HOSTS"]
    );
    let no_url = "4 has a `url` that is no https URL without user and password";
    for wrong in ["http://crm.example.com/", "https://a:b@crm.example.com/", "file:///etc/passwd", "slots"] {
        assert_eq!(url(wrong), [no_url], "{wrong}");
    }
    let here = format!("{SLOTS}url = \"http://127.0.0.1:9/\"\n");
    assert!(with_tools(&here).is_ok());
    let secret = |name: &str| told(&format!("{here}secret = \"{name}\"\n"));
    let none = "5 has a `secret` that is no variable of a tool's secret";
    assert_eq!([secret("OPENAI_API_KEY"), secret("sk-123")], [[none.to_owned()], [none.to_owned()]]);
    let unset = "5 has a `secret` in the variable TOOL_SECRET_ERP, which is not set";
    assert_eq!(secret("TOOL_SECRET_ERP"), [unset]);
}

#[test]
fn faults_of_a_tool_name_their_lines() {
    let faults = told(
        "[[tools]]\nname = \"end_call\"\ndescription = \"x\"\nurl = \"https://crm.example.com/\"\ntimeout_seconds = 60\n\
         [[tools]]\nname = \"free slots\"\ncolour = 1\n\
         [[tools]]\nname = \"a\"\ndescription = \"x\"\nurl = \"https://crm.example.com/\"\nparameters = { type = \"list\" }\n\
         [[mcp]]\nlabel = \"b\"\n[urgent]\nphrases = \"fire\"\nlevel = 1\n",
    );
    let starts = [
        "5 has `timeout_seconds` out of range",
        "1 has a tool in the name of the built-in `end_call`",
        "7 has a name that the Realtime service does not take",
        "8 has the unknown key `colour` in a tool",
        "6 has a tool without `description`",
        "6 has a tool without `url`",
        "13 has `parameters` that are no JSON schema the agent can use",
        "14 has a MCP server without `url`",
        "17 has `phrases` that is no list of texts",
        "18 has the unknown key `level` in [urgent]",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:#?}");
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault} is not {start}");
    }
    assert_eq!(told("tools = 1\n"), ["1 has `tools` that are no list of tables"]);
}

#[test]
fn urgent_phrases_of_the_file_come_to_those_of_the_language_or_stand_alone() {
    let urgent = |text: &str| with_tools(text).unwrap().agent.persona.urgent;
    let both = urgent("[urgent]\nphrases = [\"gas leak\"]\n");
    assert!(both.find("a gas leak").is_some() && both.find("chest pain").is_some());
    let alone = urgent("[urgent]\nphrases = [\"gas leak\"]\nbuilt_in = false\n");
    assert!(alone.find("a gas leak").is_some() && alone.find("chest pain").is_none());
}
