//! The integration tests: the real program, against real servers.

#![allow(clippy::unwrap_used)]

mod accounts;
mod agent;
mod alerts;
mod bad_input;
mod calls;
mod ceiling;
mod combined;
mod connections;
mod crowd;
mod dashboard;
mod database;
mod doors;
mod drain;
mod emergencies;
mod fillers;
mod flight_recorder;
mod inbox;
mod jobs;
mod kill;
mod last_resort;
mod limits;
mod limits_redis;
mod load_tests;
mod log;
mod logins;
mod media_stream;
mod metrics;
mod outage;
mod panics;
mod preflight;
mod private_postgres;
mod realtime_tls;
mod report_page;
mod setup;
mod support;
mod survival;
mod tls;
mod tls_proxy;
mod tools;
mod traces;
mod transfers;
mod webhooks;
