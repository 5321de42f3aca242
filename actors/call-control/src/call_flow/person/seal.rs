//! Seals an [`Attempt`] into a text that stands in a URL. The text can be read and made by this service only:
//! what it holds, a caller's number and their reason, must be in no access log.
//!
//! AES-256-GCM under a key that is derived from `SECRET_KEY`. The nonce is made from the content, so nothing
//! has to be drawn or counted: equal content gives the equal text, and different content another nonce.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

use super::attempt::Attempt;
use crate::secret::Secret;

/// A longer text is none of ours; an attempt has under 1 KiB.
const MAX_TEXT: usize = 2_048;

/// Makes and reads sealed attempts, and names conferences.
#[derive(Debug, Clone)]
pub struct Seal(Secret);

impl Seal {
    /// `secret_key` is `SECRET_KEY`: the same on all instances.
    pub fn new(secret_key: Secret) -> Self {
        Self(secret_key)
    }

    /// The text that stands for the attempt.
    pub fn close(&self, attempt: &Attempt) -> String {
        let mut content = serde_json::to_vec(attempt).expect("its keys are texts");
        let nonce: [u8; NONCE_LEN] =
            self.derive("nonce", &content)[..NONCE_LEN].try_into().expect("its length");
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut content)
            .expect("a message of this length");
        BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &content].concat())
    }

    /// The attempt that the text stands for; none if we have not made it.
    pub fn open(&self, text: &str) -> Option<Attempt> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok().filter(|_| text.len() <= MAX_TEXT)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let (nonce, mut sealed) = (Nonce::try_assume_unique_for_key(nonce).ok()?, sealed.to_vec());
        let content = self.cipher().open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        serde_json::from_slice(content).ok()
    }

    /// The name of the conference in which caller and person meet: unguessable, without personal data.
    pub fn room(&self, attempt: &Attempt) -> String {
        let of = format!("{}\n{}", attempt.call_sid, attempt.ordinal);
        let name = &self.derive("room", of.as_bytes())[..18];
        format!("transfer-{}", BASE64_URL_SAFE_NO_PAD.encode(name))
    }

    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, &self.derive("key", b"")).expect("a key of 32 bytes");
        LessSafeKey::new(key)
    }

    fn derive(&self, purpose: &str, of: &[u8]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(self.0.expose().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(format!("switchboard transfer {purpose}\n").as_bytes());
        mac.update(of);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempt::Way;
    use super::*;

    fn attempt() -> Attempt {
        Attempt {
            call_sid: "CA00000000000000000000000000000001".parse().unwrap(),
            name: "Dr. Müller".into(),
            chosen: None,
            reason: Some("a bill".into()),
            from: Some("+14155550100".into()),
            ordinal: 1,
            way: Way::Waiting,
            from_us: true,
            until: 1_700_000_000,
            person_sid: None,
            piece: 0,
        }
    }

    #[test]
    fn what_was_sealed_is_read_back_and_nobody_else_reads_it() {
        let seal = Seal::new(Secret::new("key".into()));
        let text = seal.close(&attempt());
        assert_eq!(seal.open(&text), Some(attempt()));
        assert_eq!(seal.close(&attempt()), text, "equal content, equal text");
        assert_eq!(Seal::new(Secret::new("other".into())).open(&text), None);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"a bill"));
    }

    #[test]
    fn a_text_that_was_changed_or_is_no_seal_is_refused() {
        let seal = Seal::new(Secret::new("key".into()));
        let text = seal.close(&attempt());
        for at in 0..text.len() {
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            // The last character has bits that stand for nothing; a decoder that took them would be lenient.
            assert_eq!(seal.open(&changed), None, "{at}");
        }
        for none in ["", "A", "!", &"A".repeat(5_000), &text[..text.len() - 4]] {
            assert_eq!(seal.open(none), None, "{none}");
        }
    }

    #[test]
    fn the_longest_attempt_fits_and_its_room_tells_nothing() {
        let seal = Seal::new(Secret::new("key".into()));
        let long = Attempt {
            name: "ü".repeat(40),
            chosen: Some("ü".repeat(40)),
            reason: Some("\u{1F600}".repeat(75)),
            person_sid: Some(attempt().call_sid),
            ..attempt()
        };
        let text = seal.close(&long);
        assert!(text.len() < 1_000, "{}", text.len());
        assert_eq!(seal.open(&text), Some(long));
        let (room, next) = (seal.room(&attempt()), seal.room(&Attempt { ordinal: 2, ..attempt() }));
        assert!(room != next && !room.contains("CA0000"), "{room}");
        assert_eq!(room, seal.room(&attempt().later()), "one conference for an attempt");
    }

    #[test]
    fn printing_an_attempt_shows_neither_number_nor_reason() {
        let printed = format!("{:?}", attempt());
        assert!(!printed.contains("555") && !printed.contains("bill"), "{printed}");
    }
}
