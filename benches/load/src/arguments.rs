//! Options of the form `--name value`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Result;

/// The options of a command.
#[derive(Debug)]
pub(crate) struct Arguments {
    values: BTreeMap<String, String>,
}

impl Arguments {
    /// Take the options out of the words of a command line.
    pub(crate) fn split_off(words: &mut Vec<String>) -> Result<Self> {
        let mut values = BTreeMap::new();
        if let Some(first) = words.iter().position(|word| word.starts_with("--")) {
            let options = words.split_off(first);
            for pair in options.chunks(2) {
                match pair {
                    [name, value] if name.starts_with("--") => {
                        values.insert(name[2..].to_owned(), value.clone());
                    }
                    _ => return Err(format!("no value for {}", pair[0]).into()),
                }
            }
        }
        Ok(Self { values })
    }

    /// An option, if it was given.
    pub(crate) fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.values.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("--{name} cannot be {text}").into())
    }

    /// An option that must be given.
    pub(crate) fn need<T: FromStr>(&self, name: &str) -> Result<T> {
        self.get(name)?.ok_or_else(|| format!("--{name} is missing").into())
    }

    /// An option in seconds that must be given.
    pub(crate) fn seconds(&self, name: &str) -> Result<Duration> {
        Ok(Duration::try_from_secs_f64(self.need(name)?)?)
    }

    /// Stay on the core of `--cpu`, and allow as many descriptors as the system does.
    pub(crate) fn pin(&self) -> Result<()> {
        if let Some(cpu) = self.get("cpu")? {
            let mut set = CpuSet::new();
            set.set(cpu);
            sched_setaffinity(None, &set)?;
        }
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_words() {
        let mut words = ["drive", "echo", "--port", "80"].map(str::to_owned).to_vec();
        let options = Arguments::split_off(&mut words).unwrap();
        assert_eq!(words, ["drive", "echo"]);
        assert_eq!(options.need::<u16>("port").unwrap(), 80);
        assert!(options.get::<u16>("size").unwrap().is_none());
        assert!(options.need::<u16>("size").is_err());
    }

    #[test]
    fn an_option_has_a_value_of_its_type() {
        assert!(Arguments::split_off(&mut vec!["--port".to_owned()]).is_err());
        let mut words = ["--port", "x"].map(str::to_owned).to_vec();
        assert!(Arguments::split_off(&mut words).unwrap().need::<u16>("port").is_err());
    }
}
