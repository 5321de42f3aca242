//! The Redis that instances share.

use super::reader::Reader;
use crate::rate_limit::redis::RedisSettings;

/// None when it is unset; what is wrong with it is never shown, as it holds a password.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<RedisSettings> {
    let url = reader.optional_secret("REDIS_URL")?;
    let parsed = RedisSettings::parse(url.expose());
    parsed.inspect_err(|(wrong, remedy)| reader.fault("REDIS_URL", wrong, remedy)).ok()
}
