//! What a command has left in its output folder.

use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

use crate::{
    beneath::{Entry, Root, Unusable},
    digest::{LARGEST_FILE, digest},
    screen,
};

/// Files of one job.
const MOST_FILES: usize = 1000;
/// Bytes of all files of one job, whatever the API takes: 1 PiB. To be read twice, as they are to be hashed and sent, in the 30 days that a
/// job has at most, they would have to be read at 870 MB/s.
const MOST_BYTES: u64 = 1 << 50;
/// Entries of the folder that are looked at.
const MOST_ENTRIES: usize = 100_000;
/// Bytes of a path that no name of an output can have, so that nothing below it is one either.
const LONGEST_NAME: usize = 926;
/// Bytes of what is told of the skipped.
const LONGEST_LIST: usize = 6 << 10;

/// A file to be delivered, as the miner declares it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Output {
    /// Relative, with slashes.
    pub(crate) filename: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// What is in the folder and not delivered.
#[derive(Debug, PartialEq)]
pub(crate) struct Skipped {
    pub(crate) path: String,
    pub(crate) reason: String,
    /// It may hold something that is nowhere else.
    pub(crate) is_file: bool,
}

impl Skipped {
    /// A file, or more of them.
    fn files(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.to_string_lossy().into_owned(), reason: reason.to_string(), is_file: true }
    }

    fn unusable(path: &Path, why: Unusable) -> Self {
        Self { is_file: matches!(why, Unusable::Failed(_)), ..Self::files(path, why) }
    }
}

/// The folder's name in the command's part of a job's folder.
pub(crate) const OUTPUT: &str = "output";

/// Opens the output folder. The command may have put something else in its place.
pub(crate) fn open(job: &Path) -> Result<Root, Unusable> {
    Root::open(job).map_err(Unusable::Failed)?.below(OUTPUT)
}

/// Every file in the output folder and below, and what there is that is none. Hashes them: it takes its time, until it is stopped.
pub(crate) fn find(job: &Path, is_stopped: &AtomicBool) -> (Vec<Output>, Vec<Skipped>) {
    let root = match open(job) {
        Ok(root) => root,
        Err(why) => return (Vec::new(), vec![Skipped::unusable(Path::new("JOBCHUTE_OUTPUT"), why)]),
    };
    let (mut names, mut skipped) = names(&root);
    names.sort();
    for name in names.split_off(names.len().min(MOST_FILES)) {
        skipped.push(Skipped::files(Path::new(&name), format_args!("a job has at most {MOST_FILES} files")));
    }
    leave_out_largest(&mut names, &mut skipped, |name| {
        let size = root.file(Path::new(name)).ok().and_then(|file| Some(file.metadata().ok()?.len()));
        // What is larger than a file may be is not hashed.
        size.filter(|size| *size <= LARGEST_FILE).unwrap_or(0)
    });
    let mut found = Vec::new();
    for filename in names {
        if is_stopped.load(Ordering::Relaxed) {
            break;
        }
        // The same rules hold again when it is sent. Its handle is not kept: a thousand are more than a process may have open.
        let hashed = root.file(Path::new(&filename));
        match hashed.and_then(|file| digest(file, is_stopped).map_err(Unusable::Failed)) {
            Ok((size, sha256)) => found.push(Output { filename, size, sha256 }),
            Err(why) => skipped.push(Skipped::unusable(Path::new(&filename), why)),
        }
    }
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    (found, skipped)
}

/// Takes out as many of the largest files as it takes for the others to be no more than can be delivered.
fn leave_out_largest(names: &mut Vec<String>, skipped: &mut Vec<Skipped>, size: impl Fn(&str) -> u64) {
    let mut sizes: Vec<_> = names.drain(..).map(|name| (size(&name), name)).collect();
    sizes.sort_by_key(|(size, _)| Reverse(*size));
    let mut all: u64 = sizes.iter().map(|(size, _)| size).sum();
    for (size, name) in sizes {
        if all > MOST_BYTES {
            let reason = format_args!("the files have more than {MOST_BYTES} bytes together");
            skipped.push(Skipped::files(Path::new(&name), reason));
            all -= size;
        } else {
            names.push(name);
        }
    }
    names.sort();
}

