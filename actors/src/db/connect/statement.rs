//! A query as PostgreSQL takes it: its text and its bound values.

use diesel::pg::{Pg, PgMetadataLookup, PgQueryBuilder, PgTypeMetadata};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{QueryBuilder, QueryFragment};
use diesel::result::{Error, QueryResult};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type};

type ToSqlResult = Result<IsNull, Box<dyn std::error::Error + Sync + Send>>;

/// A diesel query, built.
pub(in crate::db) struct Statement {
    pub(in crate::db) sql: String,
    pub(in crate::db) binds: Vec<(Bind, Type)>,
}

impl Statement {
    /// Builds a diesel query; fails if a value cannot be written in PostgreSQL's format.
    pub(in crate::db) fn of(query: &impl QueryFragment<Pg>) -> QueryResult<Self> {
        let mut sql = PgQueryBuilder::default();
        query.to_sql(&mut sql, &Pg)?;
        let mut binds = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut binds, &mut InferredByTheServer, &Pg)?;
        let binds = binds
            .metadata
            .iter()
            .zip(binds.binds)
            .map(|(metadata, bytes)| Ok((Bind(bytes), bind_type(metadata)?)))
            .collect::<QueryResult<_>>()?;
        Ok(Self { sql: sql.finish(), binds })
    }

    /// The values, as `execute_typed` takes them.
    pub(in crate::db) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.binds.iter().map(|(bind, kind)| (bind as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}

fn bind_type(metadata: &PgTypeMetadata) -> QueryResult<Type> {
    let oid = metadata.oid().map_err(|error| Error::SerializationError(Box::new(error)))?;
    Ok(Type::from_oid(oid)
        .unwrap_or_else(|| Type::new("unknown".to_owned(), oid, Kind::Simple, "public".to_owned())))
}

/// Types that are not built in are bound as type 0: the server infers them.
struct InferredByTheServer;

impl PgMetadataLookup for InferredByTheServer {
    fn lookup_type(&mut self, _name: &str, _schema: Option<&str>) -> PgTypeMetadata {
        PgTypeMetadata::new(0, 0)
    }
}

/// A value in PostgreSQL's binary format; none is NULL. Not printable: it may be what a caller said.
pub(in crate::db) struct Bind(Option<Vec<u8>>);

impl std::fmt::Debug for Bind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bind")
    }
}

impl ToSql for Bind {
    fn to_sql(&self, _kind: &Type, out: &mut BytesMut) -> ToSqlResult {
        Ok(match &self.0 {
            Some(bytes) => {
                out.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> ToSqlResult {
        self.to_sql(kind, out)
    }
}
