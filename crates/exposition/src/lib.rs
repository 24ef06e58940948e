//! Metrics, and the text exposition format that scrapers read.
//!
//! Invariants: a label's value is escaped where it is written; of one metric there are no more series than
//! [`MOST_SERIES`], whatever those who are counted call themselves; a text made here is one that a reader takes, whatever
//! texts of others were put into it.

mod merge;
mod sample;
mod series;
mod text;

pub mod process;

pub use merge::Families;
pub use sample::{Sample, is_name};
pub use series::{Counted, Counter, Histogram, MOST_SERIES, Named, Took};
pub use text::{CONTENT_TYPE, Kind, Text, escaped};
