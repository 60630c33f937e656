use serde_json::json;

use crate::{api::Admin, cli::CacheCommand, config::Settings, failure::Failure, output};

pub(crate) async fn run(
    command: &CacheCommand,
    settings: &Settings,
    json: bool,
) -> Result<(), Failure> {
    let admin = Admin::new(settings.operator()?);
    let CacheCommand::Rebuild { after, why } = command;
    let mut after = after.clone();
    // Said with the first call alone, since it is one rebuild.
    let mut reason = why.reason.as_deref();
    let mut renewed = 0;
    loop {
        let part = admin
            .rebuild_copies(&after, reason.take())
            .await
            .map_err(|error| {
                let failure = Failure::from(error)
                    .context(&format!("the rebuild stopped after {renewed} copies"));
                // It begins there by itself.
                if after.is_empty() {
                    return failure;
                }
                failure.hint(format!(
                    "go on with connectctl cache rebuild --after '{after}'"
                ))
            })?;
        renewed += part.renewed;
        match part.next {
            Some(next) => after = next,
            None => break,
        }
    }
    if json {
        return output::json(&json!({ "renewed": renewed }));
    }
    output::line(&format!("{renewed} copies renewed"))
}
