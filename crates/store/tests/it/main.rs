//! What every store keeps (`contract`), and what is particular to the one in SQLite (`sqlite`) and the one in PostgreSQL
//! (`postgres`); what lies beside both (`objects`), and what goes from one to the other (`transfer`).

#![expect(clippy::unwrap_used, reason = "in a test it is the assertion")]

mod contract;
mod objects;
mod postgres;
mod sqlite;
mod transfer;

store_contract_suite!(sqlite_contract, crate::sqlite::open, crate::sqlite::is_there);
store_contract_suite!(postgres_contract, crate::postgres::open, crate::postgres::is_there);
