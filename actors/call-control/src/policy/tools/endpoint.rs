//! Where the tools of whoever runs the agent are asked.

use serde_json::{Value, json};
use url::Url;

use super::Schema;
use crate::Millis;
use crate::secret::Secret;

/// An HTTP endpoint that is sent a tool's arguments and answers with JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`, or `http` to this machine; its host is one that was allowed.
    pub url: Url,
    /// An answer that comes later counts as none.
    pub within: Millis,
    /// Sent as `Authorization: Bearer`.
    pub secret: Option<Secret>,
    /// What the answer must fit.
    pub answer: Option<Schema>,
}

/// A server of tools that the Realtime service asks by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpServer {
    pub label: String,
    pub url: Url,
    /// What the service shows the server.
    pub authorization: Option<Secret>,
    /// The tools that may be used; none: all.
    pub allowed_tools: Option<Vec<String>>,
}

impl McpServer {
    /// As the session is told of it. Nobody is there to approve of a call.
    pub(super) fn to_json(&self) -> Value {
        let mut json = json!({
            "type": "mcp", "server_label": self.label, "server_url": self.url.as_str(), "require_approval": "never",
        });
        if let Some(authorization) = &self.authorization {
            json["authorization"] = json!(authorization.expose());
        }
        if let Some(allowed_tools) = &self.allowed_tools {
            json["allowed_tools"] = json!(allowed_tools);
        }
        json
    }
}
