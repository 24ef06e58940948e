//! [`People`], method by method.

use super::{SqlStore, people, sessions};
use crate::contract::People;
use crate::error::StoreError;
use crate::people::{NewPerson, NewSession, PersonRow, SessionRow, SessionTerms};
use async_trait::async_trait;
use jobs::Namespace;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl People for SqlStore {
    async fn add_person(&self, new: NewPerson) -> Result<PersonRow> {
        people::add(self, new).await
    }

    async fn people(&self, of: Option<&Namespace>) -> Result<Vec<PersonRow>> {
        people::list(self, of).await
    }

    async fn person(&self, name: &str) -> Result<Option<(PersonRow, String)>> {
        people::by_name(self, name).await
    }

    async fn set_password(&self, name: &str, password: &str) -> Result<Option<PersonRow>> {
        people::set_password(self, name, password).await
    }

    async fn remove_person(&self, name: &str) -> Result<Option<PersonRow>> {
        people::remove(self, name).await
    }

    async fn begin_session(&self, of: NewSession) -> Result<Option<String>> {
        sessions::begin(self, of).await
    }

    async fn session(&self, shown: &str, terms: SessionTerms) -> Result<Option<SessionRow>> {
        sessions::by_shown(self, shown, terms).await
    }

    async fn session_is_good(&self, id: i64, terms: SessionTerms) -> Result<bool> {
        sessions::is_good(self, id, terms).await
    }

    async fn end_session(&self, id: i64) -> Result<()> {
        sessions::end(self, id).await
    }

    async fn forget_sessions(&self, terms: SessionTerms) -> Result<u64> {
        sessions::forget(self, terms).await
    }
}
