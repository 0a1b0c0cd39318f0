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

-- As write_rows_1, beside transactions that have claimed rows without their scope: what a row
-- was when it was looked at, it must still be when it is written.
CREATE FUNCTION {schema}.write_rows_2(
    p_not_after bigint[], p_set integer[], p_scope text[], p_key bytea[], p_expect bigint[],
    p_operation smallint[], p_value bytea[]
) RETURNS TABLE (code smallint)
LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_now bigint;
    v_late integer[];
    v_wrong integer[];
    v_wanted bigint;
    v_done bigint;
    v_rows bigint;
BEGIN
    PERFORM {schema}.lock_scopes(p_scope);
    v_now := {schema}.now_us();
    SELECT coalesce(array_agg(s.n), '{}') INTO v_late
        FROM unnest(p_not_after) WITH ORDINALITY AS s (not_after, n) WHERE v_now > s.not_after;
    SELECT coalesce(array_agg(DISTINCT i.set), '{}') INTO v_wrong
        FROM unnest(p_set, p_scope, p_key, p_expect) AS i (set, scope, key, expect)
            LEFT JOIN {schema}.scope_row AS r ON r.scope = i.scope AND r.key = i.key
        WHERE r.version IS DISTINCT FROM i.expect;
    SELECT count(*) INTO v_wanted FROM unnest(p_set, p_operation) AS i (set, op)
        WHERE i.op <> 0 AND i.set <> ALL (v_wrong) AND i.set <> ALL (v_late);

    v_done := 0;
    IF 2 = ANY (p_operation) THEN
        PERFORM 1 FROM {schema}.deleted ORDER BY part FOR UPDATE;
        UPDATE {schema}.deleted AS d SET version = i.version
            FROM (
                SELECT {schema}.part_of(i.scope) AS part, max(i.expect) AS version
                FROM unnest(p_set, p_scope, p_expect, p_operation) AS i (set, scope, expect, op)
                WHERE i.op = 2 AND i.expect IS NOT NULL
                    AND i.set <> ALL (v_wrong) AND i.set <> ALL (v_late)
                GROUP BY 1) AS i
            WHERE d.part = i.part AND d.version < i.version;
        DELETE FROM {schema}.scope_row AS r
            USING unnest(p_set, p_scope, p_key, p_expect, p_operation)
                AS i (set, scope, key, expect, op)
            WHERE r.scope = i.scope AND r.key = i.key AND r.version = i.expect AND i.op = 2
                AND i.set <> ALL (v_wrong) AND i.set <> ALL (v_late);
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        -- To delete what is not there is to do nothing.
        SELECT v_rows + count(*) INTO v_done
            FROM unnest(p_set, p_expect, p_operation) AS i (set, expect, op)
            WHERE i.op = 2 AND i.expect IS NULL
                AND i.set <> ALL (v_wrong) AND i.set <> ALL (v_late);
    END IF;
    UPDATE {schema}.scope_row AS r SET version = r.version + 1, value = i.value
        FROM unnest(p_set, p_scope, p_key, p_expect, p_operation, p_value)
            AS i (set, scope, key, expect, op, value)
        WHERE r.scope = i.scope AND r.key = i.key AND i.op = 1 AND r.version = i.expect
            AND i.set <> ALL (v_wrong) AND i.set <> ALL (v_late);
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    v_done := v_done + v_rows;
    INSERT INTO {schema}.scope_row (scope, key, version, value)
        SELECT i.scope, i.key, d.version + 1, i.value
        FROM unnest(p_set, p_scope, p_key, p_expect, p_operation, p_value)
                AS i (set, scope, key, expect, op, value)
            JOIN {schema}.deleted AS d ON d.part = {schema}.part_of(i.scope)
        WHERE i.op = 1 AND i.expect IS NULL
            AND i.set <> ALL (v_wrong) AND i.set <> ALL (v_late)
        ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    IF v_done + v_rows <> v_wanted THEN
        RAISE EXCEPTION 'a row was changed' USING ERRCODE = '40001';
    END IF;

    RETURN QUERY
        SELECT (CASE WHEN s.n = ANY (v_late) THEN 2 WHEN s.n = ANY (v_wrong) THEN 1 ELSE 0 END)
            ::smallint
        FROM unnest(p_not_after) WITH ORDINALITY AS s (not_after, n) ORDER BY s.n;
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
