//! [`Identities`] and [`AuditLog`], method by method.

use super::{SqlStore, audit, identities, registrations, tokens};
use crate::contract::{AuditLog, Identities};
use crate::error::StoreError;
use crate::identity::{
    ActFilter, ActRow, IdentityRow, NewAct, NewRegistration, NewToken, RegistrationRow, TokenRow,
};
use async_trait::async_trait;
use jiff::Timestamp;
use jobs::Namespace;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Identities for SqlStore {
    async fn create_token(&self, new: NewToken) -> Result<(TokenRow, String)> {
        tokens::create(self, new).await
    }

    async fn token(&self, shown: &str) -> Result<Option<TokenRow>> {
        tokens::by_shown(self, shown).await
    }

    async fn token_is_good(&self, id: i64) -> Result<bool> {
        tokens::is_good(self, id).await
    }

    async fn tokens(&self, of: Option<&Namespace>) -> Result<Vec<TokenRow>> {
        tokens::list(self, of).await
    }

    async fn revoke_token(&self, id: i64) -> Result<Option<TokenRow>> {
        tokens::revoke(self, id).await
    }

    async fn create_registration(&self, new: NewRegistration) -> Result<(RegistrationRow, String)> {
        registrations::create(self, new).await
    }

    async fn registrations(&self) -> Result<Vec<RegistrationRow>> {
        registrations::list(self).await
    }

    async fn revoke_registration(&self, id: i64) -> Result<Option<RegistrationRow>> {
        registrations::revoke(self, id).await
    }

    async fn register(&self, shown: &str, name: &str, identity: &str) -> Result<(IdentityRow, bool)> {
        identities::register(self, shown, name, identity).await
    }

    async fn identity(&self, shown: &str) -> Result<Option<IdentityRow>> {
        identities::by_shown(self, shown).await
    }

    async fn identity_of(&self, executor: &str) -> Result<Option<IdentityRow>> {
        identities::by_name(self, executor).await
    }

    async fn identities(&self) -> Result<Vec<IdentityRow>> {
        identities::list(self).await
    }

    async fn revoke_identity(&self, executor: &str) -> Result<Option<IdentityRow>> {
        identities::revoke(self, executor).await
    }

    async fn forget_identities(&self, cutoff: Timestamp) -> Result<u64> {
        identities::forget(self, cutoff).await
    }
}

#[async_trait]
impl AuditLog for SqlStore {
    async fn note_act(&self, act: NewAct) -> Result<()> {
        audit::note(self, act).await
    }

    async fn acts(&self, filter: ActFilter) -> Result<Vec<ActRow>> {
        audit::list(self, filter).await
    }

    async fn forget_acts(&self, cutoff: Timestamp, most: u64) -> Result<u64> {
        audit::forget(self, cutoff, most).await
    }
}
