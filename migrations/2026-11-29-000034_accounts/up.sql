-- Who may use the program. A name is unique whatever its capitals; the program allows ASCII in it only.
CREATE TABLE users (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    password_hash TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    disabled_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    password_changed_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX users_by_name ON users (lower(name));

-- Who is logged in. The browser has the key, the table only its hash.
CREATE TABLE sessions (
    key_hash BYTEA PRIMARY KEY CHECK (octet_length(key_hash) = 32),
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ,
    client TEXT
);

CREATE INDEX sessions_of_user ON sessions (user_id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- What programs show instead of a session. The name of one that was revoked can be used again.
CREATE TABLE api_tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL CHECK (name <> ''),
    hash BYTEA NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    scopes TEXT NOT NULL CHECK (scopes <> ''),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ
);

CREATE UNIQUE INDEX api_tokens_by_name ON api_tokens (lower(name)) WHERE revoked_at IS NULL;

-- Who did what and opened what. Rows are never changed, only deleted when they are old.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    who TEXT NOT NULL,
    client TEXT,
    action TEXT NOT NULL,
    object TEXT,
    outcome TEXT NOT NULL
);

CREATE INDEX audit_by_who ON audit (who, id);
CREATE INDEX audit_by_action ON audit (action, id);
CREATE INDEX audit_by_object ON audit (object, id) WHERE object IS NOT NULL;
CREATE INDEX audit_by_time ON audit (at);

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN users.password_hash IS 'argon2id, in the PHC format';
COMMENT ON COLUMN api_tokens.scopes IS 'a list with commas';
COMMENT ON COLUMN audit.who IS 'user:NAME, token:NAME, cli:UNIX-USER or nobody';
