// @generated automatically by Diesel CLI.

pub mod sql_types {
    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "tsvector", schema = "pg_catalog"))]
    pub struct Tsvector;
}

diesel::table! {
    alert_notices (rule, kind) {
        rule -> Text,
        kind -> Text,
        instance -> Text,
        told_at -> Timestamptz,
    }
}

diesel::table! {
    alerts (id) {
        id -> Text,
        rule -> Text,
        instance -> Text,
        severity -> Text,
        raised_at -> Timestamptz,
        cleared_at -> Nullable<Timestamptz>,
        value -> Nullable<Float8>,
        text -> Text,
        acknowledged_at -> Nullable<Timestamptz>,
        acknowledged_by -> Nullable<Text>,
        notified_at -> Nullable<Timestamptz>,
        notifications -> Int4,
    }
}

diesel::table! {
    api_tokens (id) {
        id -> Int8,
        name -> Text,
        hash -> Bytea,
        scopes -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    audit (id) {
        id -> Int8,
        at -> Timestamptz,
        who -> Text,
        client -> Nullable<Text>,
        action -> Text,
        object -> Nullable<Text>,
        outcome -> Text,
    }
}

diesel::table! {
    call_events (id) {
        id -> Int8,
        call_sid -> Text,
        at -> Timestamptz,
        kind -> Text,
        data -> Jsonb,
        dedupe_key -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Tsvector;

    call_search (call_sid) {
        call_sid -> Text,
        started_at -> Timestamptz,
        document -> Tsvector,
    }
}

diesel::table! {
    calls (call_sid) {
        call_sid -> Text,
        epoch -> Int4,
        from_number -> Nullable<Text>,
        to_number -> Nullable<Text>,
        instance -> Nullable<Text>,
        started_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        outcome -> Nullable<Text>,
        reason -> Nullable<Text>,
        urgent -> Bool,
        turns -> Int4,
        barge_ins -> Int4,
        first_audio_ms -> Nullable<Int4>,
        usage -> Jsonb,
        cost_usd -> Nullable<Float8>,
        next_step -> Nullable<Text>,
        recordings -> Int4,
        duration_seconds -> Nullable<Int8>,
        twilio_duration_seconds -> Nullable<Int4>,
        twilio_price -> Nullable<Float8>,
        twilio_price_unit -> Nullable<Text>,
        twilio_asked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    conference_participants (conference_sid, call_sid) {
        conference_sid -> Text,
        call_sid -> Text,
        label -> Nullable<Text>,
        joined_at -> Nullable<Timestamptz>,
        presence -> Nullable<Jsonb>,
        flags -> Nullable<Jsonb>,
    }
}

diesel::table! {
    conferences (conference_sid) {
        conference_sid -> Text,
        friendly_name -> Nullable<Text>,
        first_event_at -> Timestamptz,
        started_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        end_reason -> Nullable<Text>,
        ended_by_call_sid -> Nullable<Text>,
    }
}

diesel::table! {
    deletions (id) {
        id -> Int8,
        at -> Timestamptz,
        kind -> Text,
        call_sid -> Nullable<Text>,
        count -> Int8,
    }
}

diesel::table! {
    inbox (id) {
        id -> Int8,
        call_sid -> Text,
        dedupe_key -> Text,
        kind -> Text,
        at -> Timestamptz,
        from_number -> Nullable<Text>,
        name -> Nullable<Text>,
        text -> Text,
        language -> Nullable<Text>,
        recording_sid -> Nullable<Text>,
        duration_seconds -> Nullable<Int4>,
        done_at -> Nullable<Timestamptz>,
        done_by -> Nullable<Text>,
    }
}

diesel::table! {
    instances (instance_id) {
        instance_id -> Text,
        started_at -> Timestamptz,
        heartbeat_at -> Timestamptz,
    }
}

diesel::table! {
    jobs (name) {
        name -> Text,
        paused -> Bool,
        every_seconds -> Int4,
        next_run_at -> Timestamptz,
        leased_by -> Nullable<Text>,
        lease_until -> Nullable<Timestamptz>,
        last_run_at -> Nullable<Timestamptz>,
        last_duration_ms -> Nullable<Int4>,
        last_result -> Nullable<Text>,
        last_error -> Nullable<Text>,
        runs -> Int8,
        failures -> Int8,
    }
}

diesel::table! {
    recordings (recording_sid) {
        recording_sid -> Text,
        call_sid -> Nullable<Text>,
        conference_sid -> Nullable<Text>,
        status -> Text,
        progress -> Int2,
        url -> Nullable<Text>,
        duration_seconds -> Nullable<Int4>,
        channels -> Nullable<Int4>,
        source -> Nullable<Text>,
        track -> Nullable<Text>,
        started_at -> Nullable<Timestamptz>,
        first_event_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sessions (key_hash) {
        key_hash -> Bytea,
        user_id -> Int8,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        client -> Nullable<Text>,
    }
}

diesel::table! {
    turns (call_sid, ordinal) {
        call_sid -> Text,
        ordinal -> Int4,
        epoch -> Int4,
        speaker -> Text,
        text -> Text,
        started_at -> Timestamptz,
        heard_ms -> Nullable<Int4>,
        cut_off -> Bool,
        version -> Int4,
    }
}

diesel::table! {
    users (id) {
        id -> Int8,
        name -> Text,
        password_hash -> Text,
        role -> Text,
        disabled_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        password_changed_at -> Timestamptz,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Int8,
        route -> Text,
        dedupe_key -> Text,
        call_sid -> Nullable<Text>,
        conference_sid -> Nullable<Text>,
        body -> Jsonb,
        twilio_at -> Nullable<Timestamptz>,
        received_at -> Timestamptz,
        state -> Text,
        attempts -> Int4,
        due_at -> Timestamptz,
        last_error -> Nullable<Text>,
        processed_at -> Nullable<Timestamptz>,
    }
}

diesel::joinable!(sessions -> users (user_id));

diesel::allow_tables_to_appear_in_same_query!(
    alert_notices,
    alerts,
    api_tokens,
    audit,
    call_events,
    call_search,
    calls,
    conference_participants,
    conferences,
    deletions,
    inbox,
    instances,
    jobs,
    recordings,
    sessions,
    turns,
    users,
    webhooks,
);
