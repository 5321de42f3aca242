//! Who may do what, while the database is away: by what it has said within the last five minutes.

use actix_web::http::Method;
use actors::access::{Role, Scope, Scopes};

use super::*;
use crate::http::auth::{Identity, Kind, NEEDS, Need};

const POSTED: [&str; 14] = [
    "/login",
    "/logout",
    "/listened",
    "/hang-up",
    "/transfer",
    "/acknowledge",
    "/drain",
    "/resume",
    "/pause",
    "/run",
    "/kill",
    "/retry",
    "/log-level",
    "/pool",
];

fn user(role: Role) -> Identity {
    Identity { name: role.to_string(), kind: Kind::User { id: 1, role }, scopes: role.scopes() }
}

fn token(scopes: &[Scope]) -> Identity {
    Identity { name: "program".to_owned(), kind: Kind::Token { id: 1 }, scopes: Scopes::of(scopes) }
}

/// A request for a route of the table, as a page of ours sends it.
fn asks(pattern: &str) -> TestRequest {
    let path = pattern.replace("{callSid}", "CA00000000000000000000000000000001");
    let is_posted = POSTED.iter().any(|end| pattern.ends_with(end));
    let method = if is_posted { Method::POST } else { Method::GET };
    local(&path).method(method).insert_header(("Sec-Fetch-Site", "same-origin"))
}

#[actix_rt::test]
async fn each_route_is_open_to_whoever_has_its_scope_and_to_nobody_else() {
    let app = app(&[("RATE_LIMIT_API", "10000/1m"), ("RATE_LIMIT_AUTH", "10000/1m")]);
    let tokens = Scope::ALL.map(|scope| token(&[scope]));
    let everybody = Role::ALL.map(user).into_iter().chain(tokens).chain([token(&[])]);
    let everybody: Vec<_> = everybody.collect();
    for (pattern, need) in NEEDS {
        let nobody = answer(&app, asks(pattern)).await;
        let is_refused = nobody.status() == StatusCode::UNAUTHORIZED;
        assert_eq!(is_refused, need != Need::Nothing, "{pattern}: {}", nobody.status());
        for identity in &everybody {
            let shown = app.auth.has_let_in(identity.clone()); // anew: one of the routes ends a session
            let response = answer(&app, asks(pattern).insert_header(shown)).await;
            let status = response.status();
            let missing = match need {
                Need::Scope(scope) => Some(scope).filter(|scope| !identity.scopes.allow(*scope)),
                Need::Nothing | Need::Login => None,
            };
            let Some(missing) = missing else {
                let is_refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
                assert!(!is_refused, "{pattern} for {identity:?}: {status}");
                continue;
            };
            assert_eq!(status, StatusCode::FORBIDDEN, "{pattern} for {identity:?}");
            let problem = body(response).await;
            assert_eq!(problem["scope"], missing.as_str());
            assert_eq!(problem["detail"], format!("this needs the scope `{missing}`"));
        }
    }
}

/// The path with one of its letters written as an escape, for each of them.
fn escaped(path: &str) -> impl Iterator<Item = String> {
    let letters = path.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric());
    letters.map(|(at, letter)| format!("{}%{:02x}{}", &path[..at], letter as u32, &path[at + 1..]))
}

#[actix_rt::test]
async fn a_path_that_is_written_with_escapes_opens_nothing_more() {
    let app = app(&[("RATE_LIMIT_API", "100000/1m"), ("RATE_LIMIT_AUTH", "100000/1m")]);
    let (_, viewer) = app.auth.has_let_in(user(Role::Viewer));
    let (_, scraper) = app.auth.has_let_in(token(&[Scope::Metrics]));
    for (pattern, need) in NEEDS {
        let Need::Scope(scope) = need else { continue };
        let path = pattern.replace("{callSid}", "CA00000000000000000000000000000001");
        for path in escaped(&path) {
            let status = async |name, shown: &String| {
                let request = asks(pattern).uri(&path).insert_header((name, shown.clone()));
                answer(&app, request).await.status().as_u16()
            };
            let by_the_scraper = status("Authorization", &scraper).await;
            assert!([403, 404].contains(&by_the_scraper), "{path}: {by_the_scraper}");
            let by_the_viewer = status("Cookie", &viewer).await;
            let may = Role::Viewer.scopes().allow(scope);
            assert!(may || [403, 404].contains(&by_the_viewer), "{path}: {by_the_viewer}");
        }
    }
}

#[actix_rt::test]
async fn while_the_database_is_away_whoever_it_does_not_know_of_is_not_let_in() {
    let app = app(&[]);
    let status = async |shown: (&'static str, String)| {
        answer(&app, asks("/api/auth/me").insert_header(shown)).await.status().as_u16()
    };
    let (name, cookie) = app.auth.has_let_in(user(Role::Admin));
    assert_eq!(status((name, cookie.clone())).await, 200);
    let another = super::app(&[]).auth.has_let_in(user(Role::Admin));
    assert_eq!(status(another).await, 503, "signed by us, and not known");
    assert_eq!(status((name, format!("{cookie}A"))).await, 401, "not signed by us");
    let (name, bearer) = super::app(&[]).auth.has_let_in(token(&[Scope::Logs]));
    assert_eq!(status((name, bearer)).await, 503);
    assert_eq!(status((name, "Bearer guess".to_owned())).await, 401, "it can be no token");
    assert_eq!(status((name, "Basic YW5uYTp3b3Jk".to_owned())).await, 401);
    let attempt = json!({"name": "anna", "password": "correct horse battery"});
    let login = answer(&app, asks("/api/auth/login").set_json(attempt)).await;
    assert_eq!(login.status().as_u16(), 503);
    assert_eq!(header_of(&login, header::SET_COOKIE), "");
}

