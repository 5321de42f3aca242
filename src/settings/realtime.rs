//! The Realtime service: its address, the model, the key.

use actors::wire::realtime::socket::Endpoint;
use url::Url;

use super::is_realtime_url;
use super::reader::Reader;

pub(super) fn read(reader: &mut Reader<'_>) -> Endpoint {
    let default_url = Url::parse("wss://api.openai.com/v1/realtime").expect("a constant URL parses");
    let url = match reader.optional("OPENAI_REALTIME_URL") {
        None => default_url,
        Some(text) => Url::parse(&text).ok().filter(is_realtime_url).unwrap_or_else(|| {
            let wrong = "is not a websocket URL such as wss://api.openai.com/v1/realtime";
            let remedy = "give it without query or user; ws only for a loopback host";
            reader.fault("OPENAI_REALTIME_URL", wrong, remedy);
            default_url
        }),
    };
    let model = reader.parsed("OPENAI_REALTIME_MODEL", "gpt-realtime-2.1".into(), "a model's name", |v| {
        (v.len() <= 128 && v.bytes().all(|b| b.is_ascii_graphic())).then(|| v.to_owned())
    });
    Endpoint {
        api_key: reader.required_secret("OPENAI_API_KEY", "give an API key of your OpenAI project"),
        url,
        model,
    }
}
