//! Where traces go: the variables have the names and the meaning that OpenTelemetry gives them.

use std::collections::HashMap;

use actix_web::http::header::HeaderName;
use actors::secret::Secret;
use percent_encoding::percent_decode_str;
use url::Url;

use super::has_no_extras;
use super::reader::Reader;
use crate::traces::TraceSettings;

pub(super) fn read(reader: &mut Reader<'_>) -> TraceSettings {
    let of_traces = collector(reader, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let of_all = collector(reader, "OTEL_EXPORTER_OTLP_ENDPOINT").map(|mut url| {
        let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url
    });
    let headers = headers(reader, "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
        .or(headers(reader, "OTEL_EXPORTER_OTLP_HEADERS"));
    let endpoint = of_traces.or(of_all);
    if endpoint.is_some() {
        for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
            let wanted = "`http/protobuf`, the one protocol there is";
            reader.parsed(variable, (), wanted, |v| (v == "http/protobuf").then_some(()));
        }
    }
    TraceSettings {
        endpoint,
        headers: headers.unwrap_or_default(),
        service_name: reader.optional("OTEL_SERVICE_NAME").unwrap_or_else(|| "switchboard".to_owned()),
    }
}

fn collector(reader: &mut Reader<'_>, variable: &str) -> Option<Url> {
    let text = reader.optional(variable)?;
    let is_collector =
        |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && has_no_extras(url);
    let url = Url::parse(&text).ok().filter(is_collector);
    if url.is_none() {
        let wrong = "is not the address of a collector such as http://127.0.0.1:4318";
        reader.fault(variable, wrong, "give it with http or https, without query or user");
    }
    url
}

/// `api-key=…,other=…`, with blanks around names and values, as the specification allows; a faulty one is not
/// shown.
fn headers(reader: &mut Reader<'_>, variable: &str) -> Option<HashMap<String, Secret>> {
    let headers: Option<_> = reader.secret_text(variable)?.split(',').map(header).collect();
    if headers.is_none() {
        let remedy = "give `name=value`, with commas between several, the values percent-encoded";
        reader.fault(variable, "is not a list of headers", remedy);
    }
    headers
}

fn header(text: &str) -> Option<(String, Secret)> {
    let (name, value) = text.split_once('=').map(|(name, value)| (name.trim(), value.trim()))?;
    let is_value = value.bytes().all(|byte| byte.is_ascii_graphic())
        && percent_decode_str(value).all(|byte| (b' '..=b'~').contains(&byte));
    let fits = is_value && HeaderName::from_bytes(name.as_bytes()).is_ok();
    fits.then(|| (name.to_owned(), Secret::new(value.to_owned())))
}
