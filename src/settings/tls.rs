//! The certificate that the doors show.

use super::reader::Reader;
use crate::tls::{Files, TlsSettings};

/// None when TLS ends elsewhere. A key is never shown.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<TlsSettings> {
    let (certificate, key) = (reader.optional("TLS_CERT_FILE"), reader.optional("TLS_KEY_FILE"));
    let files = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => Files { certificate, key },
        (Some(_), None) => {
            reader.fault("TLS_KEY_FILE", "is not set, and TLS_CERT_FILE is", "give both, or unset both");
            return None;
        }
        (None, Some(_)) => {
            reader.fault("TLS_CERT_FILE", "is not set, and TLS_KEY_FILE is", "give both, or unset both");
            return None;
        }
    };
    let loaded = TlsSettings::load(files);
    loaded.inspect_err(|fault| reader.fault(fault.setting, &fault.wrong, fault.remedy)).ok()
}
