use super::*;

fn reception() -> [Destination; 1] {
    let name = "reception".to_owned();
    [Destination { name, ..Destination::person_on_duty("+14155550123") }]
}

fn own(name: &str) -> Tool {
    let parameters = json!({"type": "object", "properties": {"day": {"type": "string", "format": "date"}}});
    let endpoint = Endpoint {
        url: "https://example.com/slots".parse().unwrap(),
        within: DEFAULT_WITHIN,
        secret: Some(crate::secret::Secret::new("k".into())),
        answer: None,
    };
    Tool {
        name: name.into(),
        description: "Lists free slots.".into(),
        parameters: Schema::of_object(parameters).unwrap(),
        kind: Kind::Http(Box::new(endpoint)),
    }
}

#[test]
fn a_transfer_is_offered_only_where_there_is_somebody_and_only_by_name() {
    assert!(Toolbox::default().get("transfer_to_human").is_none());
    let toolbox = Toolbox::default().with_destinations(&reception());
    let (tool, arguments) =
        toolbox.read("transfer_to_human", r#"{"destination":"reception","reason":"a question"}"#).unwrap();
    assert_eq!((&tool.kind, arguments["destination"].as_str()), (&Kind::TransferToHuman, Some("reception")));
    for wrong in [
        r#"{"destination":"+14155550123","reason":"a question"}"#,
        r#"{"destination":"reception"}"#,
        r#"{"destination":"reception","reason":"x","number":"+14155550123"}"#,
    ] {
        let refused = toolbox.read("transfer_to_human", wrong).unwrap_err();
        assert!(matches!(refused, Refused::BadArguments { .. }), "{wrong}: {refused}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_told_with_their_place() {
    let toolbox = Toolbox::default();
    let wrong = |arguments: &str| toolbox.read("take_message", arguments).unwrap_err().to_string();
    assert!(wrong(r#"{"message":5}"#).contains("/message: 5 is not of type \"string\""));
    assert!(wrong(r#"{"name":"Ann"}"#).contains("\"message\" is a required property"));
    assert!(wrong(r#"{"message":"cut o"#).contains("they are not JSON"));
    assert!(wrong(&format!(r#"{{"message":"{}"}}"#, "x".repeat(MAX_ARGUMENT_BYTES))).contains("longer than"));
    assert!(wrong(&format!(r#"{{"message":{}}}"#, "[".repeat(4_000))).contains("not JSON"));
    assert!(toolbox.read("take_message", r#"{"message":"Call me."}"#).is_ok());
    assert!(toolbox.read("end_call", "").is_ok(), "no arguments at all");
    let refused = toolbox.read("shell", "{}").unwrap_err().to_string();
    assert_eq!(refused, "there is no tool named shell. There are: end_call, take_message, flag_urgent");
}

#[test]
fn own_tools_come_behind_the_built_in_ones_and_never_in_their_names() {
    let toolbox =
        Toolbox::new(&reception(), vec![own("free_slots"), own("end_call"), own("free_slots")], vec![]);
    let names: Vec<_> = toolbox.tools().iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["end_call", "transfer_to_human", "take_message", "flag_urgent", "free_slots"]);
    assert_eq!(toolbox.get("end_call").unwrap().kind, Kind::EndCall);
    let many = (0..100).map(|n| own(&format!("tool_{n}"))).collect();
    assert_eq!(Toolbox::new([], many, vec![]).tools().len(), MAX_TOOLS);
}

#[test]
fn the_session_is_told_of_functions_and_servers_and_never_of_an_endpoint_or_its_secret() {
    let server = McpServer {
        label: "calendar".into(),
        url: "https://mcp.example.com/".parse().unwrap(),
        authorization: None,
        allowed_tools: Some(vec!["list".into()]),
    };
    let told = Toolbox::new([], vec![own("free_slots")], vec![server]).to_json();
    assert_eq!(told[3]["name"], "free_slots");
    assert_eq!(told[3]["parameters"]["properties"]["day"]["format"], "date");
    assert!(!told[3].to_string().contains("example.com"));
    let server = json!({"type": "mcp", "server_label": "calendar", "server_url": "https://mcp.example.com/",
        "require_approval": "never", "allowed_tools": ["list"]});
    assert_eq!(told[4], server);
}

#[test]
fn a_schema_that_is_none_fetches_or_could_take_for_ever_is_refused() {
    for wrong in [
        json!({"type": "object", "properties": {"a": {"type": "strnig"}}}),
        json!({"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}}),
        json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(a)\\1"}}}),
        json!({"type": "array"}),
        json!([]),
    ] {
        assert!(Schema::of_object(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_tools_name_is_what_the_service_takes() {
    assert!(is_name("free_slots-2") && is_name(&"x".repeat(64)));
    assert!(!is_name("") && !is_name("free slots") && !is_name("größe") && !is_name(&"x".repeat(65)));
}
