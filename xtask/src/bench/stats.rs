//! Medians.

/// Measurements of one thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Smallest, median and largest, in `unit`.
    pub(super) fn row(&self, name: &str, unit: &str, ratio_to: Option<&Self>) -> String {
        let ratio =
            ratio_to.map_or(String::new(), |other| format!("   {:.2}×", self.median() / other.median()));
        format!(
            "  {name:<46}{:>9.1} {unit}   ({:.1} – {:.1}){ratio}",
            self.median(),
            self.quantile(0.0),
            self.quantile(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let mut samples = Samples::default();
        for value in [5.0, 1.0, 9.0] {
            samples.push(value);
        }
        assert!((samples.median() - 5.0).abs() < f64::EPSILON);
    }
}
