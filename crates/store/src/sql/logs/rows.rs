//! The texts of one try as rows, which every server on the database reads and adds to.
//!
//! Whoever writes has locked the job's row, so nobody else writes to any log of that job meanwhile, and nobody seals one.

use super::super::session::{Query, Session};
use super::super::statements::statements;
use super::files::news_in;
use super::lengths::Lengths;
use crate::error::StoreError;
use jobs::JobId;

/// The last piece of a text grows up to so many bytes: else a text that comes line by line were as many rows. Longer rows would be
/// kept apart from their table, and written anew with each line.
const GROWS_TO: i64 = 1_900;
/// Tries that are looked up at once.
const TRIES_AT_ONCE: i64 = 1_000;

/// Those with texts from a try on that nobody writes to any more.
macro_rules! over {
    ($tries:literal) => {
        concat!(
            "SELECT tries.job, tries.epoch FROM ",
            $tries,
            " JOIN jobs ON jobs.id = tries.job \
             WHERE NOT (jobs.state = 'processing' AND jobs.epoch = tries.epoch) ORDER BY tries.job, tries.epoch LIMIT $3"
        )
    };
}
macro_rules! next {
    ($from:literal) => {
        concat!(
            "(SELECT job, epoch FROM log_texts WHERE (job, epoch) > (",
            $from,
            ") ORDER BY job, epoch LIMIT 1)"
        )
    };
}

statements! {
    /// Of every entry of the try. It looks at one piece of each, however many there are.
    LENGTHS = "SELECT entry, COALESCE((SELECT start_at + length(bytes) FROM log_texts \
               WHERE job = $1 AND epoch = $2 AND log_texts.entry = log_entries.entry ORDER BY start_at DESC LIMIT 1), 0) \
               FROM log_entries WHERE job = $1 AND epoch = $2";
    LENGTH = "SELECT start_at + length(bytes) FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3 \
              ORDER BY start_at DESC LIMIT 1";
    GROW in sqlite = "UPDATE log_texts SET bytes = CAST(bytes || $4 AS BLOB) WHERE job = $1 AND epoch = $2 AND entry = $3 \
                      AND start_at = (SELECT MAX(start_at) FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3) \
                      AND length(bytes) + length($4) <= $5",
         in postgres = "UPDATE log_texts SET bytes = bytes || $4::bytea WHERE job = $1 AND epoch = $2 AND entry = $3 \
                        AND start_at = (SELECT MAX(start_at) FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3) \
                        AND length(bytes) + length($4::bytea) <= $5";
    /// In pieces of 64 KiB: what is read and unpacked to get at any one byte.
    ADD in sqlite = "INSERT INTO log_texts (job, epoch, entry, start_at, bytes) VALUES ($1, $2, $3, $4, $5)",
        in postgres = "INSERT INTO log_texts (job, epoch, entry, start_at, bytes) \
                       SELECT $1, $2, $3, $4::bigint + piece, substr($5::bytea, piece + 1, 65536) \
                       FROM generate_series(0, length($5::bytea) - 1, 65536) AS piece";
    /// Whether the text begins with what is there, which is no longer.
    BEGINS in sqlite = "SELECT NOT EXISTS (SELECT 1 FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3 \
                        AND bytes <> substr($4, start_at + 1, length(bytes)))",
           in postgres = "SELECT NOT EXISTS (SELECT 1 FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3 \
                          AND bytes <> substr($4::bytea, start_at::int + 1, length(bytes)))";
    CLEAR = "DELETE FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3";
    READ = "SELECT start_at, bytes FROM log_texts WHERE job = $1 AND epoch = $2 AND entry = $3 AND start_at <= $5 \
            AND start_at >= COALESCE((SELECT MAX(start_at) FROM log_texts \
                                      WHERE job = $1 AND epoch = $2 AND entry = $3 AND start_at <= $4), 0) \
            ORDER BY start_at";
    /// It steps from try to try, however many pieces each has.
    OVER in sqlite = over!("(SELECT DISTINCT job, epoch FROM log_texts WHERE (job, epoch) > ($1, $2)) AS tries"),
         in postgres = concat!(
             "WITH RECURSIVE tries (job, epoch) AS (", next!("$1, $2"),
             " UNION ALL SELECT next.job, next.epoch FROM tries, LATERAL ", next!("tries.job, tries.epoch"), " AS next) ",
             over!("tries")
         );
    SOME = "SELECT DISTINCT job, epoch, entry FROM log_texts LIMIT $1";
    REMOVE = "DELETE FROM log_texts WHERE job = $1 AND epoch = $2";
}

/// A log entry: of which job, of which try, and its number.
pub(super) type Entry = (JobId, u32, i64);

/// How long the text of every entry is, also of those without one.
pub(super) async fn lengths(session: &mut Session, id: JobId, epoch: u32) -> Result<Lengths, StoreError> {
    let rows: Vec<(i64, i64)> = session.query(LENGTHS).bind(id.0).bind(i64::from(epoch)).all().await?;
    Ok(rows.into_iter().map(|(entry, length)| (entry, length.unsigned_abs())).collect())
}

