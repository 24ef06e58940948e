//! How much is kept of the commands of one try: whoever lists its entries reads all of them.

use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::to_json;
use crate::error::StoreError;
use crate::model::shortened_command;
use jobs::JobId;

/// Bytes of all commands of one try, as they are stored, up to which each is kept whole. A job never fails because of its
/// commands: of those past that the beginning is kept.
const KEPT_WHOLE: usize = 8 << 20;
/// Bytes of that beginning: enough to know a command by, and little for as many entries as one try may have.
const BEGINNING: usize = 200;

statements! {
    /// Both databases know a length without reading what is so long.
    OF_OTHERS = "SELECT COALESCE(SUM(octet_length(command)), 0) FROM log_entries \
                 WHERE job = $1 AND epoch = $2 AND entry <> $3";
}

/// What is stored of an entry's command beside those of the other entries.
pub(super) async fn stored(
    session: &mut Session,
    (id, epoch, entry): (JobId, u32, i64),
    command: Option<&Vec<String>>,
) -> Result<Option<String>, StoreError> {
    let Some(command) = command else { return Ok(None) };
    let whole = to_json(command)?;
    if whole.len() <= BEGINNING {
        return Ok(Some(whole));
    }
    let others = session.query(OF_OTHERS).bind(id.0).bind(i64::from(epoch)).bind(entry);
    let (others,): (i64,) = others.one().await?;
    let room = KEPT_WHOLE.saturating_sub(usize::try_from(others).unwrap_or(usize::MAX));
    Ok(Some(if whole.len() <= room { whole } else { beginning(command)? }))
}

/// The same for an entry of which `present` is stored: who tells the same command again, as whoever replaces an entry
/// does, changes nothing, however many entries came since.
pub(super) async fn replaced(
    session: &mut Session,
    of: (JobId, u32, i64),
    present: Option<&String>,
    command: Option<&Vec<String>>,
) -> Result<Option<String>, StoreError> {
    if let (Some(present), Some(command)) = (present, command)
        && (*present == to_json(command)? || *present == beginning(command)?)
    {
        return Ok(Some(present.clone()));
    }
    stored(session, of, command).await
}

fn beginning(command: &[String]) -> Result<String, StoreError> {
    to_json(&shortened_command(command.to_vec(), BEGINNING))
}
