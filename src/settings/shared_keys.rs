//! `TWILIO_SHARED_KEYS`: the keys of Twilio's webhook configuration that sign webhooks instead of the auth
//! token.

use actors::secret::Secret;
use actors::wire::twilio::signature::SharedKey;

use super::Reader;

const NAME: &str = "TWILIO_SHARED_KEYS";

/// What is wrong with it is never shown, as it holds secrets.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<SharedKey> {
    let Some(text) = reader.optional_secret(NAME) else { return Vec::new() };
    parse(text.expose()).unwrap_or_else(|| {
        let wrong = "is not a list of keys, each an identifier and its secret";
        reader.fault(NAME, wrong, "write `id=secret`, with commas between several, each identifier once");
        Vec::new()
    })
}

fn parse(text: &str) -> Option<Vec<SharedKey>> {
    let mut keys: Vec<SharedKey> = Vec::new();
    for one in text.split(',') {
        let (id, secret) = one.split_once(['=', ':'])?;
        if id.is_empty() || secret.is_empty() || keys.iter().any(|key| key.id == id) {
            return None;
        }
        keys.push(SharedKey { id: id.to_owned(), secret: Secret::new(secret.to_owned()) });
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_an_identifier_and_a_secret() {
        let keys = |text| -> Option<Vec<(String, String)>> {
            Some(parse(text)?.into_iter().map(|key| (key.id, key.secret.expose().to_owned())).collect())
        };
        let pair = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
        assert_eq!(keys("webhooks_key_1=c2VjcmV0=="), Some(vec![pair("webhooks_key_1", "c2VjcmV0==")]));
        assert_eq!(keys("a=1,b:2"), Some(vec![pair("a", "1"), pair("b", "2")]));
        for wrong in ["a", "=1", "a=", "a=1,", "a=1,,b=2", "a=1,a=2"] {
            assert_eq!(keys(wrong), None, "{wrong}");
        }
    }
}
