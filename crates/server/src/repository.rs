//! Which repository is meant by a name, of which each namespace may have one.

use crate::app::App;
use jobs::Namespace;
use store::{RepositoryRow, StoreError};

/// That of the namespace which `owner` is the key of, and no other. Where nobody is known to ask, as with the shared secret,
/// one that is the only one of its name, else the global one.
pub(crate) async fn meant(
    app: &App,
    owner: Option<&str>,
    name: &str,
) -> Result<Option<RepositoryRow>, StoreError> {
    if let Some(owner) = owner {
        let Ok(of) = Namespace::from_key(owner) else { return Ok(None) };
        return app.store.repository(&of, name).await;
    }
    let mut named = app.store.repositories_named(name).await?;
    if named.len() > 1 {
        named.retain(|row| row.namespace == Namespace::Global);
    }
    Ok(named.pop())
}
