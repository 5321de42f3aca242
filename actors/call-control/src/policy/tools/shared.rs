//! For `serde(with)`: the tools that calls share, as a recording needs them. What a tool is called with is
//! recorded as it was read, so neither schemas nor endpoints are, and no secret.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Endpoint, Kind, Schema, Tool, Toolbox};
use crate::Millis;

/// Nobody asks it.
const NOWHERE: &str = "https://localhost/";

#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    does: Does,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Does {
    EndCall,
    TransferToHuman,
    TakeMessage,
    FlagUrgent,
    Http { within: Millis },
}

pub fn serialize<S: Serializer>(toolbox: &Arc<Toolbox>, serializer: S) -> Result<S::Ok, S::Error> {
    let kept = toolbox.tools.iter().map(|tool| {
        let does = match &tool.kind {
            Kind::EndCall => Does::EndCall,
            Kind::TransferToHuman => Does::TransferToHuman,
            Kind::TakeMessage => Does::TakeMessage,
            Kind::FlagUrgent => Does::FlagUrgent,
            Kind::Http(endpoint) => Does::Http { within: endpoint.within },
        };
        Kept { name: tool.name.clone(), does }
    });
    kept.collect::<Vec<_>>().serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Toolbox>, D::Error> {
    let tools = Vec::<Kept>::deserialize(deserializer)?.into_iter().map(|Kept { name, does }| {
        let kind = match does {
            Does::EndCall => Kind::EndCall,
            Does::TransferToHuman => Kind::TransferToHuman,
            Does::TakeMessage => Kind::TakeMessage,
            Does::FlagUrgent => Kind::FlagUrgent,
            Does::Http { within } => {
                let url = NOWHERE.parse().expect("a constant URL parses");
                Kind::Http(Box::new(Endpoint { url, within, secret: None, answer: None }))
            }
        };
        Tool { name, description: String::new(), parameters: Schema::default(), kind }
    });
    Ok(Arc::new(Toolbox { tools: tools.collect(), mcp: Vec::new() }))
}
