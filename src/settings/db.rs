//! The database: its address, the pool's size and timeouts, the spool's folder.

use actors::db::DbSettings;

use super::reader::Reader;
use super::{database_url, folder, milliseconds, postgres_url};

pub(super) fn read(instance: String, reader: &mut Reader<'_>) -> DbSettings {
    let url = database_url(reader);
    postgres_url(reader, "DIRECT_DATABASE_URL"); // a fault is told before anybody needs it
    DbSettings {
        url,
        pool_max: reader.number("DB_POOL_MAX", 20, 1, 1_000),
        idle_timeout: milliseconds(reader, "DB_POOL_IDLE_TIMEOUT_MS", 30_000),
        connect_timeout: milliseconds(reader, "DB_POOL_CONNECT_TIMEOUT_MS", 10_000),
        instance,
        spool_dir: folder(reader, "SPOOL_DIR", "spool"),
    }
}
