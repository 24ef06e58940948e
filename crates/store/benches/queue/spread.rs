//! Several figures of the same thing.

use std::fmt;

/// The middle one, and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// Of one figure at least.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (below, above) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Self { least: figures[0], median: f64::midpoint(below, above), most: figures[figures.len() - 1] }
    }
}

/// With as many digits behind the point as are asked for.
impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, median, most } = self;
        let digits = out.precision().unwrap_or(0);
        write!(out, "{median:.digits$} ({least:.digits$} to {most:.digits$})")
    }
}
