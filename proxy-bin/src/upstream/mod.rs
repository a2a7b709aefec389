//! `ringgate upstream`: the upstream groups of a process that runs, through its control API.
//!
//! [`client`] speaks to it; [`table`] makes its answers readable.

pub mod client;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::say;
use client::Api;

/// Where the API is looked for when nobody says.
const API: &str = "http://127.0.0.1:8080/api";

/// The parameters that a number or a word may follow.
const NUMBERS: [&str; 3] = ["weight", "max_conns", "max_fails"];
const TEXTS: [&str; 3] = ["fail_timeout", "slow_start", "route"];
const FLAGS: [&str; 3] = ["backup", "down", "drain"];

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `--api`
    api: String,
    /// `--json`
    json: bool,
    task: Task,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Task {
    List,
    Show { group: String },
    Add { group: String, fields: Map<String, Value> },
    Remove { group: String, server: String },
    Change { group: String, server: String, fields: Map<String, Value> },
}

/// Reads what follows `ringgate upstream`; none asks for help.
///
/// # Errors
/// What is wrong with it.
pub fn parse(args: &[OsString]) -> Result<Option<Request>, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut api, mut json, mut words) = (API.to_owned(), false, Vec::new());
    let wrong = |error: lexopt::Error| format!("upstream: {error}");
    let text =
        |value: OsString| value.into_string().map_err(|value| format!("upstream: {value:?} is no text"));
    while let Some(argument) = parser.next().map_err(wrong)? {
        match argument {
            lexopt::Arg::Long("api") => api = text(parser.value().map_err(wrong)?)?,
            lexopt::Arg::Long("json") => json = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => return Ok(None),
            lexopt::Arg::Value(word) => words.push(text(word)?),
            lexopt::Arg::Long(_) | lexopt::Arg::Short(_) => return Err(wrong(argument.unexpected())),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(Some(Request { api, json, task: task(&words)? }))
}

fn task(words: &[&str]) -> Result<Task, String> {
    let flag = |group: &str, server: &str, flags: &[(&str, bool)]| {
        let fields = flags.iter().map(|(name, on)| ((*name).to_owned(), Value::from(*on))).collect();
        Task::Change { group: group.into(), server: server.into(), fields }
    };
    Ok(match words {
        [] | ["list"] => Task::List,
        ["show", group] => Task::Show { group: (*group).into() },
        ["add", group, address, rest @ ..] => {
            let mut fields = parameters(rest)?;
            fields.insert("server".into(), (*address).into());
            Task::Add { group: (*group).into(), fields }
        }
        ["remove", group, server] => Task::Remove { group: (*group).into(), server: (*server).into() },
        ["drain", group, server] => flag(group, server, &[("drain", true), ("down", false)]),
        ["down", group, server] => flag(group, server, &[("down", true)]),
        ["up", group, server] => flag(group, server, &[("down", false), ("drain", false)]),
        ["set", group, server, first, rest @ ..] => {
            let mut all = vec![*first];
            all.extend(rest);
            Task::Change { group: (*group).into(), server: (*server).into(), fields: parameters(&all)? }
        }
        ["show", ..] => return Err("upstream: show GROUP".into()),
        ["add", ..] => return Err("upstream: add GROUP ADDRESS [weight=N] [max_conns=N] …".into()),
        [verb @ ("remove" | "drain" | "up" | "down"), ..] => {
            return Err(format!("upstream: {verb} GROUP SERVER"));
        }
        ["set", ..] => return Err("upstream: set GROUP SERVER weight=N …".into()),
        [other, ..] => {
            let verbs = ["list", "show", "add", "remove", "drain", "up", "down", "set"];
            let near = crate::conf::diagnostic::nearest(other, verbs);
            let hint = near.map_or_else(
                || format!("one of {}", verbs.join(", ")),
                |near| format!("did you mean \"{near}\"?"),
            );
            return Err(format!("upstream: there is no \"{other}\"; {hint}"));
        }
    })
}

/// `weight=2 backup drain=off …`, as a `server` line has them.
fn parameters(words: &[&str]) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, "on"));
        let wrong = || format!("upstream: \"{word}\" has no such value");
        let value = if NUMBERS.contains(&name) {
            Value::from(value.parse::<u32>().map_err(|_| wrong())?)
        } else if TEXTS.contains(&name) {
            Value::from(value)
        } else if FLAGS.contains(&name) {
            match value {
                "on" | "true" => Value::from(true),
                "off" | "false" => Value::from(false),
                _ => return Err(wrong()),
            }
        } else {
            let names: Vec<&str> = NUMBERS.into_iter().chain(TEXTS).chain(FLAGS).collect();
            return Err(format!(
                "upstream: there is no parameter \"{name}\"; there are {}",
                names.join(", ")
            ));
        };
        fields.insert(name.into(), value);
    }
    Ok(fields)
}

