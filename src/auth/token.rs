//! Tokens of programs: `sbt_`, then 32 random bytes in base64url. Only the SHA-256 of a token is kept. The
//! token has 256 random bits, so a fast hash without a salt is enough.

use actors::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What every token begins with, so that people and scanners recognise one.
const PREFIX: &str = "sbt_";
/// Characters after the prefix.
const LENGTH: usize = 43;

/// A new token.
pub fn draw() -> Secret {
    let bytes: [u8; 32] = rand::random();
    Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The hash that a token is found by.
pub fn hash(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose().as_bytes()).into()
}

/// Whether this could be a token; what could not need not be looked for.
pub fn is_token(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| {
        rest.len() == LENGTH && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_is_another_and_looks_like_one() {
        let [one, two] = [draw(), draw()];
        assert_ne!(one, two);
        assert!(is_token(one.expose()) && is_token(two.expose()));
        assert_eq!(format!("{one:?} {one}"), "[secret] [secret]");
    }

    #[test]
    fn the_hash_is_that_of_the_whole_text() {
        let token = Secret::new("abc".to_owned());
        let hex: String = hash(&token).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_has_another_form_is_no_token() {
        let token = draw();
        let text = token.expose();
        let others = ["", "sbt_", &text[..46], &format!("{text}A"), &text.replace("sbt_", "SBT_")];
        for other in others.into_iter().chain(["sbt_+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]) {
            assert!(!is_token(other), "{other}");
        }
    }
}
