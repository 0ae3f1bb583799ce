//! The read of a caller, beside whatever else an endpoint needs.

use uuid::Uuid;

use super::credentials::{Caller, Credentials};
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
        mut read: Read,
        per_user: impl Fn(&mut Read, Uuid),
    ) -> Result<(Caller, Found)> {
        self.ask(&mut read);
        if let Some(user_id) = self.user_id() {
            per_user(&mut read, user_id);
        }
        let mut found = read.run(tables).await?;
        if let Some(user_id) = self.hotkey_user(&found)? {
            let mut read = Read::default();
            read.row::<User>(&user_id);
            per_user(&mut read, user_id);
            found.add(read.run(tables).await?);
        }
        Ok((self.caller(&found)?, found))
    }
}
