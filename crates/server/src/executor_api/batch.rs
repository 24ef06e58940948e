//! Several jobs for one dequeue of an executor of ours that has places for them.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use wire::Job;
use wire::additions::{MORE, MOST, MOST_AT_ONCE};

/// How many jobs a dequeue may be given: one, unless its executor says otherwise.
pub(super) fn most_of(headers: &HeaderMap) -> u32 {
    let said = headers.get(MOST).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    said.unwrap_or(1).clamp(1, MOST_AT_ONCE)
}

/// The first job as it always is, with the others, if there are any, as a list in it.
pub(super) fn answer(jobs: Vec<Job>) -> Response {
    let mut jobs = jobs.into_iter();
    let Some(first) = jobs.next() else { return StatusCode::NO_CONTENT.into_response() };
    if jobs.len() == 0 {
        return Json(first).into_response();
    }
    let others: Vec<Job> = jobs.collect();
    match (serde_json::to_value(&first), serde_json::to_value(&others)) {
        (Ok(mut answer), Ok(others)) => {
            answer[MORE] = others;
            Json(answer).into_response()
        }
        // None of it can be written: as above, axum says so.
        _ => Json(first).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_is_given_unless_more_are_asked_for() {
        let most = |said: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                headers.insert(MOST, said.parse().unwrap());
            }
            most_of(&headers)
        };
        let asked = [None, Some("4"), Some("0"), Some("-1"), Some("many"), Some("1000000")].map(most);
        assert_eq!(asked, [1, 4, 1, 1, 1, MOST_AT_ONCE]);
    }
}
