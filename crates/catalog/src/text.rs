//! What no identifier may be or contain, so that whoever reads one sees all of it, and no client or
//! proxy takes it for another path.

use serde_json::Value;

/// Tells whether a character does not show by itself: a control, format or blank character, or none at all.
/// Identifiers that differ by such characters look the same, or are displayed in another order.
pub fn is_invisible(c: char) -> bool {
    c.is_control() || c.is_whitespace() || is_format(c) || is_blank(c) || is_noncharacter(c)
}

/// Whether Unicode 17 lists a character as a format character (`Cf`), or as one that is displayed as
/// nothing by default: among others the soft hyphen, the controls of bidirectional text, joiners,
/// the byte order mark, variation selectors, tags.
pub fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Code points that Unicode never gives to a character (section 23.7).
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Letters and symbols whose glyphs are empty: fillers of Hangul, the empty Braille pattern.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{115f}'..='\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    )
}

/// Finds a character that keeps people from seeing all of a text, or in its order: a control or format character, or
/// one that shows as nothing. Spaces of all widths are none, nor the separators of lines, nor what is `allowed`.
pub fn find_hidden(text: &str, allowed: &[char]) -> Option<char> {
    let is_space = |c: char| c.is_whitespace() && !c.is_control();
    text.chars()
        .find(|c| is_invisible(*c) && !is_space(*c) && !allowed.contains(c))
}

/// Names a character that does not show, as a problem does: by its kind and its number.
pub fn name_hidden(c: char) -> String {
    format!(
        "the control, format or blank character U+{:04X}",
        u32::from(c)
    )
}

/// A text of somebody else's as an error shows it: its first 64 characters, all of them visible.
pub fn shown(text: &str) -> String {
    const MAX_CHARS: usize = 64;
    let mut shown = String::new();
    for c in text.chars().take(MAX_CHARS) {
        if c != ' ' && is_invisible(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a text can be what people call something: not empty, no more than `max_chars` characters,
/// all of them visible, but for single spaces between the words.
pub fn is_label(text: &str, max_chars: usize) -> bool {
    text.chars().count() <= max_chars
        && text
            .split(' ')
            .all(|word| !word.is_empty() && !word.contains(is_invisible))
}

/// Whether URL parsers take a segment of a path for "this folder" or "the folder above": `.`, `..`,
/// and both with percent-encoded dots (WHATWG URL, section 4.2).
pub fn is_dot_segment(segment: &str) -> bool {
    // No dot segment is longer, and a body can be.
    segment.len() <= "%2e%2e".len()
        && matches!(
            segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
            "." | ".."
        )
}

/// Whether a text, or a name of a member, somewhere in a value has the character U+0000, at which
/// SQL and C end a text.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_show_is_invisible() {
        for c in [
            '\0',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            ' ',
            '\u{a0}',
            '\u{1680}',
            '\u{2003}',
            '\u{3000}',
            '\u{202e}',
            '\u{2066}',
            '\u{200b}',
            '\u{200d}',
            '\u{feff}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{2028}',
            '\u{2061}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{2800}',
            '\u{34f}',
            '\u{110bd}',
            '\u{fdd0}',
            '\u{fdef}',
            '\u{fffe}',
            '\u{ffff}',
            '\u{1fffe}',
            '\u{10ffff}',
        ] {
            assert!(is_invisible(c), "U+{:04X}", u32::from(c));
        }
        for c in [
            'a', '~', 'º', 'é', '中', '🎉', '{', '\u{301}', '\u{fdf0}', '\u{fffd}',
        ] {
            assert!(!is_invisible(c), "{c}");
        }
    }

    #[test]
    fn what_hides_in_a_text_is_found() {
        for c in [
            '\0',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2066}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{3164}',
            '\u{fdd0}',
            '\u{fffe}',
            '\u{10ffff}',
            '\u{e0041}',
        ] {
            let text = format!("a leaked{c} key");
            assert_eq!(find_hidden(&text, &[]), Some(c), "U+{:04X}", u32::from(c));
            assert_eq!(find_hidden(&text, &[c]), None);
        }
        for text in [
            "",
            "a leaked key",
            "鍵が\u{3000}漏れた",
            "fuite\u{a0}: clé",
            "🎉 é\u{301}",
        ] {
            assert_eq!(find_hidden(text, &[]), None, "{text}");
        }
    }

    #[test]
    fn labels_are_words_with_single_spaces() {
        for text in ["a", "Mona's laptop", "Ägypten 1", "🎉 party"] {
            assert!(is_label(text, 100), "{text}");
        }
        for text in [
            "",
            " ",
            " a",
            "a ",
            "a  b",
            "a\tb",
            "a\u{a0}b",
            "a\u{202e}b",
            "\u{200b}",
            "a\0",
        ] {
            assert!(!is_label(text, 100), "{text:?}");
        }
        assert!(is_label(&"é".repeat(100), 100));
        assert!(!is_label(&"é".repeat(101), 100));
    }

    #[test]
    fn dots_are_segments_of_paths_however_they_are_written() {
        for text in [".", "..", "%2e", "%2E", "%2e.", ".%2E", "%2e%2E"] {
            assert!(is_dot_segment(text), "{text}");
        }
        for text in ["", "...", "a.", ".a", "%2e%2e%2e", "%252e", "1.0", "%2f"] {
            assert!(!is_dot_segment(text), "{text}");
        }
    }

    #[test]
    fn nul_is_found_at_every_depth() {
        for value in [
            json!("\0"),
            json!({"a": ["b", {"c": "d\0"}]}),
            json!({"a\0": 1}),
        ] {
            assert!(has_nul(&value), "{value}");
        }
        assert!(!has_nul(&json!({"a": ["\\u0000", null, 0, true]})));
    }

    proptest! {
        #[test]
        fn what_urls_fold_is_a_dot_segment(segment in "[.%2eEa]{1,7}") {
            let url = ::url::Url::parse(&format!("https://h/a/{segment}/b")).unwrap();
            let is_kept = url.path_segments().unwrap().count() == 3;
            prop_assert_eq!(is_dot_segment(&segment), !is_kept, "{}", url);
        }
    }
}
