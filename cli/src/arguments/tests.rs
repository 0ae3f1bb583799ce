//! What is read of a command line, and what is refused.

use super::*;

const ID: &str = "3f0a1f6e-0000-4000-8000-000000000001";

fn parsed(arguments: &[&str]) -> Result<Command, Error> {
    let line = read(["jobchute"].iter().chain(arguments))?;
    line.command.ok_or_else(|| definition().error(ErrorKind::MissingSubcommand, ""))
}

#[test]
fn the_definition_holds_together() {
    definition().debug_assert();
}

#[test]
fn what_follows_two_dashes_is_the_miners_command() {
    let options = ["work", "--chute", ID, "--once"];
    let program = ["python", "train.py", "--epochs=3", "--json", "--", "-x"];
    let expected = Command::Work(Work {
        chutes: vec![id(ID).expect("an id")],
        once: true,
        resume: None,
        command: program.map(OsString::from).to_vec(),
    });
    for between in [&["--"][..], &[]] {
        let words = [&["jobchute"], &options[..], between, &program[..]].concat();
        let line = read(words).expect("valid");
        assert!(!line.json);
        assert_eq!(line.command.as_ref(), Some(&expected));
    }
}

#[test]
fn a_miner_may_take_jobs_of_sixteen_chutes() {
    let work = |chutes: usize| {
        let chutes = ["--chute", ID].repeat(chutes);
        parsed(&[&["work"], &chutes[..], &["true"]].concat())
    };
    for number in [1, 2, 16] {
        let Ok(Command::Work(Work { chutes, .. })) = work(number) else { panic!("{number} chutes") };
        assert_eq!(chutes.len(), number);
    }
    assert!(work(0).is_err() && work(17).is_err());
}

#[test]
fn arguments_stay_as_they_are_written() {
    for text in [r#"{"seed":18446744073709551616}"#, "{\"a\" : NaN}", "{", ""] {
        let Command::Create(Create { arguments, .. }) = parsed(&["create", ID, "train", text]).expect("valid") else {
            panic!("{text}")
        };
        assert_eq!(arguments, text);
    }
}

#[test]
fn an_input_has_a_name_and_a_file() {
    let Ok(Command::Create(Create { inputs, .. })) = parsed(&["create", ID, "m", "--input", "a.b-c_1=x=y", "{}"])
    else {
        panic!("valid")
    };
    assert_eq!(inputs, [Named { name: "a.b-c_1".to_owned(), file: "x=y".into() }]);
    for wrong in ["a", "=f", "a=", "a b=f", "é=f", "\"=f"] {
        assert!(parsed(&["create", ID, "m", "--input", wrong]).is_err(), "{wrong}");
    }
    assert!(parsed(&["create", ID, "m", "--input", "a=f", "--input", "a=g"]).is_err());
    assert!(parsed(&["list", "--input", "a=f"]).is_err());
    let inputs: Vec<_> = (0..101).map(|number| format!("{number}=f")).collect();
    for (count, good) in [(100, true), (101, false)] {
        let inputs = inputs[..count].iter().flat_map(|input| ["--input", input.as_str()]);
        let line: Vec<_> = ["create", ID, "m"].into_iter().chain(inputs).collect();
        assert_eq!(parsed(&line).is_ok(), good, "{count}");
    }
}

#[test]
fn a_command_line_is_read_or_refused() {
    assert!(read(["jobchute"]).expect("valid").command.is_none());
    assert_eq!(parsed(&["delete", ID, "-h"]).expect_err("help").kind(), ErrorKind::DisplayHelp);
    for good in [
        &["work", "--resume", "a b"][..],
        &["watch", ID, ID],
        &["watch", "--label", "a", "--chute", ID],
        &["--json", "list"],
        &["create", ID, "m", "--wait", "--timeout", "90", "--json"],
    ] {
        assert!(parsed(good).is_ok(), "{good:?}");
    }
    for wrong in [
        &["fly"][..],
        &["--once"],
        &["--json"],
        &["create", ID],
        &["create", ID, ""],
        &["create", "../x", "m"],
        &["create", ID, "m", "--timeout", "90"],
        &["create", ID, "m", "{}", "{}"],
        &["watch"],
        &["watch", ""],
        &["watch", "a/../b?c"],
        &["watch", "--timeout", "1h"],
        &["watch", ID, ID, "--logs"],
        &["watch", "--label", "a", "--logs"],
        &["logs"],
        &["logs", ID, ID],
        &["watch", ID, "--timeout", "0"],
        &["work", "--", "true"],
        &["work", "--chute", ID],
        &["work", "--chute", "c", "true"],
        &["work", "--chute", ID, "--to", "x", "true"],
        &["work", "--resume", "d", "--once"],
        &["work", "--resume", "d", "true"],
        &["list", "--fast"],
        &["usage", ID],
        &["list", "--force"],
        &["cancel"],
        &["cancel", ID, ID],
        &["retry"],
        &["retry", ID, "--once"],
        &["delete", ID, "--once"],
        &["watch", ID, "--to", "x"],
        &["download", ID, "--chute", ID],
        &["create", ID, "m", "{}", "--force"],
        &["create", ID, "m", "--label"],
        &["watch", ID, "--label", "a"],
        &["list", "--cancel-after", "1h"],
        &["completions", "tcsh"],
        &["man", "--json"],
    ] {
        assert_eq!(parsed(wrong).expect_err(&format!("{wrong:?}")).exit_code(), 2, "{wrong:?}");
    }
}
