//! The inputs that a new job's arguments name.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use indexmap::IndexMap;
use serde_json::Value;
use shared::{
    App, Error, Result,
    error::Invalid,
    model::{Input, Inputs, OutputFile, mention::each_mention},
    tables::Read,
    time::Timestamp,
};
use uuid::Uuid;

/// Inputs that a job names. One read of the table takes as many rows.
const MOST_INPUTS: usize = 100;
/// How often the arguments name inputs. Each time becomes a URL with a token, which a claim has in memory.
const MOST_MENTIONS: usize = 1000;
/// Inputs looked at at the same time.
const AT_ONCE: usize = 16;

/// The user's inputs that the arguments name, as they are now. 422 says where each is first named that is not there; that it is somebody
/// else's is nobody's business. Arguments without inputs cost nothing.
pub(crate) async fn named(app: &App, user_id: Uuid, arguments: &str, now: Timestamp) -> Result<Inputs> {
    let (mut places, mut mentions, mut too_much) = (IndexMap::new(), 0, None);
    each_mention(arguments, |mention| {
        mentions += 1;
        let is_new = !places.contains_key(&mention.input_id);
        let place = || [vec!["body".into()], mention.path()].concat();
        let problem = match (mentions > MOST_MENTIONS, is_new && places.len() == MOST_INPUTS) {
            (true, _) => "A job's arguments name inputs 1,000 times at most",
            (false, true) => "A job has at most 100 inputs",
            (false, false) => {
                places.entry(mention.input_id).or_insert_with(place);
                return;
            }
        };
        if too_much.is_none() {
            too_much = Some(invalid(mention.input_id, &place(), problem));
        }
    });
    if let Some(too_much) = too_much {
        return Err(too_much.into());
    }
    if places.is_empty() {
        return Ok(Inputs::new());
    }
    let mut read = Read::default();
    for input_id in places.keys() {
        read.row::<Input>(&(user_id, *input_id));
    }
    let found = read.run(&app.tables).await?;
    let mut looks = Vec::new();
    for input_id in places.keys().copied() {
        let input = found.row::<Input>(&(user_id, input_id))?.filter(|input| input.is_live(now));
        looks.push(async move { Ok::<_, Error>((input_id, look(app, user_id, input_id, input).await?)) });
    }
    let mut inputs = Inputs::new();
    let mut problems = HashMap::new();
    let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
    while let Some(looked) = looks.next().await {
        match looked? {
            (input_id, Ok(file)) => drop(inputs.insert(input_id, file)),
            (input_id, Err(problem)) => drop(problems.insert(input_id, problem)),
        }
    }
    let places = places.iter();
    let wrong = places.filter_map(|(input_id, place)| Some(invalid(*input_id, place, problems.get(input_id)?)));
    let wrong: Vec<_> = wrong.collect();
    if wrong.is_empty() { Ok(inputs) } else { Err(Error::Invalid(wrong)) }
}

/// The file as it is there; or why it is of no use.
async fn look(
    app: &App,
    user_id: Uuid,
    input_id: Uuid,
    input: Option<Input>,
) -> Result<Result<OutputFile, &'static str>> {
    let Some(Input { file, .. }) = input else { return Ok(Err("There is no such input, or it has expired")) };
    let object = app.bucket()?.input(&Input::key(user_id, input_id, &file.filename), &file).await?;
    Ok(match object {
        None => Err("The input has not been uploaded, or not whole"),
        Some(object) => {
            Ok(OutputFile { uploaded: true, part_size: None, cut: None, version_id: object.version_id, ..file })
        }
    })
}

fn invalid(input_id: Uuid, place: &[Value], message: &'static str) -> Invalid {
    Invalid::value(place.to_vec(), message, Input::uri(input_id).into())
}
