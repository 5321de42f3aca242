//! What an operator does to a process, while the database is away.

use actix_web::http::Method;
use actors::db::record::NextStep;
use actors::registry::Answer;

use super::*;

async fn told(app: &web::Data<App>, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = local(&format!("/api/ops/{path}")).method(Method::POST);
    let request = match body {
        Some(body) => request.set_json(body),
        None => request,
    };
    let response = answer(app, request).await;
    (response.status().as_u16(), super::body(response).await)
}

async fn asked(app: &web::Data<App>, path: &str) -> (u16, Value) {
    let response = answer(app, local(&format!("/api/ops/{path}"))).await;
    (response.status().as_u16(), super::body(response).await)
}

async fn rings(app: &App, number: u32) -> Answer {
    let call_sid = format!("CA{number:032x}").parse().unwrap();
    app.registry.admit(call_sid, String::new(), String::new()).await.unwrap()
}

async fn not_ready(app: &web::Data<App>) -> String {
    let problem = body(answer(app, local("/readyz")).await).await;
    problem["detail"].as_str().unwrap().to_owned()
}

#[actix_rt::test]
async fn an_operator_has_no_new_calls_taken_and_taken_again_until_the_process_ends() {
    let app = app(&[("API_AUTH", "off")]);
    let (status, now) = told(&app, "drain", None).await;
    assert_eq!((status, &now["draining"]), (200, &json!(true)));
    assert!(not_ready(&app).await.starts_with("draining"));
    assert_eq!(body(answer(&app, local("/healthz")).await).await["status"], "draining");
    assert_eq!(rings(&app, 1).await, Answer::Next(NextStep::HandedOver));
    assert!(!app.is_ending(), "it does not end");

    let (status, now) = told(&app, "resume", None).await;
    assert_eq!((status, &now["draining"]), (200, &json!(false)));
    assert!(not_ready(&app).await.contains("schema"), "the database is away");
    assert_eq!(rings(&app, 1).await, Answer::Connect { epoch: 1 });

    app.drains();
    let (status, problem) = told(&app, "resume", None).await;
    assert_eq!(status, 409, "{problem}");
    assert!(not_ready(&app).await.starts_with("draining"));
}

#[actix_rt::test]
async fn a_drain_and_a_resume_at_the_same_time_leave_a_process_that_does_what_it_says() {
    let app = app(&[("API_AUTH", "off")]);
    for number in 1..=4 {
        told(&app, "drain", None).await;
        let both = futures_util::join!(told(&app, "resume", None), told(&app, "drain", None));
        assert_eq!((both.0.0, both.1.0), (200, 200));
        let is_refused = rings(&app, number).await == Answer::Next(NextStep::HandedOver);
        assert_eq!(is_refused, app.is_draining());
    }
}

#[actix_rt::test]
async fn the_pool_gets_another_size_within_bounds() {
    let app = app(&[("API_AUTH", "off"), ("DB_POOL_MAX", "7")]);
    let (_, now) = asked(&app, "pool").await;
    assert_eq!((&now["size"], &now["configured"]), (&json!(7), &json!(7)));
    for wrong in [json!({"size": 0}), json!({"size": 101}), json!({"size": "25"}), json!({}), json!([25])] {
        let (status, problem) = told(&app, "pool", Some(wrong.clone())).await;
        assert_eq!(status, 400, "{wrong}: {problem}");
    }
    let (status, now) = told(&app, "pool", Some(json!({"size": 25}))).await;
    assert_eq!((status, &now["size"], &now["configured"]), (200, &json!(25), &json!(7)));
    assert!(now["note"].as_str().unwrap().contains("share"), "{now}");
    assert_eq!(app.db.status().pool_size(), 25);
}

#[actix_rt::test]
async fn a_wrong_body_is_refused_with_what_is_expected() {
    let app = app(&[("API_AUTH", "off")]);
    for (path, wrong, field) in [
        ("idle-transactions/kill", json!({"olderThanSeconds": 0}), "olderThanSeconds"),
        ("idle-transactions/kill", json!({"olderThan": 30}), "body"),
        ("webhooks/retry", json!({"id": "all"}), "body"),
        ("log-level", json!({"level": "info,actors=loud"}), "level"),
        ("log-level", json!({"level": "tokio_postgres=debug"}), "level"),
        ("log-level", json!({"level": "debug", "minutes": 0}), "minutes"),
        ("log-level", json!({}), "body"),
    ] {
        let (status, problem) = told(&app, path, Some(wrong.clone())).await;
        assert_eq!((status, problem["field"].as_str()), (400, Some(field)), "{path} {wrong}: {problem}");
    }
}

#[actix_rt::test]
async fn a_call_is_given_to_nobody_where_there_is_no_person_or_no_call() {
    let path = "calls/CA00000000000000000000000000000001/transfer";
    let without = app(&[("API_AUTH", "off")]);
    assert_eq!(told(&without, path, None).await.0, 409);
    let with = app(&[("API_AUTH", "off"), ("HUMAN_FALLBACK_NUMBER", "+14155550123")]);
    assert_eq!(told(&with, path, None).await.0, 404);
    rings(&with, 1).await;
    assert_eq!(told(&with, path, None).await.0, 409, "the caller is not on the line");
}

#[actix_rt::test]
async fn while_the_database_is_away_the_picture_lacks_what_only_the_database_knows() {
    let app = app(&[("API_AUTH", "off"), ("DB_POOL_MAX", "7")]);
    rings(&app, 1).await;
    let (status, picture) = asked(&app, "status").await;
    assert_eq!(status, 200);
    assert_eq!((&picture["webhooks"], &picture["jobs"]), (&Value::Null, &Value::Null));
    assert!(picture["missing"].as_str().unwrap().contains("webhooks and jobs"));
    assert_eq!((&picture["instance"], &picture["draining"]), (&json!("here"), &json!(false)));
    assert_eq!((&picture["capacity"]["reserved"], &picture["pool"]["size"]), (&json!(1), &json!(7)));
    assert_eq!(picture["restarts"][1], json!({"actor": "call", "restarts": 0, "panics": 0}));
    assert_eq!(picture["health"]["calls"]["limit"], 20);
    for path in ["jobs", "webhooks", "idle-transactions", "slow-queries"] {
        assert_eq!(asked(&app, path).await.0, 503, "{path}");
    }
    for path in ["jobs/retention/pause", "jobs/retention/run"] {
        assert_eq!(told(&app, path, None).await.0, 503, "{path}");
    }
    assert_eq!(told(&app, "idle-transactions/kill", Some(json!({}))).await.0, 503);
}
