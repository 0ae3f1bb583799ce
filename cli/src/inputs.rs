//! `jobchute create --input NAME=FILE`: the file is uploaded, and its `uri` stands where the arguments say `"@NAME"`.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde::{
    Deserialize,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Deserializer, json};
use tokio::task::spawn_blocking;

use crate::{
    api::Api,
    digest::digest_aside,
    screen,
    upload::{self, Source, Target},
};

/// Bytes of the arguments that the API takes.
pub(crate) const LARGEST_ARGUMENTS: u64 = 4 << 20;
/// How often the arguments of a job may name inputs.
const MOST_PLACES: usize = 1000;
/// Bytes of an input's `uri`: `jobchute://inputs/` and an id.
const URI: usize = 18 + 36;

/// What the command line says of an input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

/// An input as the API knows it.
#[derive(Deserialize)]
struct Input {
    input_id: String,
    uri: String,
    /// None when its file is there.
    upload: Option<Target>,
}

/// The arguments with the `uri` of each input in its place. Nothing is uploaded where a name or a file is of no use.
pub(crate) async fn in_place(api: &Api, arguments: &str, inputs: &[Named]) -> Result<String> {
    // The API takes a byte order mark, and a reader of JSON does not.
    let arguments = arguments.strip_prefix('\u{feff}').unwrap_or(arguments);
    let places = places(arguments, inputs)?;
    let often = places.len();
    ensure!(
        often <= MOST_PLACES,
        "the arguments name inputs {often} times, and {MOST_PLACES} are as often as a job's may"
    );
    let names: usize = places.iter().map(|(at, _)| at.len()).sum();
    ensure!(
        (arguments.len() - names + often * URI) as u64 <= LARGEST_ARGUMENTS,
        "the arguments are larger than 4 MiB with the inputs in them, as much as a job's may be"
    );
    let mut files = Vec::new();
    for Named { file, .. } in inputs {
        let path = file.clone();
        let opened = spawn_blocking(move || opened(&path)).await?;
        files.push((file, opened?));
    }
    let mut uris = Vec::new();
    for (path, file) in files {
        let uri = uploaded(api, path, file).await;
        uris.push(uri.with_context(|| format!("{} was not uploaded", path.display()))?);
    }
    let (mut replaced, mut done) = (String::new(), 0);
    for (at, input) in places {
        replaced.push_str(&arguments[done..at.start]);
        replaced.push_str(&uris[input]);
        done = at.end;
    }
    replaced.push_str(&arguments[done..]);
    Ok(replaced)
}

/// Opens a regular file. Neither a named pipe that nobody writes to nor a disk that does not answer keeps a signal waiting.
fn opened(path: &Path) -> Result<File> {
    let shown = path.display();
    let unopened = || format!("{shown} can't be opened");
    // A pipe is not opened at all: that would wait for whoever writes to it.
    ensure!(fs::metadata(path).with_context(unopened)?.is_file(), "{shown} is no regular file");
    File::open(path).with_context(unopened)
}

/// Uploads a file, unless it is there: its `uri`. A command that was killed goes on with the parts that are missing.
async fn uploaded(api: &Api, path: &Path, file: File) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str()).context("its name is not UTF-8")?;
    let hashed = file.try_clone()?;
    // Of a file in parts S3 does not check the hash: what is sent has to be what is hashed.
    let file = Source::unchanging(file)?;
    let (size, sha256) = digest_aside(hashed).await?;
    let declared = json!({"filename": name, "size": size, "sha256": sha256}).to_string();
    let Input { input_id, uri, upload: mut rest } = api.json(Method::POST, "/inputs", Some(&declared)).await?;
    let renew = async || {
        let input: Input = api.json(Method::PUT, &format!("/inputs/{input_id}"), None).await?;
        anyhow::Ok(input.upload)
    };
    // The same handle for all of it: what takes the file's place meanwhile is another file.
    let (file, bar) = (Arc::new(file), upload::bar(screen::name(name), size));
    while let Some(target) = rest {
        let in_parts = target.is_in_parts();
        upload::file(api, &file, size, Some(target), renew, &bar).await?;
        // Asking again makes the file of its parts.
        rest = if in_parts { renew().await? } else { None };
    }
    bar.finish_and_clear();
    Ok(uri)
}

/// Where the arguments say `"@NAME"`, without the quotes, and of which input. Each has to be there.
fn places(arguments: &str, inputs: &[Named]) -> Result<Vec<(Range<usize>, usize)>> {
    let by_name: HashMap<_, _> = inputs.iter().enumerate().map(|(at, input)| (input.name.as_str(), at)).collect();
    let mut strings = Vec::new();
    let mut json = Deserializer::from_str(arguments);
    let read = Strings(&mut strings).deserialize(&mut json).and_then(|()| json.end());
    read.context("the arguments are not JSON")?;
    let place = |string: &&str| {
        let input = *by_name.get(string.strip_prefix('@')?)?;
        let start = string.as_ptr().addr() - arguments.as_ptr().addr();
        Some((start..start + string.len(), input))
    };
    let places: Vec<_> = strings.iter().filter_map(place).collect();
    for (at, Named { name, .. }) in inputs.iter().enumerate() {
        ensure!(places.iter().any(|(_, input)| *input == at), "--input {name}: no \"@{name}\" in the arguments");
    }
    Ok(places)
}

/// Collects the strings of a JSON text that stand there as they are, without an escape. Keys are none.
struct Strings<'a, 'de>(&'a mut Vec<&'de str>);

impl<'de> DeserializeSeed<'de> for Strings<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_borrowed_str<E>(self, string: &'de str) -> Result<(), E> {
        self.0.push(string);
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Strings(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_key::<IgnoredAny>()?.is_some() {
            object.next_value_seed(Strings(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(arguments: &str, names: &[&str]) -> Result<Vec<(String, usize)>> {
        let input = |name: &&str| Named { name: (*name).to_owned(), file: PathBuf::new() };
        let places = places(arguments, &names.iter().map(input).collect::<Vec<_>>())?;
        Ok(places.into_iter().map(|(at, input)| (arguments[at].to_owned(), input)).collect())
    }

    #[test]
    fn a_whole_string_is_the_place_of_an_input_and_nothing_else_is() -> Result<()> {
        let arguments =
            r#"{"a":"@model", "@model" : [1e3,"@data",{"é\n":"@model"}],"b":"@model ","c":"see @data","d":"@other"}"#;
        let expected = [("@model", 0), ("@data", 1), ("@model", 0)].map(|(text, input)| (text.to_owned(), input));
        assert_eq!(found(arguments, &["model", "data"])?, expected);
        assert_eq!(found(r#""@a""#, &["a"])?, [("@a".to_owned(), 0)]);
        Ok(())
    }

    #[test]
    fn an_input_that_the_arguments_do_not_name_is_a_mistake() {
        for (arguments, names) in [("{}", &["a"][..]), (r#"{"@a":1}"#, &["a"]), (r#"["@a"]"#, &["a", "b"])] {
            let error = found(arguments, names).expect_err(arguments).to_string();
            assert!(error.ends_with("in the arguments"), "{error}");
        }
        for broken in ["", "{", "{\"a\":NaN}", "[\"@a\"] x"] {
            assert!(found(broken, &["a"]).is_err(), "{broken}");
        }
    }
}
