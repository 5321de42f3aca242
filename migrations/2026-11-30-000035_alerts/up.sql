-- Alerts of every instance. An identifier begins with the time at which the alert was raised.
CREATE TABLE alerts (
    id TEXT COLLATE "C" PRIMARY KEY CHECK (id <> ''),
    rule TEXT NOT NULL,
    instance TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('warning', 'critical')),
    raised_at TIMESTAMPTZ NOT NULL,
    cleared_at TIMESTAMPTZ,
    value DOUBLE PRECISION,
    text TEXT NOT NULL,
    acknowledged_at TIMESTAMPTZ,
    acknowledged_by TEXT,
    notified_at TIMESTAMPTZ,
    notifications INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX alerts_open ON alerts (rule) WHERE cleared_at IS NULL;

-- When a notice of this kind was told last, by whichever instance: the others do not repeat it.
CREATE TABLE alert_notices (
    rule TEXT NOT NULL,
    kind TEXT NOT NULL,
    instance TEXT NOT NULL,
    told_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (rule, kind)
);

ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_notices ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN alerts.acknowledged_by IS 'user:NAME, token:NAME or cli:UNIX-USER';
COMMENT ON COLUMN alert_notices.kind IS
    'severity and way of the notice, critical:sms; of an alert about one process also its name, critical:sms@a:8080';
