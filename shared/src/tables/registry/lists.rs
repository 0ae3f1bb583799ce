//! Lists of rows, by the index `by_user`: it has the keys of what users own, so that counters and used signatures, of which there
//! are many more, are not read. The rows themselves are read from the table, strongly consistent: a key that was revoked a moment
//! ago shows as revoked.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::store::Registry;
use crate::{
    error::{Context, Error, Result},
    item::{Item, text},
    tables::{read::Read, row::Row},
};

const INDEX: &str = "by_user";
/// Index entries that one call reads. An entry has some 150 bytes.
const READ: i32 = 1000;
/// Calls that a page makes at most: when so many rows are of other kinds, it is answered as it is.
const MOST_CALLS: usize = 10;

/// Rows with their ids, and where the next page begins when there is more.
pub type RowList<T> = (Vec<(String, T)>, Option<String>);

/// A place in the index.
#[derive(Clone)]
struct Place {
    user_id: String,
    pk: String,
}

impl Registry {
    /// A page of the rows of a kind: a user's, by a query; everybody's, by a scan of the index, in no particular order. At most 100,
    /// which is as many as one read takes. `cursor` is where the page before ended; 422 when it is of another list.
    pub async fn list<T: Row>(&self, of: Option<Uuid>, limit: u32, cursor: Option<&str>) -> Result<RowList<T>> {
        let place = |cursor| Place::parse::<T>(cursor, of).ok_or_else(|| Error::no_cursor(cursor));
        let mut after = cursor.map(place).transpose()?;
        let mut places = Vec::new();
        for _ in 0..MOST_CALLS {
            let (found, end) = match of {
                Some(user_id) => self.query::<T>(user_id, after.as_ref()).await?,
                None => self.scan::<T>(after.as_ref()).await?,
            };
            places.extend(found.iter().filter_map(Place::of));
            after = end.as_ref().and_then(Place::of);
            if places.len() >= limit as usize || after.is_none() {
                break;
            }
        }
        if places.len() > limit as usize {
            places.truncate(limit as usize);
            after = places.last().cloned();
        }
        Ok((self.rows(&places).await?, after.map(|place| place.show())))
    }

    async fn query<T: Row>(&self, user_id: Uuid, after: Option<&Place>) -> Result<(Vec<Item>, Option<Item>)> {
        let request = self.tables.client.query().table_name(&self.tables.registry).index_name(INDEX).limit(READ);
        let request = request
            .key_condition_expression("user_id = :user AND begins_with(pk, :kind)")
            .expression_attribute_values(":user", text(user_id.to_string()))
            .expression_attribute_values(":kind", text(T::KIND))
            .set_exclusive_start_key(after.map(Place::key));
        let answer = request.send().await.context("registry: Query")?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    async fn scan<T: Row>(&self, after: Option<&Place>) -> Result<(Vec<Item>, Option<Item>)> {
        let request = self.tables.client.scan().table_name(&self.tables.registry).index_name(INDEX).limit(READ);
        let request = request
            .filter_expression("begins_with(pk, :kind)")
            .expression_attribute_values(":kind", text(T::KIND))
            .set_exclusive_start_key(after.map(Place::key));
        let answer = request.send().await.context("registry: Scan")?;
        Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key))
    }

    /// The rows, but for those that this release cannot read: they keep nobody from the others, and the log has them.
    async fn rows<T: Row>(&self, places: &[Place]) -> Result<Vec<(String, T)>> {
        let mut read = Read::default();
        places.iter().for_each(|place| read.key(place.pk.clone()));
        let found = read.run(&self.tables).await?;
        let row = |place: &Place| match found.by_key::<T>(&place.pk) {
            Ok(row) => Some((place.pk.strip_prefix(T::KIND)?.to_owned(), row?)),
            Err(error) => {
                tracing::error!(cause = ?error.cause(), kind = T::KIND, "a row is not listed");
                None
            }
        };
        Ok(places.iter().filter_map(row).collect())
    }
}

impl Place {
    fn of(item: &Item) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
        Some(Self { user_id: text("user_id")?, pk: text("pk")? })
    }

    /// Of a user's list, only what is in it.
    fn parse<T: Row>(cursor: &str, of: Option<Uuid>) -> Option<Self> {
        let (user_id, pk) = cursor.split_once('.')?;
        let user_id = Uuid::try_parse(user_id).ok()?;
        let fits = of.is_none_or(|of| of == user_id && pk.starts_with(T::KIND)) && !pk.is_empty();
        fits.then(|| Self { user_id: user_id.to_string(), pk: pk.to_owned() })
    }

    fn show(&self) -> String {
        format!("{}.{}", self.user_id, self.pk)
    }

    fn key(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([("user_id".to_owned(), text(&self.user_id)), ("pk".to_owned(), text(&self.pk))])
    }
}
