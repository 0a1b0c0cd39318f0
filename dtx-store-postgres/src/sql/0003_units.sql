-- Effects in the caller's own transaction: claims of inbox rows, what was done once, the outbox.

-- When the transaction of the caller began: the same for all statements of it.
CREATE FUNCTION {schema}.began_us() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint
$$;

-- Claims a row for the transaction of the caller, or says that another one has it. A prepared
-- transaction keeps its claim. The row is read before the mark: what deletes a row raises the
-- mark in the same transaction.
CREATE FUNCTION {schema}.claim_row_1(p_scope text, p_key bytea, p_mark bytea)
RETURNS TABLE (taken boolean, began bigint, now bigint, version bigint, value bytea,
    mark_version bigint, mark bytea)
LANGUAGE plpgsql AS $$
BEGIN
    taken := pg_try_advisory_xact_lock(hashtextextended(
        p_scope || '/' || encode(p_key, 'hex') COLLATE "C",
        -('{schema}.scope_row'::regclass::oid::bigint)));
    began := {schema}.began_us();
    IF taken THEN
        SELECT r.version, r.value INTO version, value FROM {schema}.scope_row AS r
            WHERE r.scope = p_scope AND r.key = p_key FOR UPDATE;
        SELECT r.version, r.value INTO mark_version, mark FROM {schema}.scope_row AS r
            WHERE r.scope = p_scope AND r.key = p_mark;
    END IF;
    now := {schema}.now_us();
    RETURN NEXT;
END
$$;

-- Writes the row that the transaction of the caller has claimed.
CREATE FUNCTION {schema}.finish_row_1(
    p_began bigint, p_scope text, p_key bytea, p_expect bigint, p_value bytea
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_rows bigint;
BEGIN
    IF p_began <> {schema}.began_us() THEN
        RAISE EXCEPTION 'the handler has ended the transaction that it was lent'
            USING ERRCODE = '2D000';
    END IF;
    IF p_expect IS NULL THEN
        INSERT INTO {schema}.scope_row (scope, key, version, value)
            SELECT p_scope, p_key, d.version + 1, p_value FROM {schema}.deleted AS d
            WHERE d.part = {schema}.part_of(p_scope)
            ON CONFLICT DO NOTHING;
    ELSE
        UPDATE {schema}.scope_row AS r SET version = r.version + 1, value = p_value
            WHERE r.scope = p_scope AND r.key = p_key AND r.version = p_expect;
    END IF;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_rows <> 1 THEN
        RAISE EXCEPTION 'the row was changed' USING ERRCODE = '40001';
    END IF;
END
$$;

-- What was done once, outside of a host.
CREATE TABLE {schema}.done_once (
    tx uuid NOT NULL,
    operation text COLLATE "C" NOT NULL,
    done_at bigint NOT NULL,
    PRIMARY KEY (tx, operation)
);
CREATE INDEX done_once_at ON {schema}.done_once (done_at);

-- Messages that are to be sent. A key is always in the same lane, and a lane is worked on by one
-- relay at a time: that keeps the order of each key.
CREATE TABLE {schema}.outbox_lane (lane integer PRIMARY KEY);
INSERT INTO {schema}.outbox_lane SELECT lane FROM generate_series(0, 31) AS lane;
CREATE TABLE {schema}.outbox (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL,
    lane integer NOT NULL,
    key text COLLATE "C",
    topic text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    appended_at bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    due bigint NOT NULL DEFAULT 0,
    dead boolean NOT NULL DEFAULT false,
    error text
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX outbox_open ON {schema}.outbox (lane, position) WHERE NOT dead;
CREATE INDEX outbox_waiting ON {schema}.outbox (lane, key, position) WHERE NOT dead AND due > 0;
CREATE INDEX outbox_dead ON {schema}.outbox (position) WHERE dead;
CREATE UNIQUE INDEX outbox_id ON {schema}.outbox (id);

-- Appends a message in the transaction of the caller. Whoever appends with the same key waits
-- until that has ended, so that positions of a key are in the order of the commits.
CREATE FUNCTION {schema}.append_1(p_id uuid, p_key text, p_topic text, p_payload bytea)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_hash bigint := hashtextextended(coalesce(p_key, p_id::text) COLLATE "C",
        '{schema}.outbox'::regclass::oid::bigint);
BEGIN
    IF p_key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(v_hash);
    END IF;
    INSERT INTO {schema}.outbox (id, lane, key, topic, payload, appended_at)
        VALUES (p_id, (v_hash & 31)::integer, p_key, p_topic, p_payload, {schema}.now_us());
END
$$;