#[actix_rt::test]
async fn me_tells_a_user_the_role_and_the_scopes() {
    let app = app(&[]);
    let me =
        answer(&app, asks("/api/auth/me").insert_header(app.auth.has_let_in(user(Role::Operator)))).await;
    let told = json!({"name": "operator", "kind": "user", "role": "operator",
        "scopes": ["monitor", "logs", "operate"]});
    assert_eq!(body(me).await, told);
    let open = super::app(&[("API_AUTH", "off")]);
    let me = body(answer(&open, asks("/api/auth/me")).await).await;
    assert_eq!((&me["name"], &me["kind"]), (&json!("local"), &json!("local")));
}

#[actix_rt::test]
async fn a_page_elsewhere_does_nothing_in_the_name_of_whoever_is_logged_in() {
    let app = app(&[]);
    let shown = app.auth.has_let_in(user(Role::Admin));
    for pattern in ["/api/auth/login", "/api/auth/logout", "/api/ops/calls/{callSid}/hang-up"] {
        let posted =
            asks(pattern).insert_header(shown.clone()).insert_header(("Sec-Fetch-Site", "cross-site"));
        let refused = answer(&app, posted).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{pattern}");
        assert_eq!(body(refused).await["detail"], "the request does not come from a page of this program");
    }
}

#[actix_rt::test]
async fn protected_metrics_are_for_tokens_with_their_scope() {
    let app = app(&[("METRICS_AUTH", "token")]);
    let status = async |identity| {
        answer(&app, local("/metrics").insert_header(app.auth.has_let_in(identity))).await.status().as_u16()
    };
    assert_eq!(status(token(&[Scope::Metrics])).await, 200);
    assert_eq!(status(token(&[Scope::Monitor, Scope::Logs])).await, 403);
    assert_eq!(status(user(Role::Operator)).await, 403);
    assert_eq!(status(user(Role::Admin)).await, 200);
}

#[actix_rt::test]
async fn whoever_is_known_is_counted_by_name_and_others_by_address() {
    let app = app(&[("RATE_LIMIT_API", "1/1m")]);
    let anna = app.auth.has_let_in(user(Role::Viewer));
    let bot = app.auth.has_let_in(token(&[Scope::Logs]));
    let status = async |shown: Option<&(&'static str, String)>, peer: &str| {
        let request = asks("/api/call-logs").peer_addr(peer.parse().unwrap());
        let request = shown.into_iter().fold(request, |request, shown| request.insert_header(shown.clone()));
        answer(&app, request).await.status().as_u16()
    };
    assert_eq!(status(Some(&anna), "192.0.2.1:1").await, 503);
    assert_eq!(status(Some(&anna), "192.0.2.2:1").await, 429, "the same user elsewhere");
    assert_eq!(status(Some(&bot), "192.0.2.1:1").await, 503, "another one there");
    assert_eq!(status(None, "192.0.2.1:1").await, 401, "nobody there");
    assert_eq!(status(None, "192.0.2.1:1").await, 429);
}

#[actix_rt::test]
async fn attempts_are_counted_for_the_address_and_for_the_account_before_a_password_is_compared() {
    let app = app(&[("RATE_LIMIT_AUTH", "2/15m")]);
    let attempt = async |name: &str, peer: &str| {
        let attempt = json!({"name": name, "password": "correct horse battery"});
        let posted = asks("/api/auth/login").peer_addr(peer.parse().unwrap()).set_json(attempt);
        answer(&app, posted).await.status().as_u16()
    };
    const COUNTED: u16 = 503; // the database is away
    assert_eq!(attempt("anna", "192.0.2.1:1").await, COUNTED);
    assert_eq!(attempt("ANNA", "192.0.2.2:1").await, COUNTED);
    assert_eq!(attempt("anna", "192.0.2.3:1").await, 429, "the account");
    assert_eq!(attempt("bert", "192.0.2.1:1").await, COUNTED);
    assert_eq!(attempt("carl", "192.0.2.1:1").await, 429, "the address");
}

#[actix_rt::test]
async fn a_storm_of_guesses_does_not_keep_out_whoever_is_known() {
    let app = app(&[]);
    let known = app.auth.has_let_in(user(Role::Viewer));
    let stranger = super::app(&[]).auth.has_let_in(token(&[Scope::Monitor]));
    let told = async |shown: &(&'static str, String)| {
        let response = answer(&app, asks("/api/auth/me").insert_header(shown.clone())).await;
        (response.status().as_u16(), body(response).await["detail"].clone())
    };
    let storm = app.auth.is_stormed();
    assert_eq!(told(&known).await, (200, Value::Null));
    assert_eq!(told(&stranger).await, (503, json!("too many ask at once who are not known: try again")));
    drop(storm);
    assert_eq!(
        told(&stranger).await,
        (503, json!("temporarily unavailable")),
        "the database is asked, and away"
    );
}
