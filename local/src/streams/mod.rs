//! Streams of tables, and the functions that are invoked with what they bring ("Using AWS Lambda with Amazon DynamoDB"). A table has one shard
//! here. A write wakes its readers; a stack in which nothing is written does nothing.

pub(crate) mod filter;
mod lane;
mod positions;
mod records;
mod schema;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{lambda::Lambda, template::Function};
use lane::Lane;
use positions::Positions;
pub(crate) use records::Records;
pub(crate) use schema::prepare;

/// The readers that run.
#[derive(Debug)]
pub(crate) struct Streams {
    records: Records,
    delivered: Vec<watch::Receiver<u64>>,
}

impl Streams {
    /// Starts the readers of every function, each where it was in `folder` the last time.
    pub(crate) fn start(
        functions: &[Function],
        records: &Records,
        lambda: &Arc<Lambda>,
        stop: &CancellationToken,
        folder: Option<&Path>,
    ) -> Result<Self> {
        let sources = functions.iter().flat_map(|function| &function.event_sources).map(|source| source.id.as_str());
        let positions = Arc::new(Positions::open(folder, &sources.collect())?);
        let mut delivered = Vec::new();
        for function in functions {
            for source in &function.event_sources {
                // Also where it is not needed: a stream that can't be read stops the start.
                let last = records.last(&source.table)?;
                let position = match positions.of(&source.id) {
                    Some(position) => position,
                    None if source.from_the_first => None,
                    None => last,
                };
                positions.begin(&source.id, source.lanes, position.as_deref())?;
                let source = Arc::new(source.clone());
                for number in 0..source.lanes {
                    let (sender, receiver) = watch::channel(0);
                    let lane = Lane {
                        number,
                        package: function.package.clone(),
                        source: Arc::clone(&source),
                        records: records.clone(),
                        lambda: Arc::clone(lambda),
                        positions: Arc::clone(&positions),
                        stop: stop.clone(),
                        delivered: sender,
                    };
                    delivered.push(receiver);
                    tokio::spawn(stop.clone().run_until_cancelled_owned(lane.run(position.clone())));
                }
            }
        }
        // Records from before are due now.
        records.wake();
        Ok(Self { records: records.clone(), delivered })
    }

    /// Waits until every record that there is now was delivered.
    pub(crate) async fn at_rest(&self) {
        let writes = *self.records.written().borrow();
        for delivered in &self.delivered {
            // A reader that ended has delivered what it could.
            let _ = delivered.clone().wait_for(|delivered| *delivered >= writes).await;
        }
    }

    /// Removes expired items now.
    pub(crate) async fn expire(&self) -> Result<usize> {
        self.records.expire().await
    }
}
