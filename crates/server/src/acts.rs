//! What people and their programs do that changes something is noted: who, when, what, from where. Never a secret.

use crate::app::App;
use crate::auth::principal::{Caller, Namespace, Principal};
use crate::public_api::Refusal;
use std::net::IpAddr;
use store::NewAct;

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
}

impl Action {
    /// All of them.
    pub(crate) const ALL: [Self; 21] = [
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
        }
    }
}

/// The names of all kinds of acts in the audit log.
pub fn action_names() -> impl Iterator<Item = &'static str> {
    Action::ALL.into_iter().map(Action::name)
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
}

impl Act {
    /// One on something that is the installation's own.
    pub(crate) fn global(action: Action, subject: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { action, subject: subject.into(), namespace: Namespace::Global, detail: detail.into() }
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
    let Act { action, subject, namespace, detail } = act;
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
    };
    if let Err(fault) = app.store.note_act(new).await {
        let error = &fault as &dyn std::error::Error;
        tracing::error!(action, error, "what was done can't be noted");
    }
}
