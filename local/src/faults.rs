//! Faults that engines can have: per call, decided by a hook.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

/// An engine behind the AWS endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// DynamoDB and its streams.
    DynamoDb,
    /// S3.
    S3,
    /// Secrets Manager.
    SecretsManager,
    /// Lambda, whose one operation here is `Invoke`.
    Lambda,
    /// EventBridge.
    Events,
}

/// One call to an engine, before it is served.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineCall {
    /// The engine.
    pub service: Service,
    /// The API operation, such as `UpdateItem` or `PutObject`.
    pub operation: String,
    /// The package of the function that calls; `None` is a client with a presigned URL.
    pub function: Option<String>,
    /// Counts the stack's calls from 0.
    pub sequence: u64,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It is served.
    None,
    /// It is answered with this status (500 or 503) and not applied.
    FailBefore(u16),
    /// It is applied and answered with 500: a lost reply.
    FailAfter,
    /// It is refused as the engine refuses when it is overloaded, and not applied.
    Throttle,
    /// It is served this much later.
    Delay(Duration),
    /// The connection closes without an answer, and it is not applied.
    Cut,
    /// It is not applied, and the process that called is killed. For a client's call the same as `Cut`.
    KillFunction,
    /// It is applied, and the process that called is killed before it hears so. For a client's call the connection closes.
    KillAfter,
}

type Hook = Arc<dyn Fn(&EngineCall) -> Fault + Send + Sync>;

/// The hook that is asked about every call of a function or of a client with a presigned URL.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<RwLock<Option<Hook>>>);

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}

impl Faults {
    pub(crate) fn set(&self, hook: impl Fn(&EngineCall) -> Fault + Send + Sync + 'static) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    pub(crate) fn decide(&self, call: &EngineCall) -> Fault {
        let hook = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        hook.map_or(Fault::None, |hook| hook(call))
    }
}

/// Random faults, reproducible from a seed: what happens to a call depends on the seed, on who makes it, on its operation, and on
/// how many of that kind came before, in whatever order those of other kinds come.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
    rate: f64,
    clients: bool,
    seen: Mutex<HashMap<u64, u64>>,
}

impl Seeded {
    /// Faults in this share (0 to 1) of the functions' calls.
    pub fn new(seed: u64, rate: f64) -> Self {
        Self { seed, rate, clients: false, seen: Mutex::default() }
    }

    /// Faults in clients' calls to presigned URLs as well.
    pub fn with_clients(self) -> Self {
        Self { clients: true, ..self }
    }

    /// Decides one call; to be handed to [`crate::Stack::set_faults`] in a closure.
    pub fn decide(&self, call: &EngineCall) -> Fault {
        if call.function.is_none() && !self.clients {
            return Fault::None;
        }
        // FNV-1a: the same in every build.
        let letters =
            call.function.iter().flat_map(|function| function.bytes()).chain([0]).chain(call.operation.bytes());
        let kind = letters
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, letter| (hash ^ u64::from(letter)).wrapping_mul(0x100_0000_01b3));
        let nth = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let count = seen.entry(kind).or_default();
            *count += 1;
            *count
        };
        let mut random = fastrand::Rng::with_seed(self.seed ^ kind ^ nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if random.f64() >= self.rate {
            return Fault::None;
        }
        match random.u8(0..8) {
            0 => Fault::FailBefore(500),
            1 => Fault::FailBefore(503),
            2 => Fault::FailAfter,
            3 => Fault::Throttle,
            4 => Fault::Delay(Duration::from_millis(random.u64(1..50))),
            5 => Fault::Cut,
            6 => Fault::KillAfter,
            _ => Fault::KillFunction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(sequence: u64, function: Option<&str>) -> EngineCall {
        let function = function.map(str::to_owned);
        EngineCall { service: Service::DynamoDb, operation: "GetItem".into(), function, sequence }
    }

    #[test]
    fn a_seed_decides_every_call_again_the_same_way() {
        let decide = |seed: u64| -> Vec<Fault> {
            let faults = Seeded::new(seed, 0.2);
            (0..1000).map(|sequence| faults.decide(&call(sequence, Some("get-job")))).collect()
        };
        assert_eq!(decide(7), decide(7));
        assert_ne!(decide(7), decide(8));
        let faults = decide(7).iter().filter(|fault| **fault != Fault::None).count();
        // What others do in between changes nothing.
        let seeded = Seeded::new(7, 0.2);
        let between = (0..1000).map(|sequence| {
            let _ = seeded.decide(&call(sequence, Some("claim-job")));
            seeded.decide(&call(sequence, Some("get-job")))
        });
        assert_eq!(between.collect::<Vec<_>>(), decide(7));
        assert!((120..280).contains(&faults), "{faults} of 1000 at a rate of 0.2");
    }

    #[test]
    fn clients_are_spared_unless_asked_for() {
        let always = Seeded::new(1, 1.0);
        assert_eq!(always.decide(&call(0, None)), Fault::None);
        assert_ne!(always.with_clients().decide(&call(0, None)), Fault::None);
    }
}
