-- The functions of dtx. A function is never changed: a change gets a new number, so that
-- programs of two releases can share the schema.

CREATE FUNCTION {schema}.now_us() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Commits writes of different transactions with different keys. Each is decided by itself, by
-- the rules that every store of dtx follows. The answer has one row per write, in order:
-- code 0 applied, 1 applied before, 2 conflict, 3 fenced, 4 the key has another owner.
--
-- Each statement in here sees what was committed before it began, so what was locked first is
-- as it is read later. What comes between all the same ends the whole call as a failure of
-- serialization, and it is made again, carefully: only then are ended transactions looked for.
CREATE FUNCTION {schema}.commit_1(
    p_careful boolean, p_tx uuid[], p_shard integer[], p_writer uuid[], p_number bigint[],
    p_expect bigint[], p_holder uuid[], p_epoch bigint[], p_verdict smallint[],
    p_namespace text[], p_key bytea[], p_definition bytea[], p_due bigint[], p_pattern smallint[],
    p_status smallint[], p_exceptions boolean[], p_summary bytea[], p_state bytea[],
    p_journal bytea[]
) RETURNS TABLE (code smallint, version bigint, verdict smallint, owner uuid)
LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    v_now bigint;
    v_open uuid[];
    v_ended uuid[] := '{}';
    v_ended_version bigint[];
    v_ended_writer uuid[];
    v_ended_number bigint[];
    v_ended_verdict smallint[];
    v_code smallint[];
    v_version bigint[];
    v_verdict smallint[];
    v_owner uuid[];
    v_place smallint[];
    v_wanted bigint;
    v_made bigint;
