//! The description and the program say the same.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Method;
use actors::call::flow::documents::{EPOCH, TRANSFER};
use serde_json::Map;

use super::described::{DOCUMENT, fault, operation, resolved};
use super::*;
use crate::http::auth::audit::PARAMETERS;
use crate::http::auth::{NEEDS, Need};
use crate::http::call_logs::query::{FILTERS, PAGES};

const SID: &str = "CA00000000000000000000000000000001";
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// Each path of the description, with its operations by method.
fn described() -> BTreeMap<&'static str, BTreeMap<String, &'static Value>> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let of_path = |item: &'static Value| {
        let operations = item.as_object().expect("operations").iter();
        operations.map(|(method, operation)| (method.to_uppercase(), operation)).collect()
    };
    paths.iter().map(|(path, item)| (path.as_str(), of_path(item))).collect()
}

/// Paths and methods in the list of routes, as it is written.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let (list, _) =
        include_str!("../mod.rs").split_once("/// The only route of").expect("the end of the list");
    let (mut prefix, mut found, mut services) = ("", BTreeMap::new(), 0);
    let between = |line: &'static str, before: &str| Some(line.split_once(before)?.1.split_once('"')?.0);
    for line in list.lines() {
        prefix = between(line, "web::scope(\"").unwrap_or(prefix);
        services += usize::from(line.contains(".service(") && line.contains('"'));
        for (call, methods) in [
            ("(get(\"", &["GET", "HEAD"][..]),
            ("(post(\"", &["POST"][..]),
            ("(both(\"", &["GET", "HEAD", "POST"][..]),
            ("(only(\"GET\", \"", &["GET"][..]),
        ] {
            if let Some(path) = between(line, call) {
                let methods = methods.iter().map(|method| (*method).to_owned()).collect();
                found.insert(format!("{prefix}{path}"), methods);
            }
        }
    }
    assert_eq!(found.len(), services, "each line of the list is understood");
    found
}

#[test]
fn each_route_is_described_with_each_of_its_methods_and_nothing_else_is() {
    let described = described().into_iter();
    let described = described.map(|(path, operations)| (path.to_owned(), operations.into_keys().collect()));
    assert_eq!(described.collect::<BTreeMap<_, BTreeSet<_>>>(), listed());
}

#[actix_rt::test]
async fn a_method_that_is_not_described_is_refused_with_those_that_are() {
    let app = app(&[("API_AUTH", "off"), ("RATE_LIMIT_API", "10000/1m")]);
    for (path, operations) in described() {
        let allowed = operations.keys().cloned().collect::<Vec<_>>().join(", ");
        for method in METHODS {
            let request = local(&path.replace("{callSid}", SID)).method(method.parse().unwrap());
            let response = answer(&app, request).await;
            let is_refused = response.status() == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(
                is_refused,
                !operations.contains_key(method),
                "{method} {path}: {}",
                response.status()
            );
            if is_refused {
                assert_eq!(header_of(&response, header::ALLOW), allowed, "{method} {path}");
            }
        }
    }
}

#[test]
fn the_scope_of_each_route_is_that_of_the_table() {
    for (path, need) in NEEDS {
        let (security, said) = match need {
            Need::Nothing => (Value::Null, "Open to everybody.".to_owned()),
            Need::Login => (json!([{"session": []}, {"token": []}]), "For whoever is logged in.".to_owned()),
            Need::Scope(scope) => {
                let scope = scope.as_str();
                (json!([{"session": [scope]}, {"token": [scope]}]), format!("Needs the scope `{scope}`."))
            }
        };
        for (method, operation) in &described()[path] {
            assert_eq!(operation["security"], security, "{method} {path}");
            let description = operation["description"].as_str().unwrap_or_default();
            assert!(description.ends_with(&said), "{method} {path}: {description}");
        }
    }
}

#[test]
fn the_page_has_the_scope_of_each_route() {
    let page = include_str!("../../../docs/api.md");
    let (_, table) = page.split_once("\n## Routes\n").expect("the table");
    let (table, _) = table.split_once("\n## ").expect("its end");
    let mut listed = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for route in cells[1].split('`').skip(1).step_by(2) {
            let (_, path) = route.split_once(' ').expect("a method and a path");
            if path.starts_with("/api/") && !path.starts_with("/api/voice/") {
                listed.insert(path, cells[2].to_owned());
            }
        }
    }
    let needs = NEEDS.map(|(path, need)| match need {
        Need::Nothing => (path, "–".to_owned()),
        Need::Login => (path, "any".to_owned()),
        Need::Scope(scope) => (path, format!("`{}`", scope.as_str())),
    });
    assert_eq!(listed, BTreeMap::from(needs));
}

#[test]
fn every_example_is_what_its_schema_says() {
    let mut examples = 0;
    let mut check = |place: String, of: &Value| {
        let Some(example) = of.get("example") else { return };
        examples += 1;
        assert_eq!(fault(example, &of["schema"]), None, "{place}: {example}");
    };
    let nothing = Map::new();
    for (path, operations) in described() {
        for (method, operation) in operations {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                check(format!("{method} {path} {}", parameter["name"]), parameter);
            }
            for content in operation["requestBody"]["content"].as_object().unwrap_or(&nothing).values() {
                check(format!("{method} {path}"), content);
            }
            for (status, response) in operation["responses"].as_object().expect("responses") {
                for content in resolved(response)["content"].as_object().unwrap_or(&nothing).values() {
                    check(format!("{method} {path} {status}"), content);
                }
            }
        }
    }
    assert!(examples > 40, "{examples}");
}

