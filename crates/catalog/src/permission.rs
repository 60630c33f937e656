use serde::{Deserialize, Serialize};

/// What a token of a publisher lets its bearer do, and with which servers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[allow(clippy::exhaustive_structs)] // as it stands in a token
pub struct Permission {
    /// What may be done.
    pub action: Action,
    /// One name of a server; `namespace/**`: all names of a namespace and of those below it; all names
    /// that begin with what stands before a trailing `*`; or, as `*` alone, every name.
    pub resource: String,
}

/// What a publisher may do with a name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Action {
    /// Replace what a version said.
    Edit,
    /// Add versions, and say what state they are in.
    Publish,
}

impl Permission {
    /// Whether it is about this name. The names that a prefix stands for are longer than it. The case
    /// of namespaces doesn't matter, as it doesn't in domains and at GitHub.
    pub fn covers(&self, name: &str) -> bool {
        let (resource, name) = (folded(&self.resource), folded(name));
        if let Some(namespace) = resource.strip_suffix("/**") {
            return name
                .strip_prefix(namespace)
                .is_some_and(|rest| rest.starts_with(['/', '.']));
        }
        match resource.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == resource,
        }
    }

    /// Whether one of them lets an action be done with a name.
    pub fn permit(permissions: &[Self], action: Action, name: &str) -> bool {
        permissions
            .iter()
            .any(|permission| permission.action == action && permission.covers(name))
    }
}

/// A name, or a pattern of names, with its namespace in lower case.
fn folded(name: &str) -> String {
    match name.split_once('/') {
        Some((namespace, rest)) => format!("{}/{rest}", namespace.to_ascii_lowercase()),
        None => name.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::conformance::shared;

    fn publish(resource: &str) -> Permission {
        Permission {
            action: Action::Publish,
            resource: resource.to_owned(),
        }
    }

    #[test]
    fn a_prefix_ends_where_it_is_written_to_end() {
        for (resource, name, covered) in [
            ("com.example/one", "com.example/one", true),
            ("com.example/one", "com.example/one2", false),
            ("com.example/one", "com.example/One", false),
            ("com.example/*", "com.example/one", true),
            ("com.example/*", "com.example.sub/one", false),
            ("com.example.*", "com.example.sub/one", true),
            ("com.example.*", "com.example/one", false),
            ("com.example.*", "com.examples/one", false),
            ("com.example/**", "com.example/one", true),
            ("com.example/**", "com.example.sub/one", true),
            ("com.example/**", "com.example.sub.deeper/one", true),
            ("com.example/**", "com.examples/one", false),
            ("com.example/**", "com/one", false),
            ("com.Example/*", "com.exampLe/one", true),
            ("com.example.*", "com.Example.Sub/one", true),
            ("com.example/*", "com.Example/One", true),
            ("*", "com.example/one", true),
            ("", "com.example/one", false),
            ("*/one", "com.example/one", false),
        ] {
            assert_eq!(publish(resource).covers(name), covered, "{resource} {name}");
        }
    }

    #[test]
    fn an_action_never_stands_for_another() {
        let permissions = [publish("*")];
        assert!(Permission::permit(&permissions, Action::Publish, "ab/cd"));
        assert!(!Permission::permit(&permissions, Action::Edit, "ab/cd"));
        assert!(!Permission::permit(&[], Action::Publish, "ab/cd"));
        assert!(serde_json::from_str::<Action>(r#""delete""#).is_err());
    }

    #[test]
    fn permissions_match_as_those_of_the_official_registry() {
        let Some(cases) = shared("conformance/registry/misc-cases.json") else {
            return;
        };
        for case in cases["jwt_has_permission"].as_array().unwrap() {
            let read = |member: &str| case[member].clone();
            let permissions: Vec<Permission> = serde_json::from_value(read("permissions")).unwrap();
            let action = serde_json::from_value(read("action")).unwrap();
            let permitted =
                Permission::permit(&permissions, action, case["resource"].as_str().unwrap());
            assert_eq!(Value::from(permitted), case["expected"], "{case}");
        }
    }
}
