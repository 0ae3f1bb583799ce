//! Which of a job's output files have arrived: S3's word, not the miner's.

use std::{collections::BTreeMap, fmt::Write};

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    job::{Job, OutputFile},
    lifecycle::{ROOM_FOR_DETAIL, Status},
    outputs::{Object, Outputs, Unwrapped, Upload},
    uploads,
};

/// Files looked at at the same time.
const AT_ONCE: usize = 32;
/// The longest media type that is recorded; completing keeps to the room that the report made.
const LONGEST_TYPE: usize = 60;

/// What became of one file.
enum Arrival {
    /// It is there.
    Arrived(Object, Option<String>),
    /// It is not, and perhaps more is known.
    Missing(Option<String>),
}

/// Looks at every file that the job expects: opens envelopes, assembles parts, and records what is there. `threshold` is the
/// size above which a declared file comes in parts. Everything done is done for good, so a repeat goes on from there.
pub async fn check_files(outputs: &Outputs, job: &mut Job, threshold: u64) -> Result<()> {
    let files = job.files.take().unwrap_or_default();
    let prefix = job.files_prefix();
    let objects = if files.is_empty() { BTreeMap::new() } else { outputs.list(&prefix).await? };
    let key = |file: &OutputFile| format!("{prefix}{}", file.filename);
    let in_parts = |file: &OutputFile| file.size.is_some_and(|size| size > threshold);
    let waiting = files.values().any(|file| in_parts(file) && !objects.contains_key(&key(file)));
    let parts = if waiting { outputs.uploads(&prefix).await? } else { BTreeMap::new() };

    let mut checks = Vec::with_capacity(files.len());
    for (file_id, file) in files {
        let key = key(&file);
        let object = objects.get(&key).cloned();
        let parts = parts.get(&key).map(Vec::as_slice).unwrap_or_default();
        checks.push(check(outputs, key, file_id, file, object, parts));
    }
    let checked: Vec<(Uuid, OutputFile, Option<String>)> =
        stream::iter(checks).buffer_unordered(AT_ONCE).try_collect().await?;

    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    for (_, file, note) in checked.iter().filter(|(_, file, _)| !file.uploaded) {
        missing.push(file.filename.clone());
        notes.extend(note.clone());
    }
    missing.sort();
    notes.sort();
    job.files = Some(checked.into_iter().map(|(file_id, file, _)| (file_id, file)).collect());
    settle(job, &missing, &notes);
    Ok(())
}

/// Looks at one file and writes down what was found; the note is for the owner when it is missing.
async fn check(
    outputs: &Outputs,
    key: String,
    file_id: Uuid,
    mut file: OutputFile,
    object: Option<Object>,
    parts: &[Upload],
) -> Result<(Uuid, OutputFile, Option<String>)> {
    let arrival = match object {
        Some(object) if file.is_declared() => match file.size.is_none_or(|size| size == object.size) {
            true => Arrival::Arrived(object, None),
            false => Arrival::Missing(None),
        },
        Some(object) => match outputs.unwrap(&key, object).await? {
            Unwrapped::File(object, content_type) => Arrival::Arrived(object, content_type),
            Unwrapped::CutShort => Arrival::Missing(Some(format!("The upload of {} was cut short", file.filename))),
            // Another look at the same time took it out of its envelope: what it has put there, the repeat finds.
            Unwrapped::Gone => return Err(Error::busy("check: GetObject", "the object changed meanwhile")),
        },
        None => assemble(outputs, &file, parts).await?,
    };
    let note = record(&mut file, arrival);
    Ok((file_id, file, note))
}

/// Makes the object out of the parts of the first upload that has them all.
async fn assemble(outputs: &Outputs, file: &OutputFile, uploads: &[Upload]) -> Result<Arrival> {
    let mut note = None;
    for upload in uploads {
        let arrived = outputs.parts(upload).await?;
        let missing = uploads::missing_parts(file, &arrived);
        if missing.is_empty() {
            return Ok(Arrival::Arrived(outputs.assemble(upload, arrived).await?, None));
        }
        let numbers: Vec<_> = missing.iter().map(|part| part.number).collect();
        note = Some(format!("Parts of {} that are missing: {}", file.filename, spans(&numbers)));
    }
    Ok(Arrival::Missing(note))
}

fn record(file: &mut OutputFile, arrival: Arrival) -> Option<String> {
    match arrival {
        Arrival::Arrived(object, content_type) => {
            file.uploaded = true;
            file.size = Some(object.size);
            // The version says it all, where there is one.
            file.etag = if object.version_id.is_none() { object.etag } else { None };
            file.version_id = object.version_id;
            let content_type = content_type.filter(|kind| kind.len() <= LONGEST_TYPE);
            file.content_type = file.content_type.take().or(content_type);
            None
        }
        Arrival::Missing(note) => {
            file.uploaded = false;
            note
        }
    }
}

/// What the files make of the job.
fn settle(job: &mut Job, missing: &[String], notes: &[String]) {
    if job.status == Status::CompletePendingUploads {
        job.status = if missing.is_empty() { Status::Complete } else { Status::PartialFailure };
    }
    if missing.is_empty() {
        return;
    }
    let mut detail = job.error_detail.take().map(|detail| detail + "\n").unwrap_or_default();
    let most = detail.len() + ROOM_FOR_DETAIL - 100;
    detail.push_str("Failed to upload files: ");
    detail.push_str(&missing.join(", "));
    for note in notes {
        detail.push('\n');
        detail.push_str(note);
    }
    if detail.len() > most {
        detail.truncate(detail.floor_char_boundary(most));
        detail.push('…');
    }
    job.error_detail = Some(detail);
}

/// `1, 3-5` for 1, 3, 4, 5.
fn spans(numbers: &[i32]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = match run {
            [one] => write!(text, "{separator}{one}"),
            [first, .., last] => write!(text, "{separator}{first}-{last}"),
            [] => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_span() {
        assert_eq!(spans(&[1, 3, 4, 5, 9, 10]), "1, 3-5, 9-10");
        assert_eq!(spans(&[]), "");
    }
}
