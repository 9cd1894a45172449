//! A configuration file with settings of the environment on top: what is taken is printed as a file that
//! is taken and says the same.
//!
//! The bytes are the file; behind each 0x00 stands a setting, `name=value`.

#[path = "../../crates/tickfold/src/config.rs"]
#[allow(dead_code, reason = "of the crate it is from")]
mod source;

use source::Layers;

/// See the module's description.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split('\0');
    let mut layers = Layers::defaults().expect("the defaults are taken");
    if layers.file("a file", parts.next().unwrap_or_default()).is_err() {
        return;
    }
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let _ = layers.set(name, value, "a test");
    }
    let Ok(config) = layers.read() else { return };

    let mut again = Layers::defaults().expect("the defaults are taken");
    let printed = layers.print();
    again.file("printed", &printed).unwrap_or_else(|error| panic!("{error:#}\n{printed}"));
    assert_eq!(again.digest(), layers.digest(), "{printed}");
    let read = again.read().unwrap_or_else(|error| panic!("{error:#}\n{printed}"));
    assert_eq!(format!("{read:?}"), format!("{config:?}"), "{printed}");
}
