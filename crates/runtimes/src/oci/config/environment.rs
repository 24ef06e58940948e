//! A step's environment variables.

use images::ImageConfig;
use std::collections::BTreeMap;

/// When the image has none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image's, then the step's; the later wins, so that each name is there once.
pub(super) fn merge(image: &ImageConfig, step: &[String], home: &str, hostname: &str) -> Vec<String> {
    let mut merged = BTreeMap::from([("PATH", PATH), ("HOME", home), ("HOSTNAME", hostname)]);
    let usable = |name: &str, value: &str| !name.is_empty() && !name.contains('\n') && !value.contains('\0');
    for pair in image.env.iter().chain(step) {
        if let Some((name, value)) = pair.split_once('=').filter(|(name, value)| usable(name, value)) {
            merged.insert(name, value);
        }
    }
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
        let merged = merge(&image, &["A=step".into(), "B=x=y".into()], "/root", "job");
        assert_eq!(merged, ["A=step", "B=x=y", "HOME=/root", "HOSTNAME=job", "PATH=/img"]);
    }
}
