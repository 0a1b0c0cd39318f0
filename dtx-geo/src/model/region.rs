//! Names of providers and regions.

use std::{fmt, str::FromStr};

use dtx_core::name::{NameError, RegionName};
use thiserror::Error;

/// Who runs a region. Figures of different providers are never mixed: they are measured in
/// different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
    /// IBM Cloud.
    Ibm,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Aws, Self::Azure, Self::Gcp, Self::Ibm];

    /// The name, as it stands before the `/` of a region.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Ibm => "ibm",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no provider or no region of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// The provider is not known.
    #[error("{0:?} is no provider: give aws, azure, gcp or ibm")]
    Unknown(String),
    /// There is no `/` between provider and region.
    #[error("{0:?} is no region: give PROVIDER/REGION, as in aws/eu-west-1")]
    Form(String),
    /// The name of the region is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for Provider {
    type Err = ProviderError;
    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let found = Self::ALL.into_iter().find(|provider| provider.name() == text);
        found.ok_or_else(|| ProviderError::Unknown(text.chars().take(80).collect()))
    }
}

/// A region of a provider, written `provider/region`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionId {
    /// Who runs it.
    pub provider: Provider,
    /// Its name there.
    pub name: RegionName,
}

impl FromStr for RegionId {
    type Err = ProviderError;
    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let (provider, name) = text
            .split_once('/')
            .ok_or_else(|| ProviderError::Form(text.chars().take(80).collect()))?;
        Ok(Self { provider: provider.parse()?, name: RegionName::new(name)? })
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_its_provider_and_its_name() {
        let region: RegionId = "aws/eu-west-1".parse().expect("a region");
        assert_eq!(region.provider, Provider::Aws);
        assert_eq!(region.to_string(), "aws/eu-west-1");
        assert_eq!("eu".parse::<RegionId>(), Err(ProviderError::Form("eu".into())));
        assert_eq!("x/eu".parse::<RegionId>(), Err(ProviderError::Unknown("x".into())));
        assert!(matches!("aws/E".parse::<RegionId>(), Err(ProviderError::Name(_))));
    }
}
