//! Crashes on stores that several processes share: of one of two coordinators (`pairs`), of the
//! server under load (`kills`), losses of power under the server (`power`), and losses of the
//! server with its disk, for which a copy takes its place (`failover`).
//! `DTX_CRASH_STORE` says on which server, nothing is both; `DTX_SERVERS_FIRST` and
//! `DTX_SERVERS_COUNT` which rounds, nothing is one. Each round prints one line that begins with
//! `SERVERS {`. Where there can be no disk to cut the power of, the only line of `power` is
//! `SERVERS SKIPPED` with the reason.

mod console;
mod failover;
mod history;
mod kills;
mod pairs;
mod power;
mod run;
