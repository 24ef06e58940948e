//! Lists, a page at a time.

use super::input::invalid_query;
use super::problem::Refusal;
use crate::api::Page;
use jobs::Namespace;
use serde::Deserialize;

/// Items on a page unless said otherwise.
const USUAL: u32 = 50;
/// Items on a page at most.
pub(super) const MOST: u32 = 500;

/// Which page of a list is asked for that has nothing else to ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Part {
    /// The page out of `rows`, which are all there are, in the order of `place`: something that stays what it is, so that
    /// whoever reads page by page sees all that is there meanwhile, and nothing twice.
    pub(super) fn of<Row, View>(
        self,
        mut rows: Vec<Row>,
        place: impl Fn(&Row) -> String,
        view: impl Fn(Row) -> View,
    ) -> Result<Page<View>, Refusal> {
        let paging = Paging::of(self.limit)?;
        if let Some(after) = self.cursor {
            rows.retain(|row| place(row) > after);
        }
        rows.sort_by_cached_key(&place);
        Ok(paging.page(rows, place, view))
    }
}

/// Where something stands in a list that has a name in its namespace.
pub(super) fn place(namespace: &Namespace, name: &str) -> String {
    format!("{}/{name}", namespace.key())
}

/// Where something stands in a list that has a number, so that numbers are in their order.
pub(super) fn numbered(id: i64) -> String {
    format!("{id:019}")
}

/// How many items a page has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paging {
    limit: u32,
}

impl Paging {
    /// As many as were asked for.
    pub(super) fn of(limit: Option<u32>) -> Result<Self, Refusal> {
        let limit = limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(invalid_query(format!("limit is {limit}, but must be between 1 and {MOST}")));
        }
        Ok(Self { limit })
    }

    /// How many items.
    pub(super) fn limit(self) -> usize {
        self.limit as usize
    }

    /// How many to look for: one more than asked for tells whether there is another page.
    pub(super) fn look_for(self) -> u32 {
        self.limit + 1
    }

    /// The page of what was found, with the place of its last item if there is more.
    pub(super) fn page<Row, View>(
        self,
        mut rows: Vec<Row>,
        place: impl Fn(&Row) -> String,
        view: impl Fn(Row) -> View,
    ) -> Page<View> {
        let more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let next_cursor = rows.last().filter(|_| more).map(place);
        Page { items: rows.into_iter().map(view).collect(), next_cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_of_the_next_one_if_there_is_more() {
        let page = |found: u32| {
            let paging = Paging::of(Some(2)).unwrap();
            paging.page((1..=found.min(paging.look_for())).collect(), u32::to_string, |row| row * 10)
        };
        for (found, items, next) in [
            (0, vec![], None),
            (2, vec![10, 20], None),
            (3, vec![10, 20], Some("2")),
            (9, vec![10, 20], Some("2")),
        ] {
            let page = page(found);
            assert_eq!((page.items, page.next_cursor.as_deref()), (items, next), "{found}");
        }
    }

    #[test]
    fn page_by_page_everything_is_seen_once() {
        let mut seen = Vec::new();
        let mut cursor = None;
        loop {
            let part = Part { limit: Some(3), cursor };
            let rows = [10, 2, 7, 1, 9, 30, 3].to_vec();
            let page = part.of(rows, |id| numbered(*id), |id| id).unwrap();
            seen.push(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, [vec![1, 2, 3], vec![7, 9, 10], vec![30]]);
    }

    #[test]
    fn a_page_has_between_one_and_five_hundred_items() {
        for (asked, limit) in
            [(None, Some(50)), (Some(1), Some(1)), (Some(500), Some(500)), (Some(0), None), (Some(501), None)]
        {
            assert_eq!(Paging::of(asked).ok().map(Paging::limit), limit, "{asked:?}");
        }
    }
}
