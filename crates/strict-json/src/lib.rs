//! JSON as RFC 8259 (section 4) recommends it: member names are unique, at every depth.
//! `serde_json` alone lets the last of two equal members win, which is how one token can mean two
//! things to two readers.

use std::{borrow::Cow, cell::Cell, collections::BTreeSet, fmt, marker::PhantomData, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
    },
};

/// The most objects and lists that may be nested in each other. Readers of a list find a document a few levels
/// below its top, and many of them read no more than 128.
pub const MAX_LEVELS: usize = 64;

/// Why some bytes are not read. Says nothing of what is in them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", self.as_str())]
#[non_exhaustive]
pub enum Fault {
    /// Compressed, as `Content-Encoding` would say.
    Compressed,
    /// An object has two members of one name.
    Duplicate,
    /// Nothing, or white space.
    Empty,
    /// A string has half of a character: one `\uD800` to `\uDFFF` without its other half.
    LoneSurrogate,
    /// UTF-8 after a byte order mark.
    Marked,
    /// Not JSON, or with a number beyond those of IEEE 754.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// Text in another encoding than UTF-8.
    NotUtf8,
    /// A member is missing, or has another type than it must have.
    Shape,
    /// Nested deeper than [`MAX_LEVELS`].
    TooDeep,
    /// UTF-16 or UTF-32.
    Utf16,
}

impl Fault {
    /// For a log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compressed => "compressed; send JSON as it is, without Content-Encoding",
            Self::Duplicate => "two members of one name",
            Self::Empty => "empty",
            Self::LoneSurrogate => {
                "a lone surrogate in a string: \\uD800 to \\uDFFF stand in pairs only"
            }
            Self::Marked => "begins with a byte order mark (BOM); send UTF-8 without one",
            Self::NotJson => "not JSON",
            Self::NotAnObject => "not a JSON object",
            Self::NotUtf8 => "not UTF-8",
            Self::Shape => "a member is missing or of another type",
            Self::TooDeep => "nested deeper than 64 levels",
            Self::Utf16 => "in UTF-16 or UTF-32; send UTF-8",
        }
    }
}

/// Finds what keeps some bytes from being JSON, if it is one of the usual things.
pub fn explain(json: &[u8]) -> Option<Fault> {
    let is_zero = |at: usize| json.get(at) == Some(&0);
    match json {
        [0xef, 0xbb, 0xbf, ..] => return Some(Fault::Marked),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => return Some(Fault::Utf16),
        _ if is_zero(0) || is_zero(1) => return Some(Fault::Utf16),
        // gzip, zlib and Zstandard; Brotli has no mark.
        [0x1f, 0x8b, ..] | [0x78, 0x01 | 0x9c | 0xda, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            return Some(Fault::Compressed);
        }
        _ => {}
    }
    if json.trim_ascii().is_empty() {
        Some(Fault::Empty)
    } else if std::str::from_utf8(json).is_err() {
        Some(Fault::NotUtf8)
    } else if has_lone_surrogate(json) {
        Some(Fault::LoneSurrogate)
    } else {
        None
    }
}

/// Whether one of the escapes `\uD800` to `\uDFFF` is not half of a pair.
fn has_lone_surrogate(json: &[u8]) -> bool {
    let mut rest = json;
    let mut is_half = false;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| after.split_first()).flatten();
        let Some((kind, after_kind)) = escaped else {
            if is_half {
                return true;
            }
            rest = after;
            continue;
        };
        let digits = after_kind.get(..4).filter(|_| *kind == b'u');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let is_low = matches!(unit, Some(0xdc00..=0xdfff));
        if is_half != is_low {
            return true;
        }
        is_half = matches!(unit, Some(0xd800..=0xdbff));
        rest = after_kind;
        if unit.is_some() {
            rest = after_kind.get(4..).unwrap_or_default();
        }
    }
    is_half
}

/// Reads a JSON object.
pub fn from_slice<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Fault> {
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(explain(json).unwrap_or(Fault::NotAnObject));
    }
    check(json)?;
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

/// For such an object that may be left out, but that must not be `null`.
pub fn maybe_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    object(deserializer).map(Some)
}

/// For a string that has a form of its own. By a visitor, since only so does an error of `serde_json` say where
/// the string stands.
pub fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Parsed<T>(PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Parsed(PhantomData))
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

