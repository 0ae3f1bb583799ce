//! EventBridge: functions that are invoked at a rate.

use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    account::{ACCOUNT, REGION},
    clock::Clock,
    lambda::Lambda,
    template::{Function, Schedule},
};

/// Invokes every scheduled function at its rate, until `stop`.
pub(crate) fn start(functions: &[Function], lambda: &Arc<Lambda>, clock: &Clock, stop: &CancellationToken) {
    for function in functions {
        for schedule in function.schedules.clone() {
            let (package, lambda, clock) = (function.package.clone(), Arc::clone(lambda), clock.clone());
            tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
                let mut ticks = tokio::time::interval(schedule.every);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                // The first tick is at once; a new schedule's is one period later.
                ticks.tick().await;
                loop {
                    ticks.tick().await;
                    if let Ok(event) = event(&schedule, &clock) {
                        // A run that failed is in the function's log, and the next one makes up for it.
                        let _ = lambda.invoke(&package, event.to_string().into()).await;
                    }
                }
            }));
        }
    }
}

/// The event of one run.
pub(crate) fn event(schedule: &Schedule, clock: &Clock) -> Result<Value> {
    if let Some(input) = &schedule.input {
        return serde_json::from_str(input).context("the schedule's Input is not JSON");
    }
    let time = OffsetDateTime::from_unix_timestamp(clock.now().div_euclid(1000))?.format(&Rfc3339)?;
    Ok(json!({
        "version": "0",
        "id": Uuid::new_v4(),
        "detail-type": "Scheduled Event",
        "source": schedule.source,
        "account": ACCOUNT,
        "time": time,
        "region": REGION,
        "resources": [],
        "detail": {},
    }))
}
