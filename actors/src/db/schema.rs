// @generated automatically by Diesel CLI.

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
        twilio_duration_seconds -> Nullable<Int4>,
        twilio_price -> Nullable<Float8>,
        twilio_price_unit -> Nullable<Text>,
        twilio_asked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    deletions (id) {
        id -> Int8,
        at -> Timestamptz,
        kind -> Text,
        call_sid -> Text,
        count -> Int8,
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

diesel::allow_tables_to_appear_in_same_query!(call_events, calls, deletions, instances, jobs, turns,);
