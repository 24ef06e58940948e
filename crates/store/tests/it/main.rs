//! What every store keeps (`contract`), and what is particular to the one in SQLite (`sqlite`).

#![expect(clippy::unwrap_used, reason = "in a test it is the assertion")]

mod contract;
mod sqlite;

store_contract_suite!(sqlite_contract, crate::sqlite::open);
