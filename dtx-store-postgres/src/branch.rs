//! Two-phase commit by the server: `PREPARE TRANSACTION` under a name that says what it is of.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::ParticipantName,
    store::{Branch, BranchEnd, BranchStore, RowWriteResult},
};
use sqlx::{AssertSqlSafe, Postgres, Row, Transaction};

use crate::{
    error::{Failure, NAME, invalid},
    opening::ServerReport,
    schema::SchemaName,
    store::{Inner, PgStore, owned},
    unit::{self, Claim, PgOpen},
};

/// The longest name of a prepared transaction, in bytes: the server's own limit.
pub const GID_BYTES_MAX: usize = 199;

/// The checked name of a prepared transaction: `a-z 0-9 _ - .` and `:` only, so that it can stand
/// in a statement, which takes no parameter there.
///
/// `dtx:{schema}:{participant}:{transaction}:{operation}:{shard}.{epoch}.{sequence}`, numbers in
/// base 16.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Gid(String);

impl fmt::Debug for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the names of all branches of a participant begin with.
fn prefix(schema: &SchemaName, participant: &ParticipantName) -> String {
    format!("dtx:{}:{participant}:", schema.as_str())
}

/// What the names of the branches of an operation begin with.
fn operation_prefix(
    schema: &SchemaName,
    participant: &ParticipantName,
    (tx, operation): (TxId, OperationIndex),
) -> String {
    let tx = uuid::Uuid::from_bytes(*tx.as_bytes()).simple();
    format!("{}{tx}:{:x}:", prefix(schema, participant), operation.0)
}

impl Gid {
    pub(crate) fn new(schema: &SchemaName, branch: &Branch) -> Result<Self, StoreError> {
        let of = (branch.tx, branch.operation);
        let gid = format!(
            "{}{:x}.{:x}.{:x}.{:x}",
            operation_prefix(schema, &branch.participant, of),
            branch.shard.0,
            branch.epoch.0,
            branch.sequence.epoch.0,
            branch.sequence.number,
        );
        if gid.len() > GID_BYTES_MAX {
            let context = format!(
                "the name of the branch has {} bytes, and {GID_BYTES_MAX} are the most: give the \
                 schema or the participant a shorter name",
                gid.len()
            );
            return Err(invalid("prepare", context));
        }
        Ok(Self(gid))
    }

    /// What a name says; `None` for one that is not ours.
    fn parse(schema: &SchemaName, participant: &ParticipantName, gid: &str) -> Option<Branch> {
        let mut parts = gid.strip_prefix(&prefix(schema, participant))?.split(':');
        let tx = parts.next()?.parse::<TxId>().ok()?;
        let operation = u16::from_str_radix(parts.next()?, 16).ok()?;
        let mut numbers = parts.next()?.split('.').map(|part| u64::from_str_radix(part, 16).ok());
        let shard = u16::try_from(numbers.next()??).ok()?;
        let epoch = Epoch(numbers.next()??);
        let sequence = AcceptSequence { epoch: Epoch(numbers.next()??), number: numbers.next()?? };
        let branch = Branch {
            participant: participant.clone(),
            tx,
            operation: OperationIndex(operation),
            shard: ShardId(shard),
            epoch,
            sequence,
        };
        (Self::new(schema, &branch).ok()?.0 == gid).then_some(branch)
    }
}

async fn prepare(inner: Arc<Inner>, open: PgOpen, value: Bytes, gid: Gid) -> Result<(), Failure> {
    let PgOpen { mut transaction, claim, .. } = open;
    let limit = inner.call_timeout;
    let work = async {
        let done = prepare_as(&inner, &mut transaction, &claim, &value, &gid).await;
        unit::let_go(transaction).await;
        done
    };
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(Failure::late(limit, Effect::Unknown)))
}

async fn prepare_as(
    inner: &Inner,
    transaction: &mut Transaction<'static, Postgres>,
    claim: &Claim,
    value: &Bytes,
    gid: &Gid,
) -> Result<(), Failure> {
    unit::finish(inner, transaction, claim, value).await?;
    // The next transaction of the connection begins in the same breath: it is one for sqlx.
    let statements = format!("PREPARE TRANSACTION '{}'; BEGIN", gid.0);
    let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut **transaction).await;
    done.map(drop).map_err(|error| Failure::of(&error, Effect::Unknown))
}

/// No such prepared transaction: it has ended before.
const UNDEFINED_OBJECT: &str = "42704";

async fn end(inner: Arc<Inner>, gid: Gid, end: BranchEnd) -> Result<bool, Failure> {
    let statement = match end {
        BranchEnd::Commit => format!("COMMIT PREPARED '{}'", gid.0),
        BranchEnd::RollBack => format!("ROLLBACK PREPARED '{}'", gid.0),
    };
    let mut connection =
        inner.pool.acquire().await.map_err(|error| Failure::of_connecting(&error))?;
    let work = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection);
    let limit = inner.call_timeout;
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(sqlx::Error::Database(error)))
            if error.code().is_some_and(|code| code == UNDEFINED_OBJECT) =>
        {
            // Whoever ended it may have been told nothing yet. This server has seen it end.
            let confirm = inner.sql.confirm.query().execute(&mut *connection);
            match tokio::time::timeout(limit, confirm).await {
                Ok(done) => done.map(|_| false).map_err(|error| Failure::of(&error, Effect::None)),
                Err(_) => {
                    connection.close_on_drop();
                    Err(Failure::late(limit, Effect::None))
                }
            }
        }
        Ok(Err(error)) => Err(Failure::of(&error, Effect::Unknown)),
        Err(_) => {
            connection.close_on_drop();
            Err(Failure::late(limit, Effect::Unknown))
        }
    }
}

