//! `--help` of every command: each option under the heading that it belongs to.

use std::collections::BTreeMap;

use clap::CommandFactory;
use image_census::cli::Cli;

/// The options of each heading, by command; those without one under "Options".
fn headings() -> BTreeMap<(String, String), Vec<String>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands() {
        for option in command.get_arguments().filter(|a| !a.is_positional()) {
            let heading = option.get_help_heading().unwrap_or("Options");
            let name = option.get_long().unwrap_or_default();
            let key = (command.get_name().to_owned(), heading.to_owned());
            found.entry(key).or_default().push(name.to_owned());
        }
    }
    found
}

#[test]
fn no_option_stands_under_the_heading_of_another_group() {
    let headings = headings();
    for ((command, heading), options) in &headings {
        let belongs = |option: &str| match heading.as_str() {
            "Object store" => option.starts_with("s3-"),
            "Store" => ["store", "cluster"].contains(&option),
            "Cluster" => [
                "cluster-name",
                "context",
                "namespace",
                "exclude-namespace",
                "selector",
                "default-platform",
            ]
            .contains(&option),
            // What these hold may grow; what belongs elsewhere is not in them.
            _ => !option.starts_with("s3-") && !["store", "cluster-name"].contains(&option),
        };
        let strays: Vec<_> = options.iter().filter(|option| !belongs(option)).collect();
        assert!(
            strays.is_empty(),
            "{command}: {strays:?} under \"{heading}\""
        );
    }
    for command in ["list", "get", "diff", "trend", "prune", "check"] {
        let options = &headings[&(command.to_owned(), "Options".to_owned())];
        let format = options.iter().any(|option| option == "format");
        assert!(format, "{command}: --format is not among the options");
    }
    let stores = headings.keys().filter(|(_, heading)| heading == "Store");
    assert_eq!(stores.count(), 7);
}

/// What the lines of the examples call, without what they are piped into and what they say of it.
fn examples(help: &str) -> Vec<Vec<&str>> {
    let lines = help.lines().filter_map(|line| {
        let line = line.strip_prefix("  ")?;
        let call = &line[line.find("image-census ")?..];
        // An explanation stands behind two spaces; pipes and redirections are the shell's.
        let end = ["  ", " | ", " >"]
            .into_iter()
            .filter_map(|end| call.find(end));
        let end = end.min().unwrap_or(call.len());
        Some(call[..end].split(' ').collect())
    });
    lines.collect()
}

#[test]
fn every_command_has_examples_and_each_of_them_is_one() {
    let mut program = Cli::command();
    program.build();
    let mut count = 0;
    for command in program.get_subcommands() {
        let name = command.get_name();
        if matches!(name, "completions" | "help") {
            continue;
        }
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let examples = examples(&help);
        assert!(examples.len() > 1, "{name}: {help}");
        for example in examples {
            let parsed = Cli::command().try_get_matches_from(&example);
            assert!(parsed.is_ok(), "{example:?}: {:?}", parsed.err());
            let parsed = parsed
                .ok()
                .and_then(|matches| matches.subcommand_name().map(str::to_owned));
            assert_eq!(parsed.as_deref(), Some(name), "{example:?}");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}
