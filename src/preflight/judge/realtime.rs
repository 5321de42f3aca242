//! The Realtime service: the key, the model, the agent.

use crate::preflight::Line;
use crate::preflight::facts::{Facts, Realtime};
use crate::preflight::models::{AS_OF, Life, life};

pub(super) fn lines(facts: &Facts) -> [Line; 3] {
    [trial(&facts.realtime), model(facts), agent(facts.said.agent.as_deref())]
}

/// Whether the service takes key, model and agent.
pub fn trial(realtime: &Realtime) -> Line {
    let name = "realtime";
    match realtime {
        Realtime::Answers => Line::pass(name, "the service takes key, model and agent, and answers"),
        Realtime::Refuses { code, said, setting } => {
            let remedy = match code.as_str() {
                "insufficient_quota" | "billing_hard_limit_reached" => {
                    "add credit to the OpenAI account, or raise its limit".to_owned()
                }
                "account_deactivated" => "see the OpenAI account: it is deactivated".to_owned(),
                _ if setting.is_empty() => "see the service's console for the key's project".to_owned(),
                _ => format!("change {setting}"),
            };
            Line::fail(name, format!("the service refuses: {said}"), remedy)
        }
        Realtime::Limits(said) => Line::fail(
            name,
            format!("the service answers, and the account has reached a rate limit: {said}"),
            "run the check again in a minute; raise the rate limits of the OpenAI account if calls need more",
        ),
        Realtime::Fails(why) => Line::fail(
            name,
            format!("no session could be opened: {why}"),
            "check OPENAI_REALTIME_URL, the way out of this network, and status.openai.com",
        ),
    }
}

fn model(facts: &Facts) -> Line {
    let (name, model) = ("model", &facts.said.model);
    let remedy = |successor: &str| format!("set OPENAI_REALTIME_MODEL={successor}");
    match life(model, facts.now.date_naive()) {
        Life::NotKnown => Line::pass(name, format!("no end of {model} is known (as of {AS_OF})")),
        Life::Until { end, .. } => Line::pass(name, format!("{model} runs until {end}")),
        Life::Near { end, successor } => {
            Line::warn(name, format!("{model} ends on {end}"), remedy(successor))
        }
        Life::Over { end, successor } => {
            Line::fail(name, format!("{model} has ended on {end}"), remedy(successor))
        }
    }
}

fn agent(agent: Option<&str>) -> Line {
    match agent {
        Some(agent) => Line::pass("agent", format!("{agent} answers")),
        None => Line::warn(
            "agent",
            "the built-in receptionist of a small clinic answers",
            "write an agent file, and name it in AGENT_FILE",
        ),
    }
}
