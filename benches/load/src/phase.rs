//! What one phase of load gave.

/// Answers, and how long each took.
#[derive(Default)]
pub(crate) struct Phase {
    /// Nanoseconds from request to whole answer.
    pub(crate) latencies: Vec<u64>,
    /// Nanoseconds from the first request to the last answer.
    pub(crate) wall: u64,
}

impl Phase {
    /// The latency that so many of a thousand answers stay below, in nanoseconds.
    fn quantile(sorted: &[u64], thousandths: usize) -> u64 {
        sorted
            .get((sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    }

    /// A line of JSON, times in seconds.
    pub(crate) fn json(mut self, server_cpu: Option<u64>, own_cpu: u64) -> String {
        self.latencies.sort_unstable();
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        let server = server_cpu.map_or("null".to_owned(), |time| seconds(time).to_string());
        format!(
            r#"{{"operations":{},"wall":{},"server_cpu":{server},"generator_cpu":{},"p50":{},"p99":{},"p999":{}}}"#,
            self.latencies.len(),
            seconds(self.wall),
            seconds(own_cpu),
            seconds(Self::quantile(&self.latencies, 500)),
            seconds(Self::quantile(&self.latencies, 990)),
            seconds(Self::quantile(&self.latencies, 999)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_and_of_many() {
        assert_eq!(Phase::quantile(&[], 500), 0);
        assert_eq!(Phase::quantile(&[7], 999), 7);
        let many: Vec<u64> = (0..1000).collect();
        assert_eq!(Phase::quantile(&many, 500), 500);
        assert_eq!(Phase::quantile(&many, 999), 999);
    }

    #[test]
    fn seconds_are_written() {
        let phase = Phase { latencies: vec![2_000, 1_000], wall: 1_500_000_000 };
        assert_eq!(
            phase.json(Some(500_000_000), 250_000_000),
            r#"{"operations":2,"wall":1.5,"server_cpu":0.5,"generator_cpu":0.25,"p50":0.000002,"p99":0.000002,"p999":0.000002}"#
        );
    }
}
