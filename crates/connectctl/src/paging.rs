//! Lists that the authority gives out page by page.

use mcp_connect_client::ConnectError;

/// One page, and where the next one begins.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// The first page; with `all`, everything as one page.
pub(crate) async fn pages<T>(
    all: bool,
    fetch: impl AsyncFn(Option<&str>) -> Result<Page<T>, ConnectError>,
) -> Result<Page<T>, ConnectError> {
    let mut list = fetch(None).await?;
    while all && let Some(cursor) = &list.next_cursor {
        let page = fetch(Some(cursor)).await?;
        // An empty page that leads on leads in circles.
        list.next_cursor = page.next_cursor.filter(|_| !page.items.is_empty());
        list.items.extend(page.items);
    }
    Ok(list)
}
