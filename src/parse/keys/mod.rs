//! The keys of the format, as tables: what the parser takes, what the schema offers and what the reference lists.

pub mod change;
pub mod container;
pub mod fileset;
pub mod kolla;
pub mod ours;
pub mod procedure;
pub mod role;
pub mod site;
pub mod ssh;

/// The service keys of the Compose Specification's JSON schema, one a line. A newer schema is taken in by replacing the
/// list: the test below then names the keys that have to be honoured or refused.
pub const COMPOSE_SERVICE_KEYS: &str = include_str!("compose-service-keys.txt");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::COMPOSE_SERVICE_KEYS;
    use super::ours::{DEFAULTS, JOB, SERVICE};
    use super::site::SITE;
    use crate::parse::shape::{Class, Shape, Table};

    #[test]
    fn each_key_of_compose_is_honoured_or_refused() {
        for table in [&SERVICE, &JOB] {
            let unclassed: Vec<&str> = COMPOSE_SERVICE_KEYS.lines().filter(|key| table.get(key).is_none()).collect();
            assert!(unclassed.is_empty(), "{}: neither honoured nor refused: {unclassed:?}", table.what);
        }
    }

    #[test]
    fn tables_name_each_key_once_and_say_what_it_means() {
        fn visit(table: &Table) {
            let mut names = BTreeSet::new();
            for key in table.iter() {
                assert!(names.insert(key.name), "{} has `{}` twice", table.what, key.name);
                match key.class {
                    Class::Refused(reason) => assert!(!reason.is_empty(), "{}", key.name),
                    Class::Honoured | Class::Required => {
                        assert!(!key.doc.is_empty(), "{}: `{}` is not described", table.what, key.name);
                    }
                }
                shape(&key.shape);
            }
        }
        fn shape(of: &Shape) {
            match of {
                Shape::Object(table) => visit(table),
                Shape::List(inner) | Shape::Map(inner) => shape(inner),
                Shape::Either(shapes) => shapes.iter().for_each(shape),
                Shape::Anything | Shape::Scalar(_) | Shape::OneOf(_) => {}
            }
        }
        visit(&SITE);
        visit(&DEFAULTS);
    }
}
