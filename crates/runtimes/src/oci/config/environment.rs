//! A step's environment variables.

use images::ImageConfig;
use std::collections::BTreeMap;

/// When the image has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image's, then ours, then the step's; the later wins, so that each name is there once.
pub(super) fn merge(
    image: &ImageConfig,
    ours: &[(&str, &str)],
    step: &[String],
    home: &str,
    hostname: &str,
) -> Vec<String> {
    let mut merged = BTreeMap::from([("PATH", PATH), ("HOME", home), ("HOSTNAME", hostname)]);
    let usable = |name: &str, value: &str| !name.is_empty() && !name.contains('\n') && !value.contains('\0');
    let split = |pair| {
        let split: Option<(&str, &str)> = str::split_once(pair, '=');
        split.filter(|(name, value)| usable(name, value))
    };
    let of_image = image.env.iter().filter_map(|pair| split(pair));
    let of_step = step.iter().filter_map(|pair| split(pair));
    merged.extend(of_image.chain(ours.iter().copied()).chain(of_step));
    merged.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_wins_over_the_image_and_the_image_over_the_default() {
        let image = ImageConfig {
            env: vec!["PATH=/img".into(), "A=image".into(), "odd".into()],
            ..Default::default()
        };
        let merged = merge(
            &image,
            &[("A", "ours"), ("C", "ours")],
            &["A=step".into(), "B=x=y".into()],
            "/root",
            "job",
        );
        assert_eq!(merged, ["A=step", "B=x=y", "C=ours", "HOME=/root", "HOSTNAME=job", "PATH=/img"]);
    }
}
