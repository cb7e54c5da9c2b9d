//! The keys of a role's changes.

use super::ours::NAMES;
use crate::parse::leaves::{BOOLEAN, NAME};
use crate::parse::shape::Shape::{List, Object, OneOf};
use crate::parse::shape::{Table, key, required};

/// What a change means.
pub const CHANGE: Table = Table {
    what: "a change",
    keys: &[&[
        key(
            "when",
            NAMES,
            "What it is a change of: `image` (the default), or variables of the role. Jobs of the change run again when one of these changes, and for nothing else.",
        ),
        required("steps", List(&Object(&STEP)), "What is done, in this order on the whole site."),
    ]],
};

const STEP: Table = Table {
    what: "a step of a change",
    keys: &[&[
        key("job", NAME, "A job of the role is done."),
        key("roll", NAME, "A service of the role is rolled out."),
        key(
            "until",
            OneOf(&[EVERYWHERE]),
            "With `roll`: when it is done. A host that cannot be reached is not updated.",
        ),
        key(
            "irreversible",
            BOOLEAN,
            "From its begin on there is no way back: what fails then halts, and nothing is rolled back.",
        ),
    ]],
};

/// The end of a step that rolls a service.
pub const EVERYWHERE: &str = "updated-everywhere";