/// Reads over any JSON value in which no object has two members of one name, and that is not too deep.
fn check(json: &[u8]) -> Result<(), Fault> {
    let fault = Cell::new(Fault::Duplicate);
    let top = UniqueMembers {
        levels: MAX_LEVELS,
        fault: &fault,
    };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = top.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| {
        if error.is_data() {
            fault.get()
        } else {
            explain(json).unwrap_or(Fault::NotJson)
        }
    })
}

/// How many levels there may be below, and what was wrong.
#[derive(Clone, Copy)]
struct UniqueMembers<'a> {
    levels: usize,
    fault: &'a Cell<Fault>,
}

impl UniqueMembers<'_> {
    /// What stands one level below.
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let Some(levels) = self.levels.checked_sub(1) else {
            self.fault.set(Fault::TooDeep);
            return Err(E::custom("too deep"));
        };
        Ok(Self { levels, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for UniqueMembers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueMembers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while seq.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.below()?;
        let mut names = BTreeSet::new();
        while let Some(MemberName(name)) = map.next_key()? {
            if !names.insert(name) {
                return Err(A::Error::custom("twice"));
            }
            map.next_value_seed(below)?;
        }
        Ok(())
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
        for json in ["[]", "\"{}\"", "null", "7", "nothing"] {
            assert_eq!(read(json), Err(Fault::NotAnObject), "{json}");
        }
        for json in [
            "{} {}",
            "{",
            r#"{"a":1,}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\q"}"#,
            r#"{"a":"\u12"}"#,
        ] {
            assert_eq!(read(json), Err(Fault::NotJson), "{json}");
        }
    }

    #[test]
    fn says_what_the_usual_faults_are() {
        let utf16 = |order: fn(u16) -> [u8; 2], mark: &str| -> Vec<u8> {
            format!("{mark}{{}}")
                .encode_utf16()
                .flat_map(order)
                .collect()
        };
        for (json, fault) in [
            (b"".to_vec(), Fault::Empty),
            (b" \r\n\t ".to_vec(), Fault::Empty),
            ("\u{feff}{}".into(), Fault::Marked),
            ("\u{feff}".into(), Fault::Marked),
            (utf16(u16::to_le_bytes, ""), Fault::Utf16),
            (utf16(u16::to_be_bytes, ""), Fault::Utf16),
            (utf16(u16::to_le_bytes, "\u{feff}"), Fault::Utf16),
            (utf16(u16::to_be_bytes, "\u{feff}"), Fault::Utf16),
            (b"\0\0\0{\0\0\0}".to_vec(), Fault::Utf16),
            (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), Fault::Compressed),
            (b"\x78\x9c\xab".to_vec(), Fault::Compressed),
            (b"\x28\xb5\x2f\xfd\x04".to_vec(), Fault::Compressed),
            (b"{\"a\":\"\xe9\"}".to_vec(), Fault::NotUtf8),
            (br#"{"a":"\ud800"}"#.to_vec(), Fault::LoneSurrogate),
            (br#"{"a":"\uDBFF\n"}"#.to_vec(), Fault::LoneSurrogate),
            (
                br#"{"a":"\ud83d\ud83d\ude00"}"#.to_vec(),
                Fault::LoneSurrogate,
            ),
            (br#"{"a":"x\udc00"}"#.to_vec(), Fault::LoneSurrogate),
            (br#"{"\udfff":1}"#.to_vec(), Fault::LoneSurrogate),
        ] {
            let found = from_slice::<Map<String, Value>>(&json).map(|_| ());
            assert_eq!(found, Err(fault), "{json:?}");
            assert_eq!(explain(&json), Some(fault), "{json:?}");
        }
        for json in [
            r#"{"a":"\ud83d\ude00 \\ud800 \u00e9 é \\\\"}"#,
            "{}",
            "[",
            "no",
        ] {
            assert_eq!(explain(json.as_bytes()), None, "{json}");
        }
        assert!(read(r#"{"a":"\ud83d\ude00 \\ud800 \u00e9 é"}"#).is_ok());
    }

    #[test]
    fn nesting_has_64_levels_at_most() {
        let objects = |levels| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let lists = |levels: usize| {
            let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
            format!(r#"{{"a":{open}{close},"b":"{open}"}}"#)
        };
        for deep in [objects, lists] {
            assert!(read(&deep(MAX_LEVELS)).is_ok());
            for levels in [MAX_LEVELS + 1, 127, 128, 200, 10_000] {
                assert_eq!(read(&deep(levels)), Err(Fault::TooDeep), "{levels}");
            }
        }
        let said = Fault::TooDeep.as_str();
        assert!(said.contains(&MAX_LEVELS.to_string()), "{said}");
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