BEGIN
    -- A take-over waits for this, or this waits for it and then sees the new epoch.
    PERFORM 1 FROM {schema}.lease AS l
        WHERE l.shard IN (
            SELECT i.shard FROM unnest(p_shard, p_holder) AS i (shard, holder)
            WHERE i.holder IS NOT NULL)
        ORDER BY l.shard FOR SHARE OF l;
    SELECT coalesce(array_agg(t.tx), '{}') INTO v_open FROM (
        SELECT o.tx FROM unnest(p_tx) AS i (tx) JOIN {schema}.open AS o ON o.tx = i.tx
        ORDER BY o.tx FOR UPDATE OF o) AS t;
    IF p_careful AND cardinality(v_open) < cardinality(p_tx) THEN
        SELECT coalesce(array_agg(t.tx), '{}'), array_agg(t.version), array_agg(t.writer),
            array_agg(t.number), array_agg(t.verdict)
        INTO v_ended, v_ended_version, v_ended_writer, v_ended_number, v_ended_verdict
        FROM (
            SELECT e.tx, e.version, e.writer, e.number, e.verdict
            FROM unnest(p_tx) AS i (tx) JOIN {schema}.ended AS e ON e.tx = i.tx
            WHERE i.tx <> ALL (v_open)
            ORDER BY e.tx FOR UPDATE OF e) AS t;
    END IF;
    v_now := {schema}.now_us();

    SELECT array_agg(d.code ORDER BY d.n),
        array_agg(CASE WHEN d.code = 0 THEN coalesce(d.version, 0) + 1 ELSE d.version END
            ORDER BY d.n),
        array_agg(d.verdict ORDER BY d.n), array_agg(d.owner ORDER BY d.n),
        array_agg(d.place ORDER BY d.n),
        -- What is not found has perhaps ended, which changes every answer but a yes: only a
        -- careful call knows.
        bool_or((d.place = 0 AND NOT p_careful AND d.code <> 0) OR d.moved)::integer
    INTO v_code, v_version, v_verdict, v_owner, v_place, v_wanted
    FROM (
        SELECT i.n, r.version, r.verdict, k.tx AS owner, r.place,
            -- It came to be after the others were locked.
            o.tx IS NOT NULL AND o.tx <> ALL (v_open) AS moved,
            (CASE
                WHEN r.place <> 0 AND r.writer = i.writer AND r.number = i.number THEN 1
                WHEN i.holder IS NOT NULL AND (l.holder IS DISTINCT FROM i.holder
                    OR l.epoch IS DISTINCT FROM i.epoch) THEN 3
                WHEN r.version IS DISTINCT FROM i.expect THEN 2
                WHEN r.verdict IS NOT NULL AND i.verdict IS NOT NULL
                    AND (r.verdict <> i.verdict OR i.holder IS NULL) THEN 2
                WHEN k.tx IS NOT NULL THEN 4
                ELSE 0
            END)::smallint AS code
        FROM unnest(p_tx, p_shard, p_writer, p_number, p_expect, p_holder, p_epoch, p_verdict,
                p_namespace, p_key) WITH ORDINALITY
                AS i (tx, shard, writer, number, expect, holder, epoch, verdict, namespace, key, n)
            LEFT JOIN {schema}.open AS o ON o.tx = i.tx
            LEFT JOIN unnest(v_ended, v_ended_version, v_ended_writer, v_ended_number,
                v_ended_verdict) AS e (tx, version, writer, number, verdict) ON e.tx = i.tx
            LEFT JOIN {schema}.lease AS l ON l.shard = i.shard AND i.holder IS NOT NULL
            LEFT JOIN {schema}.caller_key AS k ON k.namespace = i.namespace AND k.key = i.key
            CROSS JOIN LATERAL (SELECT
                coalesce(o.version, e.version) AS version,
                coalesce(o.verdict, e.verdict) AS verdict,
                coalesce(o.writer, e.writer) AS writer,
                coalesce(o.number, e.number) AS number,
                (CASE WHEN o.tx IS NOT NULL THEN 1 WHEN e.tx IS NOT NULL THEN 2 ELSE 0 END)
                    ::smallint AS place) AS r
    ) AS d;
    IF v_wanted > 0 THEN
        RAISE EXCEPTION 'a transaction has moved' USING ERRCODE = '40001';
    END IF;

    -- New transactions.
    SELECT count(*) FILTER (WHERE d.namespace IS NOT NULL), count(*)
    INTO v_made, v_wanted
    FROM unnest(v_code, v_place, p_namespace) AS d (code, place, namespace)
    WHERE d.code = 0 AND d.place = 0;
    IF v_made > 0 THEN
        v_wanted := v_made;
        INSERT INTO {schema}.caller_key (namespace, key, tx)
            SELECT i.namespace, i.key, i.tx
            FROM unnest(p_tx, p_namespace, p_key, v_code, v_place)
                AS i (tx, namespace, key, code, place)
            WHERE i.code = 0 AND i.place = 0 AND i.namespace IS NOT NULL
            ORDER BY i.namespace, i.key
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS v_made = ROW_COUNT;
        IF v_made <> v_wanted THEN
            RAISE EXCEPTION 'a key was claimed' USING ERRCODE = '40001';
        END IF;
        SELECT count(*) INTO v_wanted FROM unnest(v_code, v_place) AS d (code, place)
        WHERE d.code = 0 AND d.place = 0;
    END IF;
    IF v_wanted > 0 THEN
        INSERT INTO {schema}.head (tx, namespace, key, accepted_at, definition, journal)
            SELECT i.tx, i.namespace, i.key, v_now, coalesce(i.definition, ''), i.journal
            FROM unnest(p_tx, p_namespace, p_key, p_definition, p_journal, v_code, v_place)
                AS i (tx, namespace, key, definition, journal, code, place)
            WHERE i.code = 0 AND i.place = 0
            ORDER BY i.tx
            ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS v_made = ROW_COUNT;
        IF v_made <> v_wanted THEN
            RAISE EXCEPTION 'a transaction was accepted' USING ERRCODE = '40001';
        END IF;
    END IF;

    -- Ended ones that are written again: what they had of the journal joins the rest.
    IF cardinality(v_ended) > 0 THEN
        INSERT INTO {schema}.journal (tx, version, entries)
            SELECT e.tx, e.version, e.journal
            FROM unnest(p_tx, v_code, v_place) AS i (tx, code, place)
                JOIN {schema}.ended AS e ON e.tx = i.tx
            WHERE i.code = 0 AND i.place = 2 AND e.journal IS NOT NULL;
        DELETE FROM {schema}.ended AS e
            USING unnest(p_tx, v_code, v_place) AS i (tx, code, place)
            WHERE e.tx = i.tx AND i.code = 0 AND i.place = 2;
    END IF;

    -- What goes on.
    IF EXISTS (SELECT 1 FROM unnest(v_code, v_place, p_due) AS i (code, place, due)
            WHERE i.code = 0 AND i.place = 1 AND i.due IS NOT NULL) THEN
        UPDATE {schema}.open AS o
            SET due = i.due, version = i.version, writer = i.writer, number = i.number,
                verdict = coalesce(i.verdict, o.verdict), written_at = v_now, pattern = i.pattern,
                status = i.status, exceptions = i.exceptions, summary = i.summary, state = i.state
            FROM unnest(p_tx, v_version, p_writer, p_number, p_verdict, p_due, p_pattern, p_status,
                    p_exceptions, p_summary, p_state, v_code, v_place)
                AS i (tx, version, writer, number, verdict, due, pattern, status, exceptions,
                    summary, state, code, place)
            WHERE o.tx = i.tx AND i.code = 0 AND i.place = 1 AND i.due IS NOT NULL;
    END IF;
    INSERT INTO {schema}.open (tx, shard, due, version, writer, number, verdict, written_at,
            pattern, status, exceptions, summary, state)
        SELECT i.tx, i.shard, i.due, i.version, i.writer, i.number,
            coalesce(i.verdict, i.before), v_now, i.pattern, i.status, i.exceptions, i.summary,
            i.state
        FROM unnest(p_tx, p_shard, v_version, p_writer, p_number, p_verdict, v_verdict, p_due,
                p_pattern, p_status, p_exceptions, p_summary, p_state, v_code, v_place)
            AS i (tx, shard, version, writer, number, verdict, before, due, pattern, status,
                exceptions, summary, state, code, place)
        WHERE i.code = 0 AND i.place <> 1 AND i.due IS NOT NULL;
    IF EXISTS (SELECT 1 FROM unnest(v_code, v_place, p_due, p_journal)
                AS i (code, place, due, journal)
            WHERE i.code = 0 AND i.place <> 0 AND i.due IS NOT NULL AND i.journal IS NOT NULL) THEN
        INSERT INTO {schema}.journal (tx, version, entries)
            SELECT i.tx, i.version, i.journal
            FROM unnest(p_tx, v_version, p_journal, p_due, v_code, v_place)
                AS i (tx, version, journal, due, code, place)
            WHERE i.code = 0 AND i.place <> 0 AND i.due IS NOT NULL AND i.journal IS NOT NULL;
    END IF;

    -- What ends.
    IF EXISTS (SELECT 1 FROM unnest(v_code, p_due) AS i (code, due)
            WHERE i.code = 0 AND i.due IS NULL) THEN
        DELETE FROM {schema}.open AS o
            USING unnest(p_tx, p_due, v_code, v_place) AS i (tx, due, code, place)
            WHERE o.tx = i.tx AND i.code = 0 AND i.place = 1 AND i.due IS NULL;
        INSERT INTO {schema}.ended (tx, version, writer, number, verdict, written_at, pattern,
                status, exceptions, summary, state, journal)
            SELECT i.tx, i.version, i.writer, i.number, coalesce(i.verdict, i.before), v_now,
                i.pattern, i.status, i.exceptions, i.summary, i.state,
                CASE WHEN i.place <> 0 THEN i.journal END
            FROM unnest(p_tx, v_version, p_writer, p_number, p_verdict, v_verdict, p_due,
                    p_pattern, p_status, p_exceptions, p_summary, p_state, p_journal, v_code,
                    v_place)
                AS i (tx, version, writer, number, verdict, before, due, pattern, status,
                    exceptions, summary, state, journal, code, place)
            WHERE i.code = 0 AND i.due IS NULL;
    END IF;

    -- A hint for the owners of what others have written. Not for an owner's own writes: commits
    -- with a notification wait for each other.
    IF EXISTS (SELECT 1 FROM unnest(v_code, p_holder) AS i (code, holder)
            WHERE i.code = 0 AND i.holder IS NULL) THEN
        PERFORM pg_notify('{channel}', '');
    END IF;

    RETURN QUERY SELECT * FROM unnest(v_code, v_version, v_verdict, v_owner);
