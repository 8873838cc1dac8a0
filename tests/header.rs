//! The committed header is the generated one, declares what the contract says, and names what the
//! library exports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/portal.h"));

fn committed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("include")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_committed_header_is_the_generated_one() {
    assert!(
        committed("portal.h") == GENERATED,
        "include/portal.h is out of date; run `make header`"
    );
}

#[test]
fn the_symbols_are_the_functions_of_the_header_in_order() {
    let mut functions: Vec<&str> = GENERATED.lines().filter_map(declared_function).collect();
    functions.sort_unstable();

    let symbols = committed("portal.symbols");
    let symbols: Vec<&str> = symbols.lines().collect();
    assert_eq!(
        symbols, functions,
        "include/portal.symbols is out of date; see include/portal.h"
    );
}

/// The name in the first line of a function's declaration.
fn declared_function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("PORTAL_API ").unwrap_or(line);
    let begins_declaration = line.starts_with(|first: char| first.is_ascii_lowercase());
    let (before, _) = line.split_once('(').filter(|_| begins_declaration)?;
    let name = before.rsplit([' ', '*']).next()?;
    name.starts_with("portal_").then_some(name)
}

#[test]
fn the_header_declares_the_contract() {
    let folder = temporary_folder("contract");
    let program = folder.join("contract.c");
    fs::write(&program, CONTRACT).expect("the program can be written");
    for standard in ["c11", "c2x"] {
        let output = Command::new("cc")
            .arg(format!("-std={standard}"))
            .args([
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Wconversion",
                "-Wstrict-prototypes",
                "-Werror",
            ])
            .args([
                "-fsyntax-only",
                "-I",
                concat!(env!("CARGO_MANIFEST_DIR"), "/include"),
            ])
            .arg(&program)
            .output()
            .expect("a C compiler, called cc");
        assert!(
            output.status.success(),
            "{standard}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn every_function_is_visible_here_and_imported_elsewhere() {
    let functions = committed("portal.symbols").lines().count();
    for (options, mark, marked) in [
        (
            &[][..],
            "__attribute__((visibility(\"default\")))",
            functions,
        ),
        (&["-D_WIN32"], "__declspec(dllimport)", functions),
        (&["-D_WIN32", "-DPORTAL_STATIC"], "__declspec", 0),
    ] {
        let header = concat!(env!("CARGO_MANIFEST_DIR"), "/include/portal.h");
        let output = Command::new("cc")
            .args(["-E", header])
            .args(options)
            .output()
            .expect("a C compiler, called cc");
        let text = String::from_utf8_lossy(&output.stdout);
        let declarations = text.split_once("portal_options;").expect("the types").1;
        assert_eq!(declarations.matches(mark).count(), marked, "{options:?}");
    }
}

fn temporary_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("the test's folder can be made");
    folder
}

/// What programs elsewhere rely on: every name, number, layout and signature of version 0.1.
const CONTRACT: &str = include_str!("header.c");
