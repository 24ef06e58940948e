//! An agent lets go of images that nobody uses.

use crate::leftovers::nothing_is_left;
use crate::support::{SOON, System, wait};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};
use testkit::image::{Layer, busybox_image};
use testkit::registry::{Registry, Setup};

/// Longer than images are kept here.
const LONG: Duration = Duration::from_hours(8 * 24);
const KEEP: (&str, &str) = ("EXECUTOR_IMAGE_KEEP", "168h");

/// How many layers are unpacked.
fn layers(system: &System) -> usize {
    fs::read_dir(Path::new(&system.agent_dir()).join("images/layers")).unwrap().count()
}

/// Nobody used an image for long: the time of a name's file is that of its last use.
fn let_time_pass(system: &System) {
    for name in fs::read_dir(Path::new(&system.agent_dir()).join("images/names")).unwrap() {
        let file = fs::File::options().write(true).open(name.unwrap().path()).unwrap();
        file.set_modified(SystemTime::now() - LONG).unwrap();
    }
}

fn is_listed(system: &System, image: &str) -> bool {
    system.ok(&["image", "list", "--data-dir", &system.agent_dir()]).contains(image)
}

#[test]
fn a_pulled_image_goes_when_nobody_used_it_for_long() {
    let test = "a_pulled_image_goes_when_nobody_used_it_for_long";
    let Some(mut system) = System::with(test, &[KEEP]) else { return };
    let Some(registry) = Registry::start(test, &Setup::default()) else { return };
    let own = Layer::new().file("own", b"of this image");
    registry.push("team/tool:1", &busybox_image().unwrap().layer(own));
    let image = registry.name("team/tool:1");
    let imported = layers(&system);

    let agent = system.agent();
    system.ok(&["job", "run", "--image", &image, "--step", "test -s /own"]);
    agent.stop();
    assert!(is_listed(&system, &image) && layers(&system) == imported + 1);

    let_time_pass(&system);
    let agent = system.agent();
    wait(SOON, "the image to go, and its layer", || {
        (!is_listed(&system, &image) && layers(&system) == imported).then_some(())
    });
    // What was imported nobody could fetch again; what was pulled is.
    assert!(is_listed(&system, "busybox"));
    system.ok(&["job", "run", "--image", &image, "--step", "test -s /own"]);
    assert!(is_listed(&system, &image));
    agent.stop();
    nothing_is_left(system.dir.path());
}
