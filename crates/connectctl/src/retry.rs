//! Calls that are made again while the authority can't be reached or is busy.

use std::time::Duration;

use mcp_connect_client::ConnectError;
use tokio::time::sleep;

const RETRIES: u32 = 3;
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Makes a call that is safe to repeat.
pub(crate) async fn patiently<T>(
    call: impl AsyncFn() -> Result<T, ConnectError>,
) -> Result<T, ConnectError> {
    let mut retries = 0;
    loop {
        match call().await {
            Err(error) if retries < RETRIES && is_temporary(&error) => {
                let back_off = FIRST_BACK_OFF * 2_u32.pow(retries);
                let wanted = error.retry_after().unwrap_or_default();
                sleep(back_off.max(wanted).min(LONGEST_WAIT)).await;
                retries += 1;
            }
            result => return result,
        }
    }
}

pub(crate) const fn is_temporary(error: &ConnectError) -> bool {
    match error {
        ConnectError::Network(_) | ConnectError::Status(500..) => true,
        ConnectError::Denied(denial) => matches!(denial.status, 429 | 500..),
        _ => false,
    }
}
