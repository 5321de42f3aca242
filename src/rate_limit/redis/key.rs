//! Names of clients in Redis: whoever reads them there learns nobody's address or account.

use std::hash::{Hash as _, Hasher};

use actors::secret::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::rate_limit::{Class, Client, Quota};

/// Of the 32 bytes of a name's MAC.
const BYTES: usize = 16;

/// Makes the names: the same on all instances with the same `SECRET_KEY`.
pub(super) struct Keys(Hmac<Sha256>);

impl Keys {
    pub(super) fn new(secret_key: &Secret) -> Self {
        let key = mac(secret_key.expose().as_bytes()).chain_update(b"switchboard rate limit names");
        Self(mac(&key.finalize().into_bytes()))
    }

    /// Of a client in a class. Windows of another length have other slots, so they have other names.
    pub(super) fn of(&self, class: Class, client: Client, quota: Quota) -> String {
        let (class, window) = (class.as_str(), quota.window.as_secs());
        let mut feed = Feed(self.0.clone());
        feed.write(format!("{class} {window}\n").as_bytes());
        client.hash(&mut feed);
        let mac = feed.0.finalize().into_bytes();
        let name: String = mac[..BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("switchboard:limit:{class}:{window}:{{{name}}}")
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// Takes what a client hashes.
struct Feed(Hmac<Sha256>);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0 // nobody asks
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_tells_nothing_without_the_key_and_is_the_same_on_all_instances() {
        let keys = |secret: &str| Keys::new(&Secret::new(secret.to_owned()));
        let client = |address: [u8; 4]| Client::address(address.into());
        let quota = |seconds| Quota { requests: 1, window: Duration::from_secs(seconds) };
        let one = client([192, 0, 2, 1]);
        let name = keys("a").of(Class::Api, one, quota(60));
        assert_eq!(name, keys("a").of(Class::Api, one, quota(60)), "another process");
        let (start, rest) = name.split_at(name.find('{').unwrap());
        assert_eq!(start, "switchboard:limit:api:60:");
        assert!(rest.len() == 34 && rest.ends_with('}'), "{name}");
        for other in [
            keys("b").of(Class::Api, one, quota(60)),
            keys("a").of(Class::Page, one, quota(60)),
            keys("a").of(Class::Api, one, quota(61)),
            keys("a").of(Class::Api, client([192, 0, 2, 2]), quota(60)),
        ] {
            let names = [&name, &other].map(|name| name.rsplit(':').next().unwrap());
            assert_ne!(names[0], names[1]);
        }
    }
}
