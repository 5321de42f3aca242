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

diesel::allow_tables_to_appear_in_same_query!(call_events, calls, instances, turns,);
