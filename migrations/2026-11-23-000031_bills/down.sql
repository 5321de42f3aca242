DROP INDEX calls_without_price;
ALTER TABLE calls
    DROP COLUMN twilio_duration_seconds,
    DROP COLUMN twilio_price,
    DROP COLUMN twilio_price_unit,
    DROP COLUMN twilio_asked_at;
