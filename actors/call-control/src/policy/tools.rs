//! What the agent can do besides talk: pure data.
//!
//! A tool has a name, a description and a schema of its arguments, which the model is told. Four are built
//! in. Whoever runs the agent declares others as HTTP endpoints, or names MCP servers, which the Realtime
//! service asks by itself.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::endpoint::{Endpoint, McpServer};
pub use self::schema::{BadSchema, Schema};
use super::destinations::Destination;
use crate::Millis;
use crate::conversation::tool_result::ToolOutcome;

mod builtin;
mod endpoint;
mod schema;
pub mod shared;

/// An agent has at most this many tools: each costs tokens in every response.
pub const MAX_TOOLS: usize = 32;
/// How long a tool may take that names no time of its own.
pub const DEFAULT_WITHIN: Millis = 8_000;
/// The longest time that a tool may be given. The caller waits in silence, or hears fillers.
pub const LONGEST_WITHIN: Millis = 15_000;
/// Longer arguments are refused before they are read.
pub const MAX_ARGUMENT_BYTES: usize = 8 << 10;

/// Something the agent can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub name: String,
    /// When to use it, in words for the model.
    pub description: String,
    pub parameters: Schema,
    pub kind: Kind,
}

/// What a tool does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Ends the call when the goodbye was heard.
    EndCall,
    /// Gives the caller to a person when the goodbye was heard.
    TransferToHuman,
    TakeMessage,
    FlagUrgent,
    /// Asks an endpoint of whoever runs the agent.
    Http(Box<Endpoint>),
}

/// All tools of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolbox {
    tools: Vec<Tool>,
    mcp: Vec<McpServer>,
}

impl Default for Toolbox {
    fn default() -> Self {
        Self::new([], vec![], vec![])
    }
}

/// Why a call of a tool is refused. The text is for the model, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no tool named {name}. There are: {known}")]
    UnknownTool { name: String, known: String },
    #[error("the arguments of {name} do not fit its schema: {wrong}. Correct them and call it again")]
    BadArguments { name: String, wrong: String },
}

/// Of a name that the model made up.
const SHOWN_NAME_CHARS: usize = 64;

impl Toolbox {
    /// So many tools are built in.
    pub const BUILT_IN: usize = builtin::NAMES.len();

    /// The built-in tools that make sense, and `own` behind them. Nobody is offered a transfer without a
    /// destination. An own tool in the name of a built-in one is left out.
    pub fn new<'a>(
        destinations: impl IntoIterator<Item = &'a Destination>,
        own: Vec<Tool>,
        mcp: Vec<McpServer>,
    ) -> Self {
        let destinations: Vec<_> = destinations.into_iter().collect();
        let mut tools = builtin::all(&destinations);
        for tool in own {
            if tools.len() < MAX_TOOLS && !tools.iter().any(|known| known.name == tool.name) {
                tools.push(tool);
            }
        }
        Self { tools, mcp }
    }

    /// The same agent's tools with these people to transfer a caller to.
    #[must_use]
    pub fn with_destinations<'a>(&self, destinations: impl IntoIterator<Item = &'a Destination>) -> Self {
        let own = self.tools.iter().filter(|tool| matches!(tool.kind, Kind::Http(_))).cloned();
        Self::new(destinations, own.collect(), self.mcp.clone())
    }

    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// Whether a tool of this name is built in, offered or not.
    pub fn is_built_in(name: &str) -> bool {
        builtin::NAMES.contains(&name)
    }

    /// The tool that is called, and its arguments, which fit its schema.
    ///
    /// # Errors
    /// There is none of that name, or the arguments do not fit.
    pub fn read(&self, name: &str, arguments: &str) -> Result<(&Tool, Value), Refused> {
        let Some(tool) = self.get(name) else {
            let known = self.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
            let name = name.chars().take(SHOWN_NAME_CHARS).collect();
            return Err(Refused::UnknownTool { name, known });
        };
        let bad = |wrong: String| Refused::BadArguments { name: tool.name.clone(), wrong };
        if arguments.len() > MAX_ARGUMENT_BYTES {
            return Err(bad(format!("they are longer than {MAX_ARGUMENT_BYTES} bytes")));
        }
        let written = if arguments.trim().is_empty() { "{}" } else { arguments };
        let value = serde_json::from_str(written).map_err(|_| bad("they are not JSON".to_owned()))?;
        tool.parameters.check(&value).map_err(bad)?;
        Ok((tool, value))
    }

    /// As the session is told of them (reference: OpenAI Realtime, "Function calling").
    pub fn to_json(&self) -> Value {
        let functions = self.tools.iter().map(|tool| {
            json!({
                "type": "function", "name": tool.name, "description": tool.description,
                "parameters": tool.parameters.as_json(),
            })
        });
        functions.chain(self.mcp.iter().map(McpServer::to_json)).collect()
    }
}

/// What became of the arguments of a call, when they were held against the tools. Plain data, so that a
/// recording can tell it without the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Read {
    Fits { arguments: Value },
    Refused { code: ToolOutcome, text: String },
}

impl Toolbox {
    /// See [`read`](Self::read).
    pub fn verdict(&self, name: &str, arguments: &str) -> Read {
        match self.read(name, arguments) {
            Ok((_, arguments)) => Read::Fits { arguments },
            Err(refused) => {
                let code = match refused {
                    Refused::UnknownTool { .. } => ToolOutcome::Unknown,
                    Refused::BadArguments { .. } => ToolOutcome::BadArguments,
                };
                Read::Refused { code, text: refused.to_string() }
            }
        }
    }
}

/// Whether a tool may have this name (reference: OpenAI Realtime, "Function calling").
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=SHOWN_NAME_CHARS).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests;
