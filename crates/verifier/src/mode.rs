use std::str::FromStr;

use crate::ConfigError;

/// How strictly the layer asks for descriptors.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// Every request needs a good descriptor.
    #[default]
    Required,
    /// A request without a descriptor passes ungoverned, which shows in that it has no
    /// [`Verified`](crate::Verified) among its extensions. A bad descriptor is refused.
    Optional,
    /// Nothing is refused and no stream ended: what would have been refused is logged.
    Report,
}

impl FromStr for Mode {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            "report" => Ok(Self::Report),
            _ => Err(ConfigError::Setting {
                name: "mode",
                problem: "must be \"required\", \"optional\" or \"report\"",
            }),
        }
    }
}
