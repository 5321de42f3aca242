//! A private PostgreSQL cluster, made from the system's binaries.
