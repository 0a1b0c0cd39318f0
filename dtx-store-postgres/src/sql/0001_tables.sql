-- The tables of dtx. `{schema}` stands for the schema.
--
-- Times are microseconds since the Unix epoch. What is bytea and not named otherwise begins with
-- one byte that says its format. Ids of transactions are UUIDv7, so ranges of ids are ranges of
-- time: tables of what only grows are partitioned by them, and forgetting drops partitions.

CREATE TABLE {schema}.store (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    shards integer NOT NULL
);

CREATE TABLE {schema}.lease (
    shard integer PRIMARY KEY,
    epoch bigint NOT NULL,
    holder uuid,
    until bigint NOT NULL
) WITH (fillfactor = 50);

-- Written once, with the accept. Every transaction has one.
CREATE TABLE {schema}.head (
    tx uuid PRIMARY KEY,
    namespace text COLLATE "C",
    key bytea,
    accepted_at bigint NOT NULL,
    definition bytea NOT NULL,
    journal bytea
) PARTITION BY RANGE (tx);
CREATE TABLE {schema}.head_rest PARTITION OF {schema}.head DEFAULT;

-- Open transactions: small, changed, and soon gone.
CREATE TABLE {schema}.open (
    tx uuid PRIMARY KEY,
    shard integer NOT NULL,
    due bigint NOT NULL,
    version bigint NOT NULL,
    writer uuid NOT NULL,
    number bigint NOT NULL,
    verdict smallint,
    written_at bigint NOT NULL,
    pattern smallint NOT NULL,
    status smallint NOT NULL,
    exceptions boolean NOT NULL,
    summary bytea NOT NULL,
    state bytea NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX open_due ON {schema}.open (shard, due, tx);

-- Transactions with nothing left to do. Written once, but for what an operator clears.
CREATE TABLE {schema}.ended (
    tx uuid PRIMARY KEY,
    version bigint NOT NULL,
    writer uuid NOT NULL,
    number bigint NOT NULL,
    verdict smallint,
    written_at bigint NOT NULL,
    pattern smallint NOT NULL,
    status smallint NOT NULL,
    exceptions boolean NOT NULL,
    summary bytea NOT NULL,
    state bytea NOT NULL,
    journal bytea
) PARTITION BY RANGE (tx);
CREATE TABLE {schema}.ended_rest PARTITION OF {schema}.ended DEFAULT;

-- What happened between the accept and the end.
CREATE TABLE {schema}.journal (
    tx uuid NOT NULL,
    version bigint NOT NULL,
    entries bytea NOT NULL,
    PRIMARY KEY (tx, version)
) PARTITION BY RANGE (tx);
CREATE TABLE {schema}.journal_rest PARTITION OF {schema}.journal DEFAULT;

-- Callers' keys. `ended_at` is the last write of a transaction that was forgotten.
CREATE TABLE {schema}.caller_key (
    namespace text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    tx uuid NOT NULL,
    ended_at bigint,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX caller_key_forgotten ON {schema}.caller_key (ended_at) WHERE ended_at IS NOT NULL;

-- Rows of participants, and the highest version of a deleted row in each part of the scopes.
CREATE TABLE {schema}.scope_row (
    scope text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 80);
CREATE TABLE {schema}.deleted (
    part integer PRIMARY KEY,
    version bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO {schema}.deleted SELECT part, 0 FROM generate_series(0, 63) AS part;
