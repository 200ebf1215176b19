//! The recipes of docs/analysis.md, and `recipes.py`, which runs them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Result, root, tool};

/// A block of the document: what stands behind its three backquotes, and its text.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) engine: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// All blocks of the document.
pub(crate) fn blocks() -> Result<Vec<Block>> {
    let document = std::fs::read_to_string(root().join("docs/analysis.md"))?;
    // Text and blocks take turns.
    let blocks = document.split("\n```").skip(1).step_by(2);
    let blocks = blocks.map(|block| {
        let (head, text) = block.split_once('\n').ok_or("a block without a line")?;
        let mut words = head.split(' ').map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        Ok(Block {
            language: next(),
            engine: next(),
            name: next(),
            text: format!("{text}\n"),
        })
    });
    blocks.collect()
}

/// What a recipe answered.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) columns: Vec<String>,
    /// What each column holds, in the words of the reports' table schemas.
    pub(crate) kinds: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Answer {
    /// The rows as text, sorted, in the order of `columns`, which are all that it has.
    pub(crate) fn sorted(&self, columns: &[&str]) -> Result<Vec<Vec<String>>> {
        assert_eq!(self.columns.len(), columns.len(), "{:?}", self.columns);
        let mut places = Vec::new();
        for column in columns {
            let place = self.columns.iter().position(|name| name == column);
            places.push(place.ok_or_else(|| format!("{:?} lack {column}", self.columns))?);
        }
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let row = |row: &Vec<Value>| places.iter().map(|place| text(&row[*place])).collect();
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(row).collect();
        rows.sort();
        Ok(rows)
    }
}

/// Recipes that share what they make, in one engine.
pub(crate) struct Session {
    pub(crate) engine: &'static str,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Name and text.
    pub(crate) recipes: Vec<(String, String)>,
    /// The recipe whose reading is to be shown.
    pub(crate) prove: Option<&'static str>,
}

/// The answers of a session, by recipe; and what it read.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    answers: BTreeMap<String, Answer>,
    pub(crate) pruned: Value,
}

impl Answers {
    pub(crate) fn of(&self, recipe: &str) -> Result<&Answer> {
        let answer = self.answers.get(recipe);
        Ok(answer.ok_or_else(|| format!("no answer to {recipe}"))?)
    }

    /// The recipes that have an answer.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.answers.keys().map(String::as_str).collect()
    }
}

/// How long each session took.
#[allow(clippy::print_stdout, reason = "a figure that people look for")]
fn show(said: &str) {
    print!("{said}");
}

/// Runs sessions one after the other; `configure` gives the process what it needs.
pub(crate) fn run(sessions: &[Session], configure: impl Fn(&mut Command)) -> Result<Vec<Answers>> {
    let job = sessions.iter().map(|session| {
        let recipes = session.recipes.iter();
        let recipes = recipes.map(|(name, text)| json!({"name": name, "text": text}));
        json!({
            "engine": session.engine,
            "variables": session.variables.iter().cloned().collect::<BTreeMap<_, _>>(),
            "recipes": recipes.collect::<Vec<_>>(),
            "prove": session.prove,
        })
    });
    let job = Value::Array(job.collect());
    let mut python = Command::new(tool("python/bin/python")?);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(root().join("tests/analysis/recipes.py"));
    configure(&mut python);
    let mut running = python
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = running.stdin.take().ok_or("no standard input")?;
    input.write_all(job.to_string().as_bytes())?;
    drop(input);
    let output = running.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(said.into_owned().into());
    }
    show(&said);
    let answered: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&output.stdout)?;
    let answers = answered.into_iter().map(|mut answered| {
        let pruned = answered.remove("pruned").unwrap_or_default();
        let mut answers = BTreeMap::new();
        for (name, answer) in answered {
            if !answer.is_null() {
                answers.insert(name, serde_json::from_value(answer)?);
            }
        }
        Ok(Answers { answers, pruned })
    });
    answers.collect()
}