fn check(report: &ServerReport) -> Result<(), StoreError> {
    if report.max_prepared_transactions > 0 {
        return Ok(());
    }
    let context = "max_prepared_transactions is 0, so the server prepares nothing: set it to at \
        least the number of branches that are prepared at a time, and start the server again";
    Err(StoreError::new(ErrorKind::Unsupported, NAME, "prepare").with_context(context))
}

#[async_trait]
impl BranchStore for PgStore {
    fn check_branches(&self) -> Result<(), StoreError> {
        check(&self.inner.report)
    }

    async fn prepare(&self, open: PgOpen, value: Bytes, branch: &Branch) -> RowWriteResult {
        let gid = match Gid::new(&self.inner.schema, branch) {
            Ok(gid) => gid,
            Err(error) => return RowWriteResult::Failed(error),
        };
        unit::result(owned(prepare(self.inner.clone(), open, value, gid)).await)
    }

    async fn branches(
        &self,
        participant: &ParticipantName,
        of: Option<(TxId, OperationIndex)>,
    ) -> Result<Vec<Branch>, StoreError> {
        let schema = &self.inner.schema;
        let prefix = match of {
            Some(of) => operation_prefix(schema, participant, of),
            None => prefix(schema, participant),
        };
        let rows = self.inner.read("branches", self.inner.sql.branches.query().bind(prefix)).await;
        let mut found = Vec::new();
        for row in &rows? {
            let gid: String = row
                .try_get(0)
                .map_err(|error| Failure::of(&error, Effect::None).into_error("branches"))?;
            match Gid::parse(schema, participant, &gid) {
                Some(branch) => found.push(branch),
                None => tracing::warn!(gid, "a prepared transaction has a name that is not ours"),
            }
        }
        Ok(found)
    }

    async fn end(&self, branch: &Branch, end: BranchEnd) -> Result<bool, StoreError> {
        let gid = Gid::new(&self.inner.schema, branch)?;
        let ended = owned(self::end(self.inner.clone(), gid, end)).await.and_then(|done| done);
        ended.map_err(|failure| failure.into_error("end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::SCHEMA_BYTES_MAX;

    fn branch(participant: &str, number: u64) -> Branch {
        Branch {
            participant: ParticipantName::new(participant).expect("valid"),
            tx: TxId::from_bytes([7; 16]),
            operation: OperationIndex(u16::MAX),
            shard: ShardId(4095),
            epoch: Epoch(number),
            sequence: AcceptSequence { epoch: Epoch(number), number },
        }
    }

    #[test]
    fn names_come_back_and_those_of_others_do_not() {
        let schema = SchemaName::default();
        let branch = branch("orders_1-a", 0xAB);
        let gid = Gid::new(&schema, &branch).expect("it fits");
        assert_eq!(gid.0, format!("dtx:dtx:orders_1-a:{}:ffff:fff.ab.ab.ab", "07".repeat(16)));
        assert_eq!(Gid::parse(&schema, &branch.participant, &gid.0), Some(branch.clone()));
        for foreign in ["", "dtx:dtx:orders_1-a:", &gid.0[1..], &gid.0.replace("fff.", "FFF.")] {
            assert_eq!(Gid::parse(&schema, &branch.participant, foreign), None, "{foreign}");
        }
        let other = ParticipantName::new("orders_1").expect("valid");
        assert_eq!(Gid::parse(&schema, &other, &gid.0), None);
    }

    #[test]
    fn a_name_at_the_limit_passes_and_one_past_it_does_not() {
        let schema = SchemaName::new("s".repeat(SCHEMA_BYTES_MAX)).expect("valid");
        let long = Gid::new(&schema, &branch(&"p".repeat(62), 0)).expect("it fits").0.len();
        let room = GID_BYTES_MAX - long + 3;
        // Three numbers of as many digits share the room that is left.
        let digits = |digits: usize| u64::from_str_radix(&"f".repeat(digits), 16).expect("valid");
        assert_eq!(room % 3, 0, "the names are chosen so");
        assert_eq!(
            Gid::new(&schema, &branch(&"p".repeat(62), digits(room / 3))).expect("fits").0.len(),
            GID_BYTES_MAX
        );
        let error = Gid::new(&schema, &branch(&"p".repeat(62), digits(room / 3 + 1)));
        assert!(error.expect_err("too long").to_string().contains("shorter name"));
    }

    #[test]
    fn a_server_that_prepares_nothing_is_told_with_the_fix() {
        let mut report = ServerReport::sample();
        report.max_prepared_transactions = 1;
        assert!(check(&report).is_ok());
        report.max_prepared_transactions = 0;
        let error = check(&report).expect_err("it prepares nothing");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("max_prepared_transactions is 0"), "{error}");
    }

    #[test]
    fn nothing_that_could_end_a_literal_gets_into_a_name() {
        let gid = Gid::new(&SchemaName::default(), &branch("a-b_c", u64::MAX)).expect("it fits");
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.:".contains(&b);
        assert!(gid.0.bytes().all(fine));
    }
}
