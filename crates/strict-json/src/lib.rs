//! JSON as RFC 8259 (section 4) recommends it: member names are unique, at every depth.
//! `serde_json` alone lets the last of two equal members win, which is how one token can mean two
//! things to two readers.

use std::{borrow::Cow, collections::BTreeSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// Why some bytes are not read. Says nothing of what is in them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", self.as_str())]
#[non_exhaustive]
pub enum Fault {
    /// An object has two members of one name.
    Duplicate,
    /// Not JSON, nested too deep, or with a number beyond those of IEEE 754.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// A member is missing, or has another type than it must have.
    Shape,
}

impl Fault {
    /// For a log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "two members of one name",
            Self::NotJson => "not JSON",
            Self::NotAnObject => "not a JSON object",
            Self::Shape => "a member is missing or of another type",
        }
    }
}

/// Reads a JSON object.
pub fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Fault> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Fault::NotAnObject);
    }
    serde_json::from_slice::<UniqueMembers>(json).map_err(|error| {
        if error.is_data() {
            Fault::Duplicate
        } else {
            Fault::NotJson
        }
    })?;
    // It is JSON: what is wrong with it now is what it says.
    let Strict(value) = serde_json::from_slice(json).map_err(|_| Fault::Shape)?;
    Ok(value)
}

/// For a member that may be left out, but that must not be `null`.
pub fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// For a member that must be an object: derived structs accept a list of their members, too.
pub fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Strict::deserialize(deserializer).map(|Strict(value)| value)
}

/// For a list of such objects.
pub fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Vec::<Strict<T>>::deserialize(deserializer)?;
    Ok(objects.into_iter().map(|Strict(value)| value).collect())
}

/// For a string that may stand in a list, alone (RFC 7519, section 4.1.3, has `aud` so).
pub fn one_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct OneString;

    impl<'de> Visitor<'de> for OneString {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, alone or in a list")
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<String, A::Error> {
            match (seq.next_element()?, seq.next_element::<String>()?) {
                (Some(text), None) => Ok(text),
                _ => Err(A::Error::custom("not one")),
            }
        }
    }

    deserializer.deserialize_any(OneString)
}

/// What is read from an object and from nothing else.
struct Strict<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrictVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for StrictVisitor<T> {
            type Value = Strict<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Strict)
            }
        }

        deserializer.deserialize_map(StrictVisitor(PhantomData))
    }
}

/// Accepts any JSON value in which no object has two members of one name.
struct UniqueMembers;

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueMembersVisitor)
    }
}

struct UniqueMembersVisitor;

impl<'de> Visitor<'de> for UniqueMembersVisitor {
    type Value = UniqueMembers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(UniqueMembers)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(UniqueMembers)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(UniqueMembers)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(UniqueMembers)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(UniqueMembers)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(UniqueMembers)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<UniqueMembers>()?.is_some() {}
        Ok(UniqueMembers)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(MemberName(name)) = map.next_key()? {
            if !names.insert(name) {
                return Err(A::Error::custom("twice"));
            }
            map.next_value::<UniqueMembers>()?;
        }
        Ok(UniqueMembers)
    }
}

/// `Cow` by itself always deserialises as owned.
#[derive(Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    fn read(json: &str) -> Result<Map<String, Value>, Fault> {
        from_slice(json.as_bytes())
    }

    #[test]
    fn refuses_duplicates_at_every_depth() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":1,"b":2,"c":3,"a":4}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[{"k":[{"a":null,"a":null}]}]}"#,
        ] {
            assert_eq!(read(json), Err(Fault::Duplicate), "{json}");
        }
    }

    #[test]
    fn refuses_what_is_no_object() {
        for json in ["", "[]", "\"{}\"", "null", "7", "\u{feff}{}"] {
            assert_eq!(read(json), Err(Fault::NotAnObject), "{json}");
        }
        for json in [
            "{} {}",
            "{",
            r#"{"a":1,}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
        ] {
            assert_eq!(read(json), Err(Fault::NotJson), "{json}");
        }
        let deep = |levels| format!("{}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert_eq!(read(&deep(200)), Err(Fault::NotJson));
    }

    #[test]
    fn accepts_what_only_looks_like_a_duplicate() {
        for json in [
            r#"{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":-1.5e3,"d":true,"e":null}"#,
            r#"{"a":1,"A":1}"#,
        ] {
            assert!(read(json).is_ok(), "{json}");
        }
    }

    #[test]
    fn a_struct_is_read_from_an_object_only() {
        #[derive(Debug, Deserialize, PartialEq)]
        struct Inner {
            number: u64,
        }
        #[derive(Debug, Deserialize, PartialEq)]
        struct Outer {
            #[serde(deserialize_with = "object")]
            inner: Inner,
            #[serde(default, deserialize_with = "present")]
            maybe: Option<u64>,
        }
        let outer = |json: &str| from_slice::<Outer>(json.as_bytes()).map(|outer| outer.maybe);
        assert_eq!(outer(r#"{"inner":{"number":7}}"#), Ok(None));
        assert_eq!(outer(r#"{"inner":{"number":7},"maybe":7}"#), Ok(Some(7)));
        for json in [
            r#"{"inner":[7]}"#,
            r#"{"inner":{"number":7.0}}"#,
            r#"{"inner":{"number":7},"maybe":null}"#,
            r#"{"inner":null}"#,
            "{}",
        ] {
            assert_eq!(outer(json), Err(Fault::Shape), "{json}");
        }
    }
}