/// The names of what can be opened, and what cannot.
fn names(root: &Root) -> (Vec<String>, Vec<Skipped>) {
    let (mut folders, mut names, mut skipped, mut seen) = (vec![PathBuf::new()], Vec::new(), Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        let entries = match root.entries(&folder) {
            Ok(entries) => entries,
            Err(why) => {
                skipped.push(Skipped::unusable(&folder, why));
                continue;
            }
        };
        for entry in entries {
            seen += 1;
            if seen > MOST_ENTRIES {
                skipped
                    .push(Skipped::files(&folder, format_args!("more than {MOST_ENTRIES} entries: no more looked at")));
                return (names, skipped);
            }
            let (path, kind) = match entry {
                Ok((name, kind)) => (folder.join(name), kind),
                Err(why) => {
                    skipped.push(Skipped::unusable(&folder, why));
                    break;
                }
            };
            match (kind, path.to_str()) {
                _ if path.as_os_str().len() > LONGEST_NAME => {
                    skipped.push(Skipped::files(&path, format_args!("its name is longer than {LONGEST_NAME} bytes")));
                }
                (_, None) => skipped.push(Skipped::files(&path, "its name is not UTF-8")),
                (Entry::Folder, _) => folders.push(path),
                (Entry::Other, Some(name)) => match root.file(&path) {
                    Ok(_) => names.push(name.to_owned()),
                    Err(why) => skipped.push(Skipped::unusable(&path, why)),
                },
            }
        }
    }
    (names, skipped)
}

