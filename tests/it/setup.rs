//! `switchboard setup` against real servers: with all answers given, and with a person who mistypes.

use std::os::unix::fs::PermissionsExt as _;

use actors::wire::twilio::rest::NumberUrls;
use switchboard::sim::phone::network::{ACCOUNT_SID, NUMBER};

use crate::preflight::{Deployment, check, run, with};
use crate::support::app::AUTH_TOKEN;
use crate::support::postgres::TestDatabase;

/// Without these variables.
fn without(mut environment: Vec<(String, String)>, names: &[&str]) -> Vec<(String, String)> {
    environment.retain(|(name, _)| !names.contains(&name.as_str()));
    environment
}

#[actix_rt::test]
async fn with_all_answers_given_it_writes_files_that_only_their_owner_reads_and_sets_the_number_right() {
    let good = Deployment::good().await;
    let number = good.api().phone_number(NUMBER).await.unwrap().unwrap();
    let elsewhere = "https://demo.twilio.com/welcome".parse().unwrap();
    let urls = NumberUrls { voice: Some(&elsewhere), ..NumberUrls::default() };
    good.api().change_number(&number.sid, urls).await.unwrap().unwrap();
    let [out, agent] =
        ["new.env", "new.toml"].map(|name| good.folder.path().join(name).display().to_string());
    let arguments = ["setup", "--yes", "--out", &out, "--agent", &agent, "--agent-name", "Harbor Clinic"];
    let environment = without(good.environment.clone(), &["AGENT_FILE"]);
    let set = run(&environment, &arguments, "").await;
    assert!(set.all.contains("\npass  number-voice "), "{}", set.all);
    assert!(!set.all.contains("\nfail  ") && set.status <= 1, "{}", set.all);
    assert!(!set.all.contains(AUTH_TOKEN) && !set.all.contains("hunter2"), "no secret is shown: {}", set.all);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&agent).unwrap().contains("name = \"Harbor Clinic\""));

    let report = good.folder.path().to_str().unwrap();
    let checked = check(&[], &["--env-file", &out, "--report", report], "").await;
    assert_eq!((checked.bad(), checked.status), (vec![], 0), "the file has all: {}", checked.all);

    let before = std::fs::read(&out).unwrap();
    let again = run(&environment, &arguments, "").await;
    assert!(again.status == 64 && again.all.contains("exists: give --overwrite"), "{}", again.all);
    let refused = run(&environment, &["setup", "--out", &out], "n\n").await;
    assert!(refused.status == 64 && refused.all.contains("Replace it? [y/N]"), "{}", refused.all);
    assert_eq!(std::fs::read(&out).unwrap(), before);
}

#[actix_rt::test]
async fn a_wrong_answer_is_told_at_once_and_asked_for_again() {
    let good = Deployment::good().await;
    let names = ["AGENT_FILE", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER", "HUMAN_FALLBACK_NUMBER"];
    let environment = without(good.environment.clone(), &names);
    let [out, agent] =
        ["new.env", "new.toml"].map(|name| good.folder.path().join(name).display().to_string());
    let other = format!("AC{}", "9".repeat(32));
    let typed = [
        "hush",
        "n",
        &other,
        AUTH_TOKEN,
        "n",
        ACCOUNT_SID,
        AUTH_TOKEN,
        "555",
        "n",
        NUMBER,
        "",
        "Harbor Clinic",
        "",
    ]
    .join("\n");
    let set = run(&environment, &["setup", "--out", &out, "--agent", &agent], &typed).await;
    for told in [
        "Twilio refuses the credentials",
        "TWILIO_FROM_NUMBER is not a telephone number",
        "the account has the number",
        "the service takes key, model and agent",
        "\nwarn  human-fallback ",
        "\npass  public-stream ",
    ] {
        assert!(set.all.contains(told), "{told}: {}", set.all);
    }
    assert!(!set.all.contains("hush") && !set.all.contains(AUTH_TOKEN), "no secret is shown: {}", set.all);
    let written = std::fs::read_to_string(&out).unwrap();
    assert!(written.contains(&format!("\nTWILIO_FROM_NUMBER={NUMBER}\n")), "{written}");
    assert!(written.contains("\n#HUMAN_FALLBACK_NUMBER=\n"), "{written}");
}

#[actix_rt::test]
async fn an_empty_database_gets_its_tables_and_what_is_missing_is_all_told_at_once() {
    let good = Deployment::good().await;
    let empty = TestDatabase::empty().await;
    let more = [("DATABASE_URL", empty.url.as_str()), ("DIRECT_DATABASE_URL", "")];
    let [out, agent] =
        ["new.env", "new.toml"].map(|name| good.folder.path().join(name).display().to_string());
    let arguments = ["setup", "--yes", "--out", &out, "--agent", &agent];
    let set = run(&with(good.environment.clone(), &more), &arguments, "").await;
    assert_eq!(set.status, 2, "{}", set.all);
    for told in ["\npass  schema ", "\nfail  first-user "] {
        assert!(set.all.contains(told), "{told}: {}", set.all);
    }
    let other = good.folder.path().join("other.env").display().to_string();
    let none = run(&[], &["setup", "--yes", "--out", &other, "--agent", &agent], "").await;
    assert_eq!(none.status, 64, "{}", none.all);
    for name in ["DATABASE_URL", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY"] {
        assert!(none.all.contains(&format!("\n  {name} is not set")), "{name}: {}", none.all);
    }
    assert!(!std::path::Path::new(&other).exists());
}

#[actix_rt::test]
async fn a_second_run_takes_what_the_file_has_and_keeps_a_copy_of_one_that_it_cannot_read() {
    let good = Deployment::good().await;
    let [out, agent] =
        ["new.env", "new.toml"].map(|name| good.folder.path().join(name).display().to_string());
    let arguments = ["setup", "--out", &out, "--agent", &agent];
    let first = run(&good.environment, &[&arguments[..], &["--yes"]].concat(), "").await;
    assert!(first.status <= 1, "{}", first.all);
    let written = std::fs::read_to_string(&out).unwrap() + "OF_OTHERS=kept\n";
    std::fs::write(&out, &written).unwrap();
    let key = written.lines().find(|line| line.starts_with("SECRET_KEY=")).unwrap();

    let authority = good.environment.iter().filter(|(name, _)| name == "SSL_CERT_FILE").cloned().collect();
    let second: Vec<(String, String)> = authority;
    let again = run(&second, &arguments, "y\n").await;
    assert!(again.all.contains("its settings are taken") && again.status <= 1, "{}", again.all);
    let rewritten = std::fs::read_to_string(&out).unwrap();
    assert!(rewritten.lines().any(|line| line == key), "the key is the same");
    assert!(rewritten.contains("\nOF_OTHERS=kept\n"), "{rewritten}");

    std::fs::write(&out, "half\n").unwrap();
    let more = ["--yes", "--overwrite"];
    let replaced = run(&good.environment, &[&arguments[..], &more].concat(), "").await;
    assert!(replaced.all.contains("cannot be taken") && replaced.status <= 1, "{}", replaced.all);
    assert_eq!(std::fs::read_to_string(format!("{out}.before")).unwrap(), "half\n");
    let nowhere = run(&[], &["setup", "--out", "/proc/a.env"], "").await;
    assert!(nowhere.status == 64 && nowhere.all.contains("cannot be written"), "{}", nowhere.all);
    assert!(!nowhere.all.contains("DATABASE_URL"), "nothing was asked: {}", nowhere.all);
}
