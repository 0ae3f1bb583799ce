//! The read of a caller, beside whatever else an endpoint needs.

use uuid::Uuid;

use super::credentials::{Caller, Credentials, Kind};
use crate::{
    error::Result,
    model::User,
    tables::{Found, Read, Tables},
};

impl Credentials {
    /// Reads the caller beside everything asked for so far: one round trip, and a second for hotkeys, whose user is not
    /// known before. `per_user` asks for what depends on the user.
    pub async fn caller_beside(
        self,
        tables: &Tables,
        read: Read,
        per_user: impl Fn(&mut Read, Uuid),
    ) -> Result<(Caller, Found)> {
        let (caller, found, _) = self.caller_and(tables, read, per_user, async |_| ()).await?;
        Ok((caller, found))
    }

    /// The same, and beside it begins what costs more than the read of an item, such as a query, though not for somebody who turns out
    /// to be nobody. Anybody can make up an API key, or a hotkey that signs well. So for a JWT it is begun beside the first read, for
    /// a hotkey beside the second, and for an API key not at all: the endpoint begins it then, one round trip later. (A key with an
    /// HMAC in it could be refused offline. But each function would need the secret, which is one more call in each cold start.)
    pub async fn caller_and<T>(
        self,
        tables: &Tables,
        mut read: Read,
        per_user: impl Fn(&mut Read, Uuid),
        begin: impl AsyncFnOnce(Uuid) -> T,
    ) -> Result<(Caller, Found, Option<T>)> {
        self.ask(&mut read);
        if let Some(user_id) = self.user_id() {
            per_user(&mut read, user_id);
        }
        let read = read.run(tables);
        let (found, begun) = match self.kind() {
            Kind::UserJwt(user_id) => {
                let (found, begun) = tokio::join!(read, begin(user_id));
                (found?, Some(begun))
            }
            Kind::ApiKey => (read.await?, None),
            Kind::Hotkey => {
                let mut found = read.await?;
                let user_id = self.hotkey_user(&found)?;
                let mut read = Read::default();
                read.row::<User>(&user_id);
                per_user(&mut read, user_id);
                let (more, begun) = tokio::join!(read.run(tables), begin(user_id));
                found.add(more?);
                (found, Some(begun))
            }
        };
        Ok((self.caller(&found)?, found, begun))
    }
}
