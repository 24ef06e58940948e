//! What people and their programs do that changes something is noted: who, when, what, from where. Never a secret.

use crate::app::App;
use crate::auth::principal::{Caller, Namespace, Principal, root};
use crate::public_api::Refusal;
use std::net::{IpAddr, Ipv4Addr};
use store::{NewAct, StoreError};

/// Everything that is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    CancelJob,
    AddRepository,
    RemoveRepository,
    ChangeQueue,
    DrainExecutor,
    ResumeExecutor,
    RegisterExecutor,
    RevokeExecutor,
    CreateToken,
    RevokeToken,
    CreateRegistration,
    RevokeRegistration,
    SetSecret,
    RemoveSecret,
    /// A job's executor was given its value. It is noted elsewhere, where the values are: see `public_api::audit`.
    ReadSecret,
    RotateKey,
    CreateUser,
    RemoveUser,
    SetPassword,
    SignIn,
    /// The file says something else than before, and it is in force.
    ChangeSite,
    /// All that the database holds was written into a file, put into it from one, or its schema was changed by hand.
    Export,
    Import,
    Migrate,
}

impl Action {
    /// All of them.
    pub(crate) const ALL: [Self; 24] = [
        Self::CancelJob,
        Self::AddRepository,
        Self::RemoveRepository,
        Self::ChangeQueue,
        Self::DrainExecutor,
        Self::ResumeExecutor,
        Self::RegisterExecutor,
        Self::RevokeExecutor,
        Self::CreateToken,
        Self::RevokeToken,
        Self::CreateRegistration,
        Self::RevokeRegistration,
        Self::SetSecret,
        Self::RemoveSecret,
        Self::ReadSecret,
        Self::RotateKey,
        Self::CreateUser,
        Self::RemoveUser,
        Self::SetPassword,
        Self::SignIn,
        Self::ChangeSite,
        Self::Export,
        Self::Import,
        Self::Migrate,
    ];

    /// Its stable name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CancelJob => "job.cancel",
            Self::AddRepository => "repository.add",
            Self::RemoveRepository => "repository.remove",
            Self::ChangeQueue => "queue.change",
            Self::DrainExecutor => "executor.drain",
            Self::ResumeExecutor => "executor.resume",
            Self::RegisterExecutor => "executor.register",
            Self::RevokeExecutor => "executor.revoke",
            Self::CreateToken => "token.create",
            Self::RevokeToken => "token.revoke",
            Self::CreateRegistration => "registration.create",
            Self::RevokeRegistration => "registration.revoke",
            Self::SetSecret => "secret.set",
            Self::RemoveSecret => "secret.delete",
            Self::ReadSecret => "secret.read",
            Self::RotateKey => "secret.rotate",
            Self::CreateUser => "user.create",
            Self::RemoveUser => "user.delete",
            Self::SetPassword => "user.password",
            Self::SignIn => "session.begin",
            Self::ChangeSite => "site_config.change",
            Self::Export => "database.export",
            Self::Import => "database.import",
            Self::Migrate => "database.migrate",
        }
    }
}

/// The names of all kinds of acts in the audit log.
pub fn action_names() -> impl Iterator<Item = &'static str> {
    Action::ALL.into_iter().map(Action::name)
}

/// What is done to a database as a whole, by whoever may read and write it on some host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseAct {
    /// See [`crate::database::export`].
    Export,
    /// See [`crate::database::import`].
    Import,
    /// See [`crate::database::migrate`].
    Migrate,
}

impl DatabaseAct {
    /// What is noted of it: nobody whom we know did it, so it is told by which of the host's users.
    pub fn noted(self, user: u32, detail: &str) -> NewAct {
        let action = match self {
            Self::Export => Action::Export,
            Self::Import => Action::Import,
            Self::Migrate => Action::Migrate,
        };
        let Principal { name, namespace, .. } = root();
        NewAct {
            actor: name,
            actor_of: namespace.clone(),
            action: action.name().to_owned(),
            subject: "database".to_owned(),
            namespace,
            origin: Ipv4Addr::LOCALHOST.to_string(),
            detail: format!("{detail}, by the host's user {user}"),
            reference: None,
        }
    }
}

/// Something that was done.
#[derive(Debug)]
pub(crate) struct Act {
    pub(crate) action: Action,
    /// To what.
    pub(crate) subject: String,
    /// Whose that is.
    pub(crate) namespace: Namespace,
    /// What else there is to tell.
    pub(crate) detail: String,
    /// The id of what it was done to, where it has one by which it is asked for.
    pub(crate) reference: Option<String>,
}

impl Act {
    /// One on something that is the installation's own.
    pub(crate) fn global(action: Action, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::of(Namespace::Global, action, subject, detail)
    }

    /// One on something of a namespace.
    pub(crate) fn of(
        namespace: Namespace,
        action: Action,
        subject: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self { action, subject: subject.into(), namespace, detail: detail.into(), reference: None }
    }
}

impl App {
    /// Does `work` to its end, even if the client hangs up, and notes what it was if it was done.
    pub(crate) async fn act<T, E>(
        &self,
        caller: &Caller,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
        act: impl FnOnce(&T) -> Option<Act> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Send + 'static,
        Refusal: From<E>,
    {
        let (app, caller) = (self.clone(), caller.clone());
        let done = self.see_through(async move {
            let done = work.await?;
            if let Some(act) = act(&done) {
                note(&app, &caller.principal, caller.from, act).await;
            }
            Ok::<T, E>(done)
        });
        Ok(done.await??)
    }
}

/// Notes what was done. It is done already: that it can't be noted must not make it look as if it were not.
pub(crate) async fn note(app: &App, who: &Principal, from: IpAddr, act: Act) {
    // It is in our log.
    let _ = try_note(app, who, from, act).await;
}

/// The same for who tries again where it can't be noted.
pub(crate) async fn try_note(app: &App, who: &Principal, from: IpAddr, act: Act) -> Result<(), StoreError> {
    let Act { action, subject, namespace, detail, reference } = act;
    let (action, origin) = (action.name(), from.to_canonical().to_string());
    tracing::info!(actor = who.name, action, subject, %namespace, origin, detail, "somebody acts");
    let new = NewAct {
        actor: who.name.clone(),
        actor_of: who.namespace.clone(),
        action: action.to_owned(),
        subject,
        namespace,
        origin,
        detail,
        reference,
    };
    let noted = app.store.note_act(new).await;
    noted.inspect_err(|fault| {
        let error = fault as &dyn std::error::Error;
        tracing::error!(action, error, "what was done can't be noted");
    })
}
