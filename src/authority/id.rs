/// Ids of clients and tenants go into URLs, logs and descriptors: 1 to 128 letters, digits, ".",
/// "_", ":" or "-".
pub(crate) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}