/// How long the text of one entry is.
pub(super) async fn length(session: &mut Session, (id, epoch, entry): Entry) -> Result<Lengths, StoreError> {
    let length = session.query(LENGTH).bind(id.0).bind(i64::from(epoch)).bind(entry);
    let length: Option<(i64,)> = length.optional().await?;
    Ok(length.into_iter().map(|(length,)| (entry, length.unsigned_abs())).collect())
}

/// Adds what is new in `text`, which begins at byte `offset` of the entry's text, and returns where the latter ends now.
pub(super) async fn add_at(
    session: &mut Session,
    at: Entry,
    offset: u64,
    text: &[u8],
    limit: u64,
) -> Result<u64, StoreError> {
    let lengths = lengths(session, at.0, at.1).await?;
    let news = news_in(text, offset, lengths.of(at.2))?;
    append(session, at, &lengths, news, limit).await
}

/// Makes `text` the entry's text.
pub(super) async fn put(session: &mut Session, at: Entry, text: &[u8], limit: u64) -> Result<(), StoreError> {
    let mut lengths = lengths(session, at.0, at.1).await?;
    let length = usize::try_from(lengths.of(at.2)).unwrap_or(usize::MAX);
    let news = match text.split_at_checked(length) {
        Some((_, news)) if length == 0 || begins(session, at, text).await? => news,
        _ => {
            lengths.check(at.0, at.2, text.len() as u64, limit)?;
            clear(session, at).await?;
            lengths.set(at.2, 0);
            text
        }
    };
    append(session, at, &lengths, news, limit).await.map(drop)
}

async fn begins(session: &mut Session, at: Entry, text: &[u8]) -> Result<bool, StoreError> {
    let (begins,) = of(session.query(BEGINS), at).bind(text).one().await?;
    Ok(begins)
}

async fn append(
    session: &mut Session,
    at: Entry,
    lengths: &Lengths,
    news: &[u8],
    limit: u64,
) -> Result<u64, StoreError> {
    let present = lengths.of(at.2);
    if news.is_empty() {
        return Ok(present);
    }
    let length = present + news.len() as u64;
    lengths.check(at.0, at.2, length, limit)?;
    let may_grow = present > 0 && i64::try_from(news.len()).is_ok_and(|length| length <= GROWS_TO);
    if may_grow && of(session.query(GROW), at).bind(news).bind(GROWS_TO).execute().await? > 0 {
        return Ok(length);
    }
    of(session.query(ADD), at).bind(present.cast_signed()).bind(news).execute().await?;
    Ok(length)
}

/// Up to `max` bytes of a text from `offset`; says whether more follow.
pub(super) async fn read(
    session: &mut Session,
    at: Entry,
    offset: u64,
    max: usize,
) -> Result<(Vec<u8>, bool), StoreError> {
    let end = offset.saturating_add(max as u64);
    let signed = |place| i64::try_from(place).unwrap_or(i64::MAX);
    let pieces = of(session.query(READ), at).bind(signed(offset)).bind(signed(end));
    let (mut text, mut more) = (Vec::new(), false);
    for (start, bytes) in pieces.all::<(i64, Vec<u8>)>().await? {
        let start = start.unsigned_abs();
        let within = |place: u64| usize::try_from(place.saturating_sub(start)).unwrap_or(usize::MAX);
        let wanted = within(offset).min(bytes.len())..within(end).min(bytes.len());
        more |= wanted.end < bytes.len();
        text.extend_from_slice(&bytes[wanted]);
    }
    Ok((text, more))
}

/// Tries with texts that nobody writes to any more.
pub(super) async fn over(session: &mut Session) -> Result<Vec<(JobId, u32)>, StoreError> {
    let over: Vec<(i64, i64)> = session.query(OVER).bind(0_i64).bind(0_i64).bind(TRIES_AT_ONCE).all().await?;
    Ok(over.into_iter().filter_map(|(job, epoch)| Some((JobId(job), u32::try_from(epoch).ok()?))).collect())
}

/// Some entries with texts, of whatever tries.
pub(super) async fn some(session: &mut Session) -> Result<Vec<Entry>, StoreError> {
    let some: Vec<(i64, i64, i64)> = session.query(SOME).bind(TRIES_AT_ONCE).all().await?;
    let read = |(job, epoch, entry)| Some((JobId(job), u32::try_from(epoch).ok()?, entry));
    Ok(some.into_iter().filter_map(read).collect())
}

/// Removes an entry's text.
pub(super) async fn clear(session: &mut Session, at: Entry) -> Result<(), StoreError> {
    of(session.query(CLEAR), at).execute().await.map(drop)
}

/// Removes the texts of a try.
pub(super) async fn remove(session: &mut Session, id: JobId, epoch: u32) -> Result<(), StoreError> {
    session.query(REMOVE).bind(id.0).bind(i64::from(epoch)).execute().await.map(drop)
}

/// The statement's first arguments.
fn of(query: Query<'_>, (id, epoch, entry): Entry) -> Query<'_> {
    query.bind(id.0).bind(i64::from(epoch)).bind(entry)
}
