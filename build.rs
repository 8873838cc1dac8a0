//! Writes the C header and its description to `OUT_DIR` and tells the linker how `libportal.so` is made.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "scripts/description/mod.rs"]
mod description;

use description::Description;

/// The name by which programs load the library. The number is that of the interface. Another project's
/// libraries are called libportal.so.0 and libportal.so.1.
const SONAME: &str = "libportal-ws.so.0";

/// The modules of `src/ffi` that C sees, in the header's order. The text on top of each opens its
/// section; a line `# Name` in it begins a new one.
const SECTIONS: [&str; 15] = [
    "types",
    "status",
    "numbers",
    "handlers",
    "path",
    "server",
    "pull",
    "options",
    "websocket",
    "connect",
    "request",
    "answer",
    "page",
    "log",
    "version",
];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    println!("cargo::rerun-if-changed=cbindgen.toml");
    println!("cargo::rerun-if-changed=src/ffi");

    let folder = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(folder.join("portal.h"), write_header()?)?;
    fs::write(folder.join("portal.json"), write_description()?)?;

    if env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
        // Threads and thread-locals of ours may outlive a dlclose.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    Ok(())
}

fn write_header() -> Outcome<String> {
    let [version, major, minor, patch] =
        ["", "_MAJOR", "_MINOR", "_PATCH"].map(|part| env::var(format!("CARGO_PKG_VERSION{part}")));
    let (version, major, minor, patch) = (version?, major?, minor?, patch?);
    let number =
        major.parse::<u32>()? * 1_000_000 + minor.parse::<u32>()? * 1_000 + patch.parse::<u32>()?;

    let license = env::var("CARGO_PKG_LICENSE")?;
    let contract = comment(&opening_text(&source("mod"))?);
    let mut header = format!(
        "/* SPDX-License-Identifier: {license} */

{contract}
#ifndef PORTAL_H
#define PORTAL_H

#include <stddef.h>
#include <stdint.h>

/* The version that a program is compiled against. */
#define PORTAL_VERSION \"{version}\"
#define PORTAL_VERSION_MAJOR {major}
#define PORTAL_VERSION_MINOR {minor}
#define PORTAL_VERSION_PATCH {patch}
/* major * 10^6 + minor * 10^3 + patch */
#define PORTAL_VERSION_NUMBER {number}

/* Precedes each function's declaration. Define PORTAL_STATIC to link the static library. */
#if defined(_WIN32) && !defined(PORTAL_STATIC)
#define PORTAL_API __declspec(dllimport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define PORTAL_API __attribute__((visibility(\"default\")))
#else
#define PORTAL_API
#endif

#ifdef __cplusplus
extern \"C\" {{
#endif
"
    );
    for section in SECTIONS {
        header += "\n";
        header += &write_section(&source(section))?;
    }
    header += "
#ifdef __cplusplus
}
#endif

#endif /* PORTAL_H */
";
    Ok(header)
}

/// The opening text of a module, then what cbindgen makes of the module.
fn write_section(source: &Path) -> Outcome<String> {
    let text = opening_text(source)?;
    let mut section = match text.strip_prefix("# ") {
        Some(headed) => {
            let (name, text) = headed.split_once('\n').unwrap_or((headed, ""));
            let rule = "=".repeat(96);
            comment(format!("{rule}\n{name}\n{rule}\n{text}").trim_end())
        }
        None => comment(&text),
    };
    section += "\n";

    let mut declarations = Vec::new();
    cbindgen::Builder::new()
        .with_config(cbindgen::Config::from_file("cbindgen.toml")?)
        .with_src(source)
        .generate()?
        .write(&mut declarations);
    // C90 has no comma behind the last enumerator.
    let declarations = String::from_utf8(declarations)?.replace(",\n}", "\n}");
    for line in declarations.trim().lines() {
        // cbindgen puts `struct` before the structs of this section and not before those of others;
        // the name alone will do for all.
        let named = !line.starts_with("typedef");
        section += &if named {
            line.replace("struct portal_", "portal_")
        } else {
            line.to_owned()
        };
        section += "\n";
    }
    Ok(section)
}

fn write_description() -> Outcome<String> {
    let mut description = Description::new(env::var("CARGO_PKG_VERSION")?, SONAME);
    for section in SECTIONS {
        description.add_source(&source(section))?;
    }
    Ok(serde_json::to_string_pretty(&description)? + "\n")
}

fn source(module: &str) -> PathBuf {
    Path::new("src/ffi").join(module).with_extension("rs")
}

/// The `//!` lines on top of a file. Code between fences is set in by four, as C comments do it.
fn opening_text(source: &Path) -> Outcome<String> {
    let source = fs::read_to_string(source)?;
    let mut text = String::new();
    let mut is_code = false;
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.starts_with("```") {
            is_code = !is_code;
            continue;
        }
        text += if is_code { "    " } else { "" };
        text += line;
        text += "\n";
    }
    Ok(text)
}

fn comment(text: &str) -> String {
    let mut comment = String::from("/*\n");
    for line in text.lines() {
        comment += format!(" * {line}").trim_end();
        comment += "\n";
    }
    comment + " */\n"
}
