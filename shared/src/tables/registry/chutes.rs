//! Chutes. One whose owner is disabled takes no new jobs.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::store::Registry;
use crate::{
    error::Result,
    model::{Chute, User},
    tables::read::{Found, Read},
    time::Timestamp,
};

/// Chutes that are remembered.
const REMEMBERED: usize = 1000;
/// Seconds for which a process need not read a chute again to tell a miner where its jobs wait.
const SEEN: i64 = 60;

impl Registry {
    /// Creates or replaces a chute; false when the one that is there is busy and this one is not.
    pub async fn put_chute(&self, chute: &Chute) -> Result<bool> {
        if chute.busy {
            return self.put(&chute.chute_id, chute).await.map(|()| true);
        }
        let not_busy = "attribute_not_exists(pk) OR #v <= :v AND (attribute_not_exists(busy) OR busy = :busy)";
        let request = self.tables.client.put_item().condition_expression(not_busy);
        let request = request.expression_attribute_values(":busy", AttributeValue::Bool(false));
        self.replace(request, &chute.chute_id, chute).await
    }

    /// Asks for the chute, and beside it for its owner's account, for [`Self::chute_open_to`]. Whose the chute is, is in its row;
    /// so the first request of a process about somebody else's chute makes a read more, and no other does.
    pub fn ask_chute(&self, read: &mut Read, chute_id: Uuid) {
        read.row::<Chute>(&chute_id);
        if let Some(owner) = self.owners().get(&chute_id) {
            read.row::<User>(owner);
        }
    }

    /// The chute, when this user may create jobs on it and its owner is not disabled. What is remembered is only whose account to
    /// read: that account tells whether it is disabled, each time.
    pub async fn chute_open_to(&self, user: &User, chute_id: Uuid, found: &Found) -> Result<Option<Chute>> {
        let chute = found.row::<Chute>(&chute_id)?.filter(|chute| chute.is_open_to(user.user_id));
        let Some(chute) = chute else { return Ok(None) };
        if chute.user_id == user.user_id {
            return Ok(Some(chute));
        }
        self.remember_owner(&chute);
        let owner = match found.row::<User>(&chute.user_id)? {
            Some(owner) => Some(owner),
            None => {
                let mut read = Read::default();
                read.row::<User>(&chute.user_id);
                read.run(&self.tables).await?.row::<User>(&chute.user_id)?
            }
        };
        Ok(owner.filter(|owner| !owner.disabled).map(|_| chute))
    }

    /// Asks for a chute whose jobs a miner looks for, unless this process has read it a moment ago: a miner without work asks several times
    /// a minute, and all that matters to it is that there is such a chute, and whether it is busy. One that becomes so is asked in all its
    /// shards a minute later.
    pub fn ask_queue(&self, read: &mut Read, chute_id: Uuid, now: Timestamp) {
        if self.seen_lately(chute_id, now).is_none() {
            read.row::<Chute>(&chute_id);
        }
    }

    /// The chute, for [`Self::ask_queue`].
    pub fn queue(&self, found: &Found, chute_id: Uuid, now: Timestamp) -> Result<Option<Chute>> {
        let Some(chute) = found.row::<Chute>(&chute_id)? else { return Ok(self.seen_lately(chute_id, now)) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.retain(|_, (at, _)| is_lately(*at, now));
        }
        // What this very request goes by is not forgotten for another one.
        if seen.len() < REMEMBERED {
            seen.insert(chute_id, (now, chute.clone()));
        }
        Ok(Some(chute))
    }

    fn seen_lately(&self, chute_id: Uuid, now: Timestamp) -> Option<Chute> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, chute) = seen.get(&chute_id)?;
        is_lately(*at, now).then(|| chute.clone())
    }

    fn remember_owner(&self, chute: &Chute) {
        let mut owners = self.owners();
        if owners.len() >= REMEMBERED {
            owners.clear();
        }
        owners.insert(chute.chute_id, chute.user_id);
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<Uuid, Uuid>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_lately(at: Timestamp, now: Timestamp) -> bool {
    (0..SEEN).contains(&(now.seconds() - at.seconds()))
}
