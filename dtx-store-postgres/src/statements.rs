//! The texts of all statements, made once: nothing but the checked name of the schema is ever
//! put into them.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Postgres, postgres::PgArguments, query::Query};

use crate::schema::SchemaName;

/// A statement of the store.
#[derive(Clone, Debug)]
pub(crate) struct Statement(Arc<str>);

impl Statement {
    /// The statement, to be given its values.
    pub(crate) fn query<'q>(&self) -> Query<'q, Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(self.0.clone()))
    }
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident: $text:expr;)*) => {
        /// Every statement of the store.
        #[derive(Debug)]
        pub(crate) struct Statements {
            $($(#[$doc])* pub(crate) $name: Statement,)*
        }

        impl Statements {
            pub(crate) fn new(schema: &SchemaName) -> Self {
                let fill = |text: &str| Statement(Arc::from(schema.fill(text)));
                Self { $($name: fill($text),)* }
            }
        }
    };
}

/// The columns of a record, whether it is open or ended.
const RECORD: &str = "h.tx, h.namespace, h.key, h.accepted_at, h.definition, r.version, r.writer, \
    r.number, r.verdict, r.written_at, r.due, r.summary, r.state";

/// What makes the end of its statement wait for the standbys that the server waits for, if there
/// are any: a commit that is later in the log than all that the statement has read. A transaction
/// whose writer gave up, or that a crash of the server has ended, can be read before its standbys
/// have it, and a reader by itself waits for none.
const CONFIRM: &str = "(SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' \
    THEN pg_logical_emit_message(true, 'dtx', '') END)";

/// When the server was started: another server has another time, also behind the same address.
const STARTED: &str = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

/// Whether message `o` can be sent: it is due, and so is all before it of its key.
const SENDABLE: &str = "NOT o.dead AND o.due <= {schema}.now_us() AND (o.key IS NULL OR NOT \
    EXISTS (SELECT 1 FROM {schema}.outbox AS e WHERE e.lane = o.lane AND e.key = o.key AND \
    NOT e.dead AND e.due > 0 AND e.position < o.position AND e.due > {schema}.now_us()))";

statements! {
    now: "SELECT {schema}.now_us()";
    commit: &format!("SELECT code, version, verdict, owner, CASE WHEN code = 4 THEN {CONFIRM} END \
        FROM {{schema}}.commit_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
            $16, $17, $18, $19)");
    confirm: &format!("SELECT {CONFIRM}, {STARTED}");
    load: &format!("SELECT {RECORD}, {CONFIRM} FROM unnest($1::uuid[]) AS i (tx) \
        JOIN {{schema}}.head AS h ON h.tx = i.tx CROSS JOIN LATERAL ( \
            SELECT version, writer, number, verdict, written_at, due, summary, state \
                FROM {{schema}}.open WHERE tx = i.tx \
            UNION ALL \
            SELECT version, writer, number, verdict, written_at, NULL, summary, state \
                FROM {{schema}}.ended WHERE tx = i.tx) AS r");
    open: &format!("SELECT {RECORD}, c.now, CASE WHEN h.tx IS NOT NULL THEN {CONFIRM} END FROM (SELECT {{schema}}.now_us() AS now) AS c \
        LEFT JOIN (SELECT * FROM {{schema}}.open \
            WHERE shard = $1 AND due <= $2 AND (due, tx) > ($3, $4) \
            ORDER BY due, tx LIMIT $5) AS r ON true \
        LEFT JOIN {{schema}}.head AS h ON h.tx = r.tx ORDER BY r.due, r.tx");
    earliest: "SELECT (SELECT min(o.due) FROM {schema}.open AS o WHERE o.shard = i.shard) \
        FROM unnest($1::integer[]) WITH ORDINALITY AS i (shard, n) ORDER BY i.n";
    acquire: "WITH wanted AS MATERIALIZED (SELECT shard FROM {schema}.lease \
            WHERE shard = ANY ($1) ORDER BY shard FOR UPDATE) \
        UPDATE {schema}.lease AS l \
        SET epoch = CASE WHEN l.holder = $2 THEN l.epoch ELSE l.epoch + 1 END, holder = $2, \
            until = {schema}.now_us() + $3 \
        FROM wanted WHERE l.shard = wanted.shard \
            AND (l.holder IS NULL OR l.holder = $2 OR l.until <= {schema}.now_us()) \
        RETURNING l.shard, l.epoch";
    renew: "WITH own AS MATERIALIZED (SELECT l.shard, i.ttl, i.n FROM {schema}.lease AS l \
            JOIN unnest($1::integer[], $2::uuid[], $3::bigint[], $4::bigint[]) WITH ORDINALITY \
                AS i (shard, holder, epoch, ttl, n) \
                ON l.shard = i.shard AND l.holder = i.holder AND l.epoch = i.epoch \
            ORDER BY l.shard FOR UPDATE OF l) \
        UPDATE {schema}.lease AS l SET until = {schema}.now_us() + own.ttl \
        FROM own WHERE l.shard = own.shard RETURNING own.n";
    release: "WITH own AS MATERIALIZED (SELECT l.shard FROM {schema}.lease AS l \
            JOIN unnest($1::integer[], $2::uuid[], $3::bigint[]) AS i (shard, holder, epoch) \
                ON l.shard = i.shard AND l.holder = i.holder AND l.epoch = i.epoch \
            ORDER BY l.shard FOR UPDATE OF l) \
        UPDATE {schema}.lease AS l SET holder = NULL FROM own WHERE l.shard = own.shard";
    list: &format!("SELECT {RECORD}, {CONFIRM} FROM (( \
            SELECT tx, version, writer, number, verdict, written_at, due, summary, state \
            FROM {{schema}}.open AS o WHERE ($1::uuid IS NULL OR tx < $1) AND ($2::smallint IS NULL OR pattern = $2) \
                AND ($3::smallint IS NULL OR status = $3) AND (NOT $4 OR exceptions) \
                AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM {{schema}}.head AS h \
                    WHERE h.tx = o.tx AND h.namespace = $5)) \
            ORDER BY tx DESC LIMIT $6) \
        UNION ALL ( \
            SELECT tx, version, writer, number, verdict, written_at, NULL, summary, state \
            FROM {{schema}}.ended AS o WHERE ($1::uuid IS NULL OR tx < $1) AND ($2::smallint IS NULL OR pattern = $2) \
                AND ($3::smallint IS NULL OR status = $3) AND (NOT $4 OR exceptions) \
                AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM {{schema}}.head AS h \
                    WHERE h.tx = o.tx AND h.namespace = $5)) \
            ORDER BY tx DESC LIMIT $6)) AS r \
        JOIN {{schema}}.head AS h ON h.tx = r.tx ORDER BY h.tx DESC LIMIT $6");
    history: &format!("SELECT entries, {CONFIRM} FROM ( \
            SELECT 0::bigint AS part, 0::bigint AS version, journal AS entries \
                FROM {{schema}}.head WHERE tx = $1 \
            UNION ALL SELECT 1, version, entries FROM {{schema}}.journal WHERE tx = $1 \
            UNION ALL SELECT 2, version, journal FROM {{schema}}.ended WHERE tx = $1) AS j \
        WHERE entries IS NOT NULL ORDER BY part, version");
    by_key: &format!("SELECT tx, {CONFIRM} FROM {{schema}}.caller_key \
        WHERE namespace = $1 AND key = $2");
    days: "SELECT substring(c.relname FROM 7)::integer AS day FROM pg_catalog.pg_class AS c \
        WHERE c.relnamespace = $1::regnamespace AND c.relname ~ '^ended_[0-9]+$' \
            AND c.relkind = 'r' ORDER BY day";
    add_day: "SELECT {schema}.add_day_1($1)";
    drop_day: "SELECT {schema}.drop_day_1($1, $2)";
    forget: "SELECT {schema}.forget_1($1, {schema}.first_id($2), $3)";
    forget_keys: "DELETE FROM {schema}.caller_key AS k USING ( \
            SELECT namespace, key FROM {schema}.caller_key WHERE ended_at <= $1 \
            ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS i \
        WHERE k.namespace = i.namespace AND k.key = i.key";
    read_rows: "SELECT c.now, r.n, r.version, r.value \
        FROM (SELECT {schema}.now_us() AS now) AS c LEFT JOIN ( \
            SELECT i.n, r.version, r.value \
            FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS i (scope, key, n) \
                JOIN {schema}.scope_row AS r ON r.scope = i.scope AND r.key = i.key) AS r ON true";
    read_rows_durable: &format!("SELECT c.now, r.n, r.version, r.value, {CONFIRM} \
        FROM (SELECT {{schema}}.now_us() AS now) AS c LEFT JOIN ( \
            SELECT i.n, r.version, r.value \
            FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS i (scope, key, n) \
                JOIN {{schema}}.scope_row AS r ON r.scope = i.scope AND r.key = i.key) AS r ON true");
    write_rows: "SELECT code FROM {schema}.write_rows_1($1, $2, $3, $4, $5, $6, $7)";
    scan_rows: "SELECT key, version, value FROM {schema}.scope_row WHERE scope = $1 \
        AND key >= $2 AND ($3::bytea IS NULL OR key > $3) AND ($4::bytea IS NULL OR key < $4) \
        ORDER BY key LIMIT $5";
    scopes: "WITH RECURSIVE s AS (( \
            SELECT scope FROM {schema}.scope_row \
            WHERE scope >= $1 AND ($2::text IS NULL OR scope > $2) ORDER BY scope LIMIT 1) \
        UNION ALL \
            SELECT (SELECT r.scope FROM {schema}.scope_row AS r WHERE r.scope > s.scope \
                ORDER BY r.scope LIMIT 1) \
            FROM s WHERE starts_with(s.scope, $1)) \
        SELECT scope FROM s WHERE starts_with(scope, $1) LIMIT $3";
    claim_row: "SELECT taken, began, now, version, value, mark_version, mark \
        FROM {schema}.claim_row_1($1, $2, $3)";
    finish_row: "SELECT {schema}.finish_row_1($1, $2, $3, $4, $5)";
    branches: &format!("SELECT gid, {CONFIRM} FROM pg_catalog.pg_prepared_xacts \
        WHERE database = current_database() AND starts_with(gid, $1) ORDER BY prepared");
    once: "INSERT INTO {schema}.done_once (tx, operation, done_at) \
        VALUES ($1, $2, {schema}.now_us()) ON CONFLICT DO NOTHING";
    forget_once: "DELETE FROM {schema}.done_once AS d USING ( \
            SELECT tx, operation FROM {schema}.done_once WHERE done_at < {schema}.now_us() - $1 \
            ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS i \
        WHERE d.tx = i.tx AND d.operation = i.operation RETURNING 1";
    append: "SELECT {schema}.append_1($1, $2, $3, $4)";
    outbox_waiting: "SELECT count(*) FROM {schema}.outbox WHERE NOT dead";
    outbox_dead: "SELECT id, key, topic, payload, attempts, error FROM {schema}.outbox \
        WHERE dead ORDER BY position LIMIT $1";
    outbox_revive: "UPDATE {schema}.outbox SET dead = false, attempts = 0, due = 0 \
        WHERE id = $1 AND dead RETURNING 1";
    outbox_discard: "DELETE FROM {schema}.outbox WHERE id = $1 AND dead RETURNING 1";
    relay_idle: "SELECT set_config('idle_in_transaction_session_timeout', $1, true)";
    relay_take: &format!("SELECT l.lane, current_setting('synchronous_standby_names') <> '', \
            {STARTED} FROM {{schema}}.outbox_lane AS l WHERE EXISTS ( \
            SELECT 1 FROM {{schema}}.outbox AS o WHERE o.lane = l.lane AND {SENDABLE}) \
        ORDER BY random() LIMIT 1 FOR UPDATE OF l SKIP LOCKED");
    relay_read: &format!("SELECT o.position, o.id, o.key, o.topic, o.payload, o.attempts \
        FROM {{schema}}.outbox AS o WHERE o.lane = $1 AND {SENDABLE} \
        ORDER BY o.position LIMIT $2");
    relay_sent: "DELETE FROM {schema}.outbox WHERE position = ANY ($1)";
    relay_failed: "UPDATE {schema}.outbox AS o SET attempts = i.attempts, dead = i.dead, \
            error = i.error, due = {schema}.now_us() + i.pause \
        FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::boolean[], $5::text[]) \
            AS i (position, attempts, pause, dead, error) WHERE o.position = i.position";
    make: "INSERT INTO {schema}.store (shards) VALUES ($1) ON CONFLICT DO NOTHING";
    make_leases: "INSERT INTO {schema}.lease (shard, epoch, until) \
        SELECT shard, 0, 0 FROM generate_series(0, (SELECT shards FROM {schema}.store) - 1) \
            AS shard ON CONFLICT DO NOTHING";
    shards: "SELECT shards FROM {schema}.store";
}
