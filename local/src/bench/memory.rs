//! Which memory setting a function should have. Lambda gives CPU in proportion to memory, so that more memory makes the part of a
//! request that computes shorter at the same price, and the part that waits dearer.

use super::{price::Prices, samples::Figures};

/// Settings to choose from. At 1,769 MB a function has one whole core, and ours use no more. ("Configure Lambda function memory".)
const SETTINGS: [f64; 5] = [128.0, 256.0, 512.0, 1024.0, CORE];
const CORE: f64 = 1769.0;

/// A warm request at one memory setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) mb: f64,
    pub(super) ms: f64,
    /// Dollars for a million requests: Lambda's part.
    pub(super) price: f64,
}

/// A function's warm request at every setting.
pub(super) fn settings(figures: &Figures, prices: &Prices) -> [Setting; SETTINGS.len()] {
    SETTINGS.map(|mb| {
        let ms = figures.cpu_ms * CORE / mb + prices.wait_ms(figures.dynamodb_calls, figures.s3_calls);
        Setting { mb, ms, price: 1e6 * prices.lambda(ms, mb) }
    })
}

/// The one whose price × latency is least: of two, the dearer one is taken when it is faster by more than it is dearer.
pub(super) fn best(settings: &[Setting]) -> Option<&Setting> {
    settings.iter().min_by(|a, b| (a.price * a.ms).total_cmp(&(b.price * b.ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_is_worth_memory_and_waiting_is_not() {
        let prices: Prices = serde_json::from_str(include_str!("prices.json")).expect("prices");
        let best = |cpu_ms, dynamodb_calls| {
            let figures = Figures { cpu_ms, dynamodb_calls, ..Figures::default() };
            best(&settings(&figures, &prices)).expect("a setting").mb
        };
        assert_eq!((best(20.0, 0.0), best(0.001, 50.0)), (CORE, 128.0));
    }
}
