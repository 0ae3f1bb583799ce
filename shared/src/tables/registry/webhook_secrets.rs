//! The rows of webhook secrets.

use uuid::Uuid;

use super::store::{Changed, Registry};
use crate::{
    error::{Error, Result},
    item::{Condition, Transition, text},
    model::WebhookSecret,
    time::Timestamp,
};

impl Registry {
    /// The user's secret; made now, where there is none yet.
    pub async fn webhook_secret(&self, user_id: Uuid) -> Result<WebhookSecret> {
        for _ in 0..2 {
            if let Some(secret) = self.get::<WebhookSecret>(&user_id).await? {
                return Ok(secret);
            }
            let secret = WebhookSecret::generate();
            if self.create(&user_id, &secret).await? {
                return Ok(secret);
            }
        }
        Err(Error::unavailable("webhook secret", "somebody makes and removes it"))
    }

    /// Puts a new secret in the place of the user's, which signs on for a while.
    pub async fn replace_webhook_secret(&self, user_id: Uuid, now: Timestamp) -> Result<WebhookSecret> {
        let mut there = self.webhook_secret(user_id).await?;
        for _ in 0..8 {
            let read = text(&*there.secret);
            let new = there.replaced(now);
            let change = Transition::default()
                .when(Condition::Is("secret", read))
                .set("secret", text(&*new.secret))
                .set("former", new.former_attribute()?);
            match self.change::<WebhookSecret>(&user_id, change).await? {
                Changed::Made => return Ok(new),
                Changed::Refused(changed) => there = changed,
                Changed::Missing => there = self.webhook_secret(user_id).await?,
            }
        }
        Err(Error::unavailable("webhook secret", "others replace it all the time"))
    }
}