END
$$;

-- Writes row sets of participants that share no row. Operations: 0 must be as expected, 1 put,
-- 2 delete. The answer has one row per set, in order: 0 written, 1 conflict, 2 too late.
--
-- All who write in a scope lock it first. Beside them are transactions that have claimed rows without
-- their scope: what a row was when it was looked at, it must still be when it is written.
CREATE FUNCTION {schema}.write_rows_1(
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

-- Which counter of deleted versions a scope has.
CREATE FUNCTION {schema}.part_of(p_scope text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashtext(p_scope COLLATE "C") & 63)
$$;

-- Locks scopes until the transaction ends, all in one order, so that no two wait for each other.
CREATE FUNCTION {schema}.lock_scopes(p_scope text[]) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(t.lock) FROM (
        SELECT DISTINCT hashtextextended(i.scope COLLATE "C",
            '{schema}.scope_row'::regclass::oid::bigint) AS lock
        FROM unnest(p_scope) AS i (scope) ORDER BY 1) AS t;
END
$$;

-- The first id of a transaction that could be made at this time.
CREATE FUNCTION {schema}.first_id(p_us bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(greatest(p_us, 0) / 1000), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions of a day since the Unix epoch. Says whether they were missing and are
-- there now. They are not made when transactions of that day are in the rest already, or when
-- the locks do not come soon: then the day stays in the rest, which is correct, only slower to
-- forget.
CREATE FUNCTION {schema}.add_day_1(p_day integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_table text;
    v_first uuid := {schema}.first_id(p_day * 86400000000::bigint);
    v_next uuid := {schema}.first_id((p_day + 1) * 86400000000::bigint);
BEGIN
    IF to_regclass(format('{schema}.%I', 'ended_' || p_day)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM set_config('lock_timeout', '2s', true);
    FOREACH v_table IN ARRAY ARRAY['head', 'ended', 'journal'] LOOP
        EXECUTE format('CREATE TABLE {schema}.%1$I (LIKE {schema}.%2$I INCLUDING ALL, '
            'CHECK (tx >= %3$L AND tx < %4$L))', v_table || '_' || p_day, v_table, v_first, v_next);
        EXECUTE format('ALTER TABLE {schema}.%2$I ATTACH PARTITION {schema}.%1$I '
            'FOR VALUES FROM (%3$L) TO (%4$L)', v_table || '_' || p_day, v_table, v_first, v_next);
    END LOOP;
    RETURN true;
EXCEPTION WHEN check_violation OR lock_not_available OR duplicate_table THEN
    RETURN false;
END
$$;

-- Forgets a whole day if all its transactions have ended at or before a time. Says how many
-- there were, or null when something of the day must stay or is in use.
CREATE FUNCTION {schema}.drop_day_1(p_day integer, p_ended_at bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_first uuid := {schema}.first_id(p_day * 86400000000::bigint);
    v_next uuid := {schema}.first_id((p_day + 1) * 86400000000::bigint);
    v_count bigint;
    v_newest bigint;
BEGIN
    IF EXISTS (SELECT 1 FROM {schema}.open AS o WHERE o.tx >= v_first AND o.tx < v_next) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT count(*), max(written_at) FROM {schema}.%I', 'ended_' || p_day)
        INTO v_count, v_newest;
    IF v_newest > p_ended_at THEN
        RETURN NULL;
    END IF;
    EXECUTE format('UPDATE {schema}.caller_key AS k SET ended_at = e.written_at '
        'FROM {schema}.%I AS h JOIN {schema}.%I AS e ON e.tx = h.tx '
        'WHERE k.namespace = h.namespace AND k.key = h.key AND k.tx = h.tx',
        'head_' || p_day, 'ended_' || p_day);
    -- Whoever commits waits behind these, so they must come at once or not at all.
    PERFORM set_config('lock_timeout', '100ms', true);
    LOCK TABLE ONLY {schema}.head, ONLY {schema}.ended, ONLY {schema}.journal
        IN ACCESS EXCLUSIVE MODE;
    IF EXISTS (SELECT 1 FROM {schema}.open AS o WHERE o.tx >= v_first AND o.tx < v_next) THEN
        RAISE lock_not_available;
    END IF;
    EXECUTE format('DROP TABLE {schema}.%I, {schema}.%I, {schema}.%I',
        'head_' || p_day, 'ended_' || p_day, 'journal_' || p_day);
    RETURN v_count;
EXCEPTION WHEN lock_not_available OR undefined_table THEN
    RETURN NULL;
END
$$;

-- Forgets up to so many transactions that ended at or before a time, one by one: those with
-- earlier ids than the given one, and those in the rest. Says how many.
CREATE FUNCTION {schema}.forget_1(p_ended_at bigint, p_before uuid, p_limit bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_tx uuid[];
    v_written bigint[];
    v_more uuid[];
    v_more_written bigint[];
BEGIN
    SELECT coalesce(array_agg(t.tx), '{}'), coalesce(array_agg(t.written_at), '{}')
    INTO v_tx, v_written FROM (
        SELECT e.tx, e.written_at FROM {schema}.ended_rest AS e WHERE e.written_at <= p_ended_at
        ORDER BY e.tx LIMIT p_limit FOR UPDATE SKIP LOCKED) AS t;
    SELECT coalesce(array_agg(t.tx), '{}'), coalesce(array_agg(t.written_at), '{}')
    INTO v_more, v_more_written FROM (
        SELECT e.tx, e.written_at FROM {schema}.ended AS e
        WHERE e.tx < p_before AND e.written_at <= p_ended_at AND e.tx <> ALL (v_tx)
        ORDER BY e.tx LIMIT p_limit - cardinality(v_tx) FOR UPDATE SKIP LOCKED) AS t;
    v_tx := v_tx || v_more;
    v_written := v_written || v_more_written;
    UPDATE {schema}.caller_key AS k SET ended_at = i.written_at
        FROM unnest(v_tx, v_written) AS i (tx, written_at)
            JOIN {schema}.head AS h ON h.tx = i.tx
        WHERE k.namespace = h.namespace AND k.key = h.key AND k.tx = i.tx;
    DELETE FROM {schema}.journal AS j USING unnest(v_tx) AS i (tx) WHERE j.tx = i.tx;
    DELETE FROM {schema}.ended AS e USING unnest(v_tx) AS i (tx) WHERE e.tx = i.tx;
    DELETE FROM {schema}.head AS h USING unnest(v_tx) AS i (tx) WHERE h.tx = i.tx;
    RETURN cardinality(v_tx);
END
$$;