/// Does it, and says what came of it.
#[must_use]
pub fn run(request: &Request) -> ExitCode {
    match carry_out(request) {
        Ok(text) => {
            say::output(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(message) => {
            say::error(&format!("ringgate upstream: {message}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(request: &Request) -> Result<String, String> {
    let api = Api::parse(&request.api)?;
    let servers = |group: &str| format!("http/upstreams/{group}/servers");
    let value = match &request.task {
        Task::List => api.ask("GET", "http/upstreams", "")?,
        Task::Show { group } => {
            known_group(&api, group)?;
            api.ask("GET", &servers(group), "")?
        }
        Task::Add { group, fields } => {
            known_group(&api, group)?;
            api.ask("POST", &servers(group), &Value::from(fields.clone()).to_string())?
        }
        Task::Remove { group, server } => {
            let id = find(&api, group, server)?;
            api.ask("DELETE", &format!("{}/{id}", servers(group)), "")?
        }
        Task::Change { group, server, fields } => {
            let id = find(&api, group, server)?;
            let body = Value::from(fields.clone()).to_string();
            api.ask("PATCH", &format!("{}/{id}", servers(group)), &body)?
        }
    };
    if request.json {
        return Ok(format!("{value:#}\n"));
    }
    Ok(match &request.task {
        Task::List => table::groups(&value),
        Task::Show { .. } | Task::Add { .. } | Task::Remove { .. } | Task::Change { .. } => {
            table::servers(&value)
        }
    })
}

/// The group is there; where it is not, those that are there are named.
fn known_group(api: &Api, group: &str) -> Result<(), String> {
    let groups = api.ask("GET", "http/upstreams", "")?;
    let names: Vec<&str> = groups.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    if names.contains(&group) {
        return Ok(());
    }
    let there = if names.is_empty() {
        "there is none at all".into()
    } else {
        format!("there are {}", names.join(", "))
    };
    Err(format!("there is no group \"{group}\"; {there}"))
}

/// The id of a server that is named by its id or by its address.
fn find(api: &Api, group: &str, server: &str) -> Result<u64, String> {
    known_group(api, group)?;
    let list = api.ask("GET", &format!("http/upstreams/{group}/servers"), "")?;
    let servers: Vec<(u64, &str)> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| Some((one.get("id")?.as_u64()?, one.get("server")?.as_str()?)))
        .collect();
    let by_id = servers.iter().filter(|(id, _)| id.to_string() == server);
    let full = if server.contains(':') { server.to_owned() } else { format!("{server}:80") };
    let found: Vec<u64> =
        by_id.chain(servers.iter().filter(|(_, address)| *address == full)).map(|(id, _)| *id).collect();
    match found.as_slice() {
        [id] => Ok(*id),
        [] => {
            let there: Vec<String> =
                servers.iter().map(|(id, address)| format!("{address} (id {id})")).collect();
            Err(format!(
                "group \"{group}\" has no server \"{server}\"; it has {}",
                if there.is_empty() { "none".into() } else { there.join(", ") }
            ))
        }
        several => {
            Err(format!("group \"{group}\" has {} servers \"{server}\": name one by its id", several.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Option<Request>, String> {
        parse(&line.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn tasks() {
        let fields = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap_or_default();
        let change =
            |json: &str| Task::Change { group: "g".into(), server: "1".into(), fields: fields(json) };
        let table: &[(&[&str], Task)] = &[
            (&[], Task::List),
            (&["show", "g"], Task::Show { group: "g".into() }),
            (
                &["add", "g", "10.0.0.1:80", "weight=2", "backup", "slow_start=30s"],
                Task::Add {
                    group: "g".into(),
                    fields: fields(r#"{"server":"10.0.0.1:80","weight":2,"backup":true,"slow_start":"30s"}"#),
                },
            ),
            (&["remove", "g", "1"], Task::Remove { group: "g".into(), server: "1".into() }),
            (&["drain", "g", "1"], change(r#"{"drain":true,"down":false}"#)),
            (&["up", "g", "1"], change(r#"{"drain":false,"down":false}"#)),
            (&["set", "g", "1", "max_fails=0", "drain=off"], change(r#"{"max_fails":0,"drain":false}"#)),
        ];
        for (line, task) in table {
            let expected = Request { api: API.into(), json: false, task: task.clone() };
            assert_eq!(read(line), Ok(Some(expected)), "{line:?}");
        }
        assert_eq!(read(&["--help"]), Ok(None));
        let wrong: &[(&[&str], &str)] = &[
            (&["lst"], "upstream: there is no \"lst\"; did you mean \"list\"?"),
            (&["down", "g"], "upstream: down GROUP SERVER"),
            (&["set", "g", "1", "weight=x"], "upstream: \"weight=x\" has no such value"),
            (&["set", "g", "1"], "upstream: set GROUP SERVER weight=N …"),
            (&["--apy"], "upstream: invalid option '--apy'"),
        ];
        for (line, words) in wrong {
            assert_eq!(read(line), Err((*words).to_owned()), "{line:?}");
        }
    }
}