/// What is told of the skipped, a line each, as far as there is room; empty when nothing was skipped.
pub(crate) fn told(skipped: &[Skipped]) -> String {
    let mut text = String::new();
    for (told, Skipped { path, reason, .. }) in skipped.iter().enumerate() {
        let line = format!("not delivered: {}: {reason}\n", screen::name(path));
        if text.len() + line.len() > LONGEST_LIST {
            text += &format!("not delivered: {} more\n", skipped.len() - told);
            break;
        }
        text += &line;
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
        process::Command,
    };

    use super::*;

    fn names_and_reasons(folder: &Path) -> (Vec<String>, Vec<(String, String)>) {
        let (found, skipped) = find(folder, &AtomicBool::new(false));
        let skipped = skipped.into_iter().map(|Skipped { path, reason, .. }| (path, reason));
        (found.into_iter().map(|output| output.filename).collect(), skipped.collect())
    }

    #[test]
    fn regular_files_inside_are_found_and_everything_else_is_named() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        let folder = outer.path().join("output");
        fs::create_dir_all(folder.join("sub/deeper"))?;
        fs::write(outer.path().join("secret"), "secret")?;
        fs::write(folder.join("sub/deeper/file"), "content")?;
        fs::write(folder.join("plain"), "")?;
        for (target, link) in [
            ("sub/deeper/file", "inside"),
            ("../plain", "sub/up"),
            ("inside", "sub/../chain"),
            ("sub/linked/../../sub/deeper/file", "winding"),
            ("../secret", "out"),
            ("../output/plain", "out-and-in"),
            ("sub", "folder"),
            ("deeper", "sub/linked"),
            (".", "self"),
            ("nowhere", "dangling"),
            ("loop", "loop"),
            ("/dev/zero", "endless"),
            ("/etc/passwd", "absolute-out"),
        ] {
            symlink(target, folder.join(link))?;
        }
        symlink(folder.canonicalize()?.join("plain"), folder.join("absolute-in"))?;
        symlink(folder.canonicalize()?.join("../secret"), folder.join("absolute-up"))?;
        assert!(Command::new("mkfifo").arg(folder.join("fifo")).status()?.success());
        let _socket = UnixListener::bind(folder.join("socket"))?;
        fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xff")), "")?;

        let (found, skipped) = names_and_reasons(outer.path());
        let files = ["absolute-in", "chain", "inside", "plain", "sub/deeper/file", "sub/up", "winding"];
        assert_eq!(found, files);
        let out = "a link out of the folder";
        let expected = [
            ("absolute-out", out),
            ("absolute-up", out),
            ("dangling", "a link to nothing"),
            ("endless", out),
            ("fifo", "a named pipe"),
            ("folder", "a link to a folder"),
            ("loop", "too many links"),
            ("out", out),
            ("out-and-in", out),
            ("self", "a link to a folder"),
            ("socket", "a socket"),
            ("sub/linked", "a link to a folder"),
            ("\u{fffd}", "its name is not UTF-8"),
        ];
        assert_eq!(skipped, expected.map(|(path, reason)| (path.to_owned(), reason.to_owned())));
        Ok(())
    }

    #[test]
    fn something_else_in_the_folders_place_is_not_looked_into() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        symlink("/etc", outer.path().join(OUTPUT))?;
        let (found, skipped) = names_and_reasons(outer.path());
        assert!(found.is_empty() && skipped.len() == 1 && skipped[0].0 == "JOBCHUTE_OUTPUT", "{skipped:?}");
        Ok(())
    }

    #[test]
    fn a_thousand_files_are_delivered_and_the_others_are_named() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        let folder = outer.path().join(OUTPUT);
        fs::create_dir(&folder)?;
        for number in 0..1003 {
            fs::write(folder.join(format!("{number:04}")), "")?;
        }
        let (found, skipped) = find(outer.path(), &AtomicBool::new(false));
        assert_eq!((found.len(), found[999].filename.as_str()), (1000, "0999"));
        let told = told(&skipped);
        assert!(told.starts_with("not delivered: 1000: a job has at most 1000 files\n"), "{told}");
        assert_eq!(told.lines().count(), 3);
        Ok(())
    }

    #[test]
    fn of_more_than_anybody_can_deliver_the_largest_are_left_out() {
        let sizes = |name: &str| if name.starts_with("small") { 1 } else { 1 << 40 };
        let mut names: Vec<_> = (0..1000).map(|number| format!("{number:03}")).collect();
        let mut skipped = Vec::new();
        leave_out_largest(&mut names, &mut skipped, sizes);
        assert_eq!((names.len(), skipped.len()), (1000, 0));
        names.extend((0..30).flat_map(|number| [format!("large{number:02}"), format!("small{number:02}")]));
        leave_out_largest(&mut names, &mut skipped, sizes);
        assert_eq!((names.len(), skipped.len()), (1053, 7), "1,024 and the small ones are a byte too much for each");
        assert!(
            names.is_sorted() && skipped.iter().all(|it| it.is_file && it.reason.contains("1125899906842624 bytes"))
        );
    }

    #[test]
    fn nothing_is_hashed_that_nobody_waits_for() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        fs::create_dir(outer.path().join(OUTPUT))?;
        fs::write(outer.path().join(OUTPUT).join("file"), "")?;
        assert_eq!(find(outer.path(), &AtomicBool::new(true)), (Vec::new(), Vec::new()));
        Ok(())
    }

    #[test]
    fn a_folder_too_deep_for_any_name_is_named_once() -> io::Result<()> {
        let outer = tempfile::tempdir()?;
        let folder = outer.path().join(OUTPUT);
        let deep: PathBuf = std::iter::repeat_n("d".repeat(100), 12).collect();
        fs::create_dir_all(folder.join(&deep))?;
        fs::write(folder.join(&deep).join("file"), "")?;
        fs::write(folder.join("near"), "")?;
        let (found, skipped) = names_and_reasons(outer.path());
        assert_eq!(found, ["near"]);
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].1, "its name is longer than 926 bytes");
        Ok(())
    }

    #[test]
    fn what_is_told_of_the_skipped_has_a_bound() {
        let skipped: Vec<_> = (0..10_000).map(|number| Skipped::files(Path::new(&number.to_string()), "odd")).collect();
        let told = told(&skipped);
        assert!(told.len() < LONGEST_LIST + 100 && told.ends_with(" more\n"), "{told}");
        assert!(super::told(&[Skipped::files(Path::new("a\u{202e}\n"), "odd")]).contains("a\\u{202e}\\n: odd"));
    }
}
