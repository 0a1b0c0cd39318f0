//! The tables and functions of the store, in numbered steps.

use dtx_core::error::{Effect, ErrorKind, StoreError};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::{
    error::{Failure, NAME},
    schema::SchemaName,
};

/// One step of the schema. Each is applied once, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub number: i32,
    /// What it is about.
    pub title: &'static str,
    /// Its statements.
    pub sql: String,
}

const STEPS: [(&str, &str); 3] = [
    ("tables", include_str!("sql/0001_tables.sql")),
    ("functions", include_str!("sql/0002_functions.sql")),
    ("units of work and outbox", include_str!("sql/0003_units.sql")),
];

/// Remembers which steps were applied.
const TABLE: &str = "CREATE SCHEMA IF NOT EXISTS {schema};\n\
    CREATE TABLE IF NOT EXISTS {schema}.migration (number integer PRIMARY KEY, title text NOT \
    NULL, applied_at timestamptz NOT NULL DEFAULT now());\n";

/// All steps, as they are applied in this schema, to be read or to be applied by hand: each
/// records itself.
pub fn migrations(schema: &SchemaName) -> Vec<Migration> {
    let numbered = (1..).zip(STEPS);
    let migration = |(number, (title, template)): (i32, (&'static str, &str))| {
        let table = if number == 1 { schema.fill(TABLE) } else { String::new() };
        let record = format!(
            "INSERT INTO {{schema}}.migration (number, title) VALUES ({number}, '{title}');\n"
        );
        let sql = format!("{table}{}{}", schema.fill(template), schema.fill(&record));
        Migration { number, title, sql }
    };
    numbered.map(migration).collect()
}

/// Applies what is missing, and says which steps that were. Only one process does so at a time.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<Vec<Migration>, StoreError> {
    const OPERATION: &str = "migrate";
    let failed = |error: &sqlx::Error| Failure::of(error, Effect::Unknown).into_error(OPERATION);
    let mut transaction = connection.begin().await.map_err(|error| failed(&error))?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('dtx migration ' || $1, 0))")
        .bind(schema.as_str())
        .execute(&mut *transaction)
        .await
        .map_err(|error| failed(&error))?;
    let applied = applied(&mut transaction, schema).await?;
    let missing: Vec<_> = migrations(schema).into_iter().skip(applied).collect();
    for migration in &missing {
        sqlx::raw_sql(AssertSqlSafe(migration.sql.clone()))
            .execute(&mut *transaction)
            .await
            .map_err(|error| failed(&error))?;
    }
    transaction.commit().await.map_err(|error| failed(&error))?;
    Ok(missing)
}

/// How many steps were applied.
///
/// # Errors
/// `Unsupported` when there are more than this release knows.
pub(crate) async fn applied(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<usize, StoreError> {
    const OPERATION: &str = "open";
    let failed = |error: &sqlx::Error| Failure::of(error, Effect::None).into_error(OPERATION);
    let there = sqlx::query("SELECT to_regclass($1) IS NOT NULL")
        .bind(schema.fill("{schema}.migration"))
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get::<bool, _>(0))
        .map_err(|error| failed(&error))?;
    if !there {
        return Ok(0);
    }
    let highest = "SELECT coalesce(max(number), 0) FROM {schema}.migration";
    let highest = sqlx::query(AssertSqlSafe(schema.fill(highest)))
        .fetch_one(&mut *connection)
        .await
        .and_then(|row| row.try_get::<i32, _>(0))
        .map_err(|error| failed(&error))?;
    let applied = usize::try_from(highest).unwrap_or(0);
    if applied > STEPS.len() {
        let context = format!(
            "schema {schema} has step {applied}; this release knows {}: use a newer one",
            STEPS.len()
        );
        return Err(StoreError::new(ErrorKind::Unsupported, NAME, OPERATION).with_context(context));
    }
    Ok(applied)
}

/// An error when steps are missing.
pub(crate) async fn check(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<(), StoreError> {
    let applied = applied(connection, schema).await?;
    if applied == STEPS.len() {
        return Ok(());
    }
    let context = format!(
        "schema {schema} has {applied} of {} steps: apply the rest with `dtx migrate`",
        STEPS.len()
    );
    Err(StoreError::new(ErrorKind::Invalid, NAME, "open").with_context(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_numbered_complete_and_record_themselves() {
        let schema = SchemaName::new("other").expect("valid");
        let steps = migrations(&schema);
        assert_eq!(steps.len(), STEPS.len());
        for (number, step) in (1..).zip(&steps) {
            assert_eq!(step.number, number);
            assert!(!step.sql.contains("{schema}"), "{}", step.title);
            assert!(
                step.sql.contains(&format!("\"other\".migration (number, title) VALUES ({number}"))
            );
        }
        assert!(steps[0].sql.starts_with("CREATE SCHEMA IF NOT EXISTS \"other\";"));
    }
}
