//! Lists, a page at a time.

use super::input::invalid_query;
use super::problem::Refusal;
use crate::api::Page;
use jobs::Namespace;
use serde::{Deserialize, Serialize};
use std::io;

/// Items on a page unless said otherwise.
const USUAL: u32 = 50;
/// Items on a page at most.
pub(super) const MOST: u32 = 500;

/// Bytes of a page's items at most, written as JSON: with more it ends early. One item is always on it.
const MOST_BYTES: usize = 4 << 20;

/// Which page of a list is asked for that has nothing else to ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    limit: Option<u32>,
    cursor: Option<String>,
}

impl Part {
    /// One of a list that has more to ask for.
    pub(super) fn new(limit: Option<u32>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The page out of `rows`, which are all there are, in the order of `place`: something that stays what it is, so that
    /// whoever reads page by page sees all that is there meanwhile, and nothing twice.
    pub(super) fn of<Row, View: Serialize>(
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

    /// A page that is to be filled item by item.
    pub(super) fn begin<View>(self) -> Filling<View> {
        Filling { limit: self.limit(), items: Vec::new(), bytes: 0 }
    }

    /// The page of what was found, with the place of its last item if there is more.
    pub(super) fn page<Row, View: Serialize>(
        self,
        rows: Vec<Row>,
        place: impl Fn(&Row) -> String,
        view: impl Fn(Row) -> View,
    ) -> Page<View> {
        let (mut filling, mut last) = (self.begin(), None);
        for row in rows {
            let here = place(&row);
            if !filling.add(view(row)) {
                return filling.page(last);
            }
            last = Some(here);
        }
        filling.page(None)
    }
}

/// A page on which there is room for another item, or none.
pub(super) struct Filling<View> {
    limit: usize,
    items: Vec<View>,
    bytes: usize,
}

impl<View: Serialize> Filling<View> {
    /// Puts an item on the page if there is room for it; says whether there was.
    pub(super) fn add(&mut self, item: View) -> bool {
        let bytes = self.bytes + length(&item);
        if self.is_full() || (bytes > MOST_BYTES && !self.items.is_empty()) {
            return false;
        }
        self.bytes = bytes;
        self.items.push(item);
        true
    }

    /// Whether it has as many items as were asked for.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= self.limit
    }

    /// The page, after which the next one begins at `next`.
    pub(super) fn page(self, next: Option<String>) -> Page<View> {
        Page { items: self.items, next_cursor: next }
    }
}

/// Bytes of an item as JSON.
pub(super) fn length(item: &impl Serialize) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // What can't be written is told of when all of it is.
    let _ = serde_json::to_writer(&mut count, item);
    count.0
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
    fn a_page_ends_early_where_its_items_are_large() {
        const MIB: usize = 1 << 20;
        // Each is written as six bytes.
        let large = |bytes: usize| "\u{1}".repeat(bytes / 6);
        for (items, expected) in [
            (vec![MIB; 3], vec![3]),
            (vec![MIB; 9], vec![4, 4, 1]),
            (vec![1, 9 * MIB, 9 * MIB, 1], vec![1, 1, 1, 1]),
        ] {
            let rows: Vec<_> = items.into_iter().map(large).enumerate().collect();
            let (mut pages, mut cursor) = (Vec::new(), None);
            loop {
                let part = Part { limit: None, cursor };
                let place = |row: &(usize, String)| numbered(i64::try_from(row.0).unwrap());
                let page = part.of(rows.clone(), place, |row| row.1).unwrap();
                pages.push(page.items.len());
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(pages, expected);
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