#[test]
fn what_must_be_posted_is_what_the_routes_ask_for() {
    let required = |name: &str| DOCUMENT["components"]["schemas"][name]["required"].clone();
    for (name, fields) in [
        ("Login", json!(["name", "password"])),
        ("Ringing", json!(["CallSid"])),
        ("AfterStream", json!(["CallSid"])),
        ("LastResort", Value::Null),
        ("Waiting", Value::Null),
        ("TransferDone", json!(["CallSid", "DialCallStatus"])),
        ("MessageLeft", json!(["CallSid"])),
        ("CallStatus", json!(["CallSid", "CallStatus"])),
        ("StreamStatus", json!(["CallSid", "StreamEvent"])),
        ("ConferenceEvents", json!(["ConferenceSid", "StatusCallbackEvent"])),
        ("RecordingStatus", json!(["RecordingSid", "RecordingStatus"])),
    ] {
        assert_eq!(required(name), fields, "{name}");
    }
}

#[actix_rt::test]
async fn twilios_routes_ask_for_what_must_be_posted_and_for_nothing_else() {
    let app = app(&[("BYPASS_TWILIO_VALIDATION", "true")]);
    let mut asked = 0;
    for (path, operations) in described() {
        let Some(posted) = operations.get("POST").filter(|_| path.starts_with("/api/voice/")) else {
            continue;
        };
        let content = &posted["requestBody"]["content"]["application/x-www-form-urlencoded"];
        let required = resolved(&content["schema"])["required"].as_array().into_iter().flatten();
        let required: Vec<&str> = required.filter_map(Value::as_str).collect();
        let left_out = required.iter().map(|name| Some(*name));
        for left_out in left_out.chain([None]) {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for name in required.iter().filter(|name| Some(**name) != left_out) {
                form.append_pair(name, if *name == "CallSid" { SID } else { "completed" });
            }
            let request = TestRequest::post().uri(path).set_payload(form.finish());
            let response = answer(&app, request).await;
            let is_wrong = response.status() == StatusCode::BAD_REQUEST;
            assert_eq!(is_wrong, left_out.is_some(), "{path} without {left_out:?}: {}", response.status());
            if let Some(left_out) = left_out {
                assert_eq!(body(response).await["field"], left_out, "{path}");
            }
            asked += 1;
        }
    }
    assert!(asked >= 20, "{asked}");
}

#[test]
fn the_parameters_in_twilios_urls_are_those_that_the_program_hands_out() {
    let names = |path| query_of(operation("POST", path).unwrap()).into_keys().collect::<Vec<_>>();
    assert_eq!(names("/api/voice/after-stream"), [EPOCH]);
    for door in ["/api/voice/transfer-done", "/api/voice/queue-wait", "/api/voice/whisper"] {
        assert_eq!(names(door), [TRANSFER]);
    }
}

/// The routes of the API but for Twilio's, with a call in the path.
fn api() -> impl Iterator<Item = (&'static str, String, Method, &'static Value)> {
    let api = described().into_iter();
    let api = api.filter(|(path, _)| path.starts_with("/api/") && !path.starts_with("/api/voice/"));
    api.flat_map(|(path, operations)| {
        let asked = path.replace("{callSid}", SID);
        let operations = operations.into_iter();
        operations.map(move |(method, operation)| (path, asked.clone(), method.parse().unwrap(), operation))
    })
}

fn query_of(operation: &Value) -> BTreeMap<&str, &Value> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let of_query = parameters.filter(|parameter| parameter["in"] == "query");
    of_query.map(|parameter| (parameter["name"].as_str().expect("a name"), parameter)).collect()
}

#[actix_rt::test]
async fn a_parameter_that_is_not_described_is_refused_by_every_route_of_the_api() {
    let app = app(&[("API_AUTH", "off"), ("RATE_LIMIT_API", "10000/1m")]);
    let mut asked = 0;
    for (path, url, method, operation) in api() {
        let request = local(&format!("{url}?nonsense=1")).method(method.clone());
        let response = answer(&app, request).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{method} {path}");
        assert_eq!(body(response).await["field"], "nonsense", "{method} {path}");
        assert!(!query_of(operation).contains_key("nonsense"));
        asked += 1;
    }
    assert!(asked >= 19, "{asked}");
}

#[actix_rt::test]
async fn each_parameter_that_is_described_is_known_with_its_example_and_may_be_empty() {
    let app = app(&[("API_AUTH", "off"), ("RATE_LIMIT_API", "10000/1m")]);
    for (path, url, method, operation) in api() {
        for (name, parameter) in query_of(operation) {
            let example = parameter["example"].as_str().map(str::to_owned);
            let example = example.unwrap_or_else(|| parameter["example"].to_string());
            let example = form_urlencoded::byte_serialize(example.as_bytes()).collect::<String>();
            let given = if parameter["example"].is_null() {
                vec![String::new()]
            } else {
                vec![String::new(), example]
            };
            for value in given {
                let request = local(&format!("{url}?{name}={value}")).method(method.clone());
                let status = answer(&app, request).await.status();
                // The alerts of this process are shown without the database.
                let is_known = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK].contains(&status);
                assert!(is_known, "{method} {path} {name}={value}: {status}");
            }
        }
    }
    let names = |path| query_of(operation("GET", path).unwrap()).into_keys().collect::<BTreeSet<_>>();
    assert_eq!(names("/api/call-logs"), PAGES.into_iter().chain(FILTERS).collect());
    assert_eq!(names("/api/call-logs.csv"), FILTERS.into());
    assert_eq!(names("/api/audit"), PARAMETERS.into());
}

#[actix_rt::test]
async fn the_description_is_open_to_everybody() {
    let app = app(&[]);
    let response = answer(&app, TestRequest::get().uri("/api/openapi.json")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, header::CONTENT_TYPE), "application/json");
    assert_eq!(body(response).await, *DOCUMENT);
}
