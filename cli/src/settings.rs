//! What the environment says. A variable that is empty counts as one that is not there, and one that cannot be used is named at
//! once.

use std::{collections::BTreeMap, env};

use anyhow::{Context, Result, anyhow, bail, ensure};
use jobchute::{Hotkey, Identity};
use reqwest::Url;

const URL: &str = "JOBCHUTE_URL";
const AWS: &str = "JOBCHUTE_AWS";
/// What proves who the caller is.
pub(crate) const SECRETS: [&str; 4] =
    ["JOBCHUTE_KEY", "JOBCHUTE_HOTKEY", "JOBCHUTE_MINER_KEY", "JOBCHUTE_MINER_HOTKEY"];

/// The variables of this command that are set.
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// As the environment says, and of `secrets` what is not there.
    pub(crate) fn read(secrets: BTreeMap<String, String>) -> Result<Self> {
        let mut all = secrets;
        for name in [URL, AWS].iter().chain(&SECRETS) {
            if let Some(value) = env::var_os(name) {
                let value = value.into_string().map_err(|_| anyhow!("{name} is not UTF-8"))?;
                all.insert((*name).to_owned(), value);
            }
        }
        all.retain(|_, value| !value.is_empty());
        Ok(Self(all))
    }

    /// Those that are secret.
    pub(crate) fn secrets(&self) -> BTreeMap<&str, &str> {
        let all = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(|(name, _)| SECRETS.contains(name)).collect()
    }

    /// Where the API is, without a slash at the end.
    pub(crate) fn url(&self) -> Result<String> {
        self.address(URL, "http://127.0.0.1:3000")
    }

    /// Where the local stack's AWS is.
    pub(crate) fn aws(&self) -> Result<String> {
        self.address(AWS, "http://127.0.0.1:3001")
    }

    fn address(&self, name: &str, default: &str) -> Result<String> {
        let text = self.0.get(name).map_or(default, String::as_str);
        let url = Url::parse(text).with_context(|| format!("{name} is not a URL"))?;
        ensure!(matches!(url.scheme(), "http" | "https"), "{name} is not a URL of http or https");
        ensure!(url.query().is_none() && url.fragment().is_none(), "{name} has a query or a fragment");
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    /// Who the user is.
    pub(crate) fn user(&self) -> Result<Identity> {
        self.identity("JOBCHUTE_KEY", "JOBCHUTE_HOTKEY")?.context("set JOBCHUTE_KEY or JOBCHUTE_HOTKEY; see --help")
    }

    /// Who the miner is: somebody of its own, or the user.
    pub(crate) fn miner(&self) -> Result<Identity> {
        match self.identity("JOBCHUTE_MINER_KEY", "JOBCHUTE_MINER_HOTKEY")? {
            Some(miner) => Ok(miner),
            None => self.user(),
        }
    }

    fn identity(&self, key: &str, hotkey: &str) -> Result<Option<Identity>> {
        if let Some(value) = self.0.get(key) {
            if !value.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
                bail!("{key} holds a space, a control character or another one that no key has");
            }
            return Ok(Some(Identity::Key(value.clone())));
        }
        let Some(seed) = self.0.get(hotkey) else { return Ok(None) };
        let signer = Hotkey::from_seed(seed).with_context(|| format!("{hotkey} is not a seed of 32 bytes in hex"))?;
        Ok(Some(Identity::Hotkey(Box::new(signer))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let all = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings(all.filter(|(_, value)| !value.is_empty()).collect())
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("JOBCHUTE_KEY", "cpk_1\r"),
            ("JOBCHUTE_KEY", " cpk_1"),
            ("JOBCHUTE_KEY", "cpk_é"),
            ("JOBCHUTE_HOTKEY", "seed"),
            ("JOBCHUTE_MINER_KEY", "cpk_1\n"),
            ("JOBCHUTE_MINER_HOTKEY", "0x12"),
        ] {
            let error = settings(&[(name, value)]).miner().expect_err(value).to_string();
            assert!(error.starts_with(name), "{error}");
        }
        for value in
            ["example.com", "127.0.0.1:3000", "ftp://example.com", "http://", "/jobs", "http://a/?b", "http://a#b"]
        {
            for (name, read) in [(URL, Settings::url as fn(&Settings) -> _), (AWS, Settings::aws)] {
                let error = read(&settings(&[(name, value)])).expect_err(value).to_string();
                assert!(error.starts_with(name), "{error}");
            }
        }
    }

    #[test]
    fn an_empty_variable_is_missing() -> Result<()> {
        let missing = "set JOBCHUTE_KEY or JOBCHUTE_HOTKEY; see --help";
        assert_eq!(settings(&[("JOBCHUTE_KEY", "")]).user().expect_err("no key").to_string(), missing);
        assert_eq!(settings(&[(URL, "")]).url()?, "http://127.0.0.1:3000");
        let miner = settings(&[("JOBCHUTE_MINER_KEY", ""), ("JOBCHUTE_KEY", "cpk_1")]).miner()?;
        assert!(matches!(miner, Identity::Key(key) if key == "cpk_1"));
        assert_eq!(settings(&[(URL, "https://example.com/prod/")]).url()?, "https://example.com/prod");
        Ok(())
    }
}
