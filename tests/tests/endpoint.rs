//! A server answers in place of the local model: llama.cpp's, a real one, with a real model, on loopback.
#![allow(clippy::unwrap_used)]

use anyhow::{Context, Result, bail, ensure};
use lectern_protocol::*;
use lectern_tests::llama_server::{self, KEY, LlamaServer, MODEL};
use lectern_tests::{Home, Run, Serve, canonical, texts};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QUESTION: &str = "When was the lamp first lit?";

/// `lectern ask` with the server, and its key in the environment.
fn ask(home: &Home, file: &Path, question: &str, url: &str, key: &str) -> Command {
    let mut command = home.lectern(["ask", file.to_str().unwrap(), question, "--json"]);
    command.args(["--endpoint", url, "--endpoint-model", MODEL]);
    command.env("LECTERN_ENDPOINT_KEY", key);
    command
}

fn run(mut command: Command) -> Result<Run> {
    Ok(Run::of(command.output()?))
}

/// Every citation's quotation stands in the text where it says.
fn ensure_cited(answer: &Answer, text: &str) -> Result<()> {
    let citations: Vec<&Citation> = answer.sentences.iter().flat_map(|s| &s.citations).collect();
    ensure!(!citations.is_empty(), "nothing is cited: {answer:?}");
    for citation in citations {
        let span = citation.start as usize..citation.end as usize;
        ensure!(text.get(span) == Some(&citation.quote), "{citation:?}");
    }
    Ok(())
}

#[test]
fn a_machine_without_a_model_gets_answers_with_citations_that_are_checked_on_it() -> Result<()> {
    let Some(program) = llama_server::program() else {
        return Ok(());
    };
    let server = LlamaServer::start(&program, 4096)?;
    let home = Home::without_models();
    let file = home.write("skarn.pdf", texts::lighthouse_pdf());
    let run_with = |url: &str, key: &str| run(ask(&home, &file, QUESTION, url, key));

    let asked = run_with(&server.url(), KEY)?;
    let answer: Answer = serde_json::from_value(asked.json()?)?;
    ensure!(answer.answer.contains("1874"), "{answer:?}");
    ensure!(answer.strategy == Strategy::Endpoint && !answer.stopped);
    ensure!(
        answer.model == format!("{MODEL} at {}", server.host()),
        "{}",
        answer.model
    );
    ensure!(answer.timings.tokens > 3 && answer.timings.first_token_ms > 0.0);
    let mut serve = Serve::start(&home)?;
    let document = canonical::library(&mut serve)?.remove(0).id;
    ensure_cited(&answer, &canonical::text(&mut serve, &document)?)?;
    let place = &answer.sentences[0].citations[0].anchor;
    ensure!(
        matches!(place, AnchorView::Pages { pages } if !pages[0].quads.is_empty()),
        "{place:?}"
    );
    // Who is asked is said before it is.
    ensure!(
        asked
            .stderr
            .contains(&format!("Asking {MODEL} at {}", server.host())),
        "{asked:?}"
    );
    ensure!(!asked.stderr.contains("not encrypted"), "{asked:?}");

    // What is wrong is told, what to do, and never the key.
    let refused = run_with(&server.url(), "sk-wrong-key")?;
    refused.assert_refused("refused the key (401)");
    ensure!(
        refused.said().contains("lectern settings endpoint.key"),
        "{refused:?}"
    );
    run_with(&format!("http://{}/nowhere", server.host()), KEY)?.assert_refused("404");
    run_with("http://127.0.0.1:1/v1", KEY)?.assert_refused("no server listens there");
    run_with("gpu", KEY)?.assert_refused("http://");
    for run in [&asked, &refused] {
        ensure!(
            !run.said().contains(KEY) && !run.said().contains("sk-wrong"),
            "{run:?}"
        );
    }
    let mut traced = ask(&home, &file, QUESTION, &server.url(), KEY);
    traced.env("LECTERN_LOG", "trace");
    let traced = run(traced)?;
    ensure!(
        traced.code == Some(0) && !traced.said().contains(KEY),
        "{traced:?}"
    );
    // A log's dump of bytes would have it in pieces.
    ensure!(
        !traced.stderr.to_lowercase().contains("authorization"),
        "{traced:?}"
    );
    // Nothing was set by that, and here is still no model.
    let local = home.run(["ask", file.to_str().unwrap(), QUESTION]);
    ensure!(local.code == Some(4), "{local:?}");
    Ok(())
}

fn settings(serve: &mut Serve) -> Result<Settings> {
    match serve.call(Request::Settings)?.outcome()? {
        Outcome::Settings { settings } => Ok(settings),
        other => bail!("settings gave {other:?}"),
    }
}

fn described(serve: &mut Serve, request: Request) -> Result<EndpointDescription> {
    match serve.call(request)?.outcome()? {
        Outcome::Endpoint { endpoint } => Ok(endpoint),
        other => bail!("no description but {other:?}"),
    }
}

/// The conversations about a document, newest first.
fn conversations(serve: &mut Serve, document: &str) -> Result<Vec<ConversationSummary>> {
    let request = Request::Conversations {
        document: Some(document.to_owned()),
        query: None,
    };
    match serve.call(request)?.outcome()? {
        Outcome::Conversations { conversations } => Ok(conversations),
        other => bail!("conversations gave {other:?}"),
    }
}

fn question(document: &str, question: &str, conversation: Option<String>) -> Ask {
    Ask {
        document: document.to_owned(),
        question: question.to_owned(),
        conversation,
        max_tokens: None,
        seed: None,
        greedy: None,
        at_once: Some(true),
    }
}

#[test]
fn a_server_that_was_turned_on_answers_until_it_is_turned_off() -> Result<()> {
    let Some(program) = llama_server::program() else {
        return Ok(());
    };
    let server = LlamaServer::start(&program, 4096)?;
    let home = Home::without_models();
    let file = home.write("skarn.md", texts::lighthouse_markdown());
    let mut serve = Serve::start(&home)?;
    let paths = vec![file.display().to_string()];
    let Outcome::Added { added } = serve
        .call(Request::Add {
            paths,
            password: None,
        })?
        .outcome()?
    else {
        bail!("add gave something else");
    };
    let document = added[0].document.clone().context("it is added")?.id;

    // Off, nothing answers here.
    let failure = serve
        .call(Request::Ask(question(&document, QUESTION, None)))?
        .failure()?;
    ensure!(failure.code == FailureCode::ModelMissing, "{failure:?}");

    let mut changed = settings(&mut serve)?;
    ensure!(!changed.endpoint.on);
    changed.endpoint = Endpoint {
        on: true,
        url: server.url(),
        model: MODEL.to_owned(),
        ..Endpoint::default()
    };
    let endpoint = changed.endpoint.clone();
    let request = Request::DescribeEndpoint {
        endpoint: endpoint.clone(),
    };
    let description = described(&mut serve, request)?;
    ensure!(
        description.loopback && !description.has_key,
        "{description:?}"
    );
    let key = Some(Secret::new(KEY.to_owned()));
    let description = described(&mut serve, Request::KeepEndpointKey { endpoint, key })?;
    ensure!(description.has_key);
    serve
        .call(Request::ChangeSettings { settings: changed })?
        .outcome()?;

    // The key lies apart, for this account alone, and is told nobody.
    ensure!(!fs::read_to_string(home.path().join("settings.toml"))?.contains(KEY));
    let kept = home.path().join("endpoint-key.toml");
    ensure!(fs::read_to_string(&kept)?.contains(KEY));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        ensure!(fs::metadata(&kept)?.permissions().mode() & 0o777 == 0o600);
    }
    ensure!(!format!("{description:?}{:?}", settings(&mut serve)?).contains(KEY));

    let first = serve.call(Request::Ask(question(&document, QUESTION, None)))?;
    let stages: Vec<AskStage> = first
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Stage { stage } => Some(*stage),
            _ => None,
        })
        .collect();
    use AskStage::*;
    ensure!(
        stages == [Retrieving, WaitingForEndpoint, Answering, Citing],
        "{stages:?}"
    );
    let said: String = first
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Token { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let Outcome::Answer { answer } = first.outcome()? else {
        bail!("ask gave something else");
    };
    ensure!(
        said.trim() == answer.answer && answer.answer.contains("1874"),
        "{said:?} {answer:?}"
    );
    let text = canonical::text(&mut serve, &document)?;
    ensure_cited(&answer, &text)?;
    // The whole of a short document goes along.
    ensure!(answer.coverage.len() == 1 && answer.coverage[0].end as usize == text.len());

    // A question that only what was said before explains.
    let next = question(
        &document,
        "Who was the first keeper of it?",
        answer.conversation.clone(),
    );
    let Outcome::Answer { answer: next } = serve.call(Request::Ask(next))?.outcome()? else {
        bail!("ask gave something else");
    };
    ensure!(
        next.conversation == answer.conversation && next.answer.contains("Olsen"),
        "{next:?}"
    );

    // A stop ends the server's work too, and what was said is kept.
    let mut long = question(
        &document,
        "Retell all of the document in as many sentences as you can.",
        None,
    );
    (long.max_tokens, long.seed) = (Some(2500), Some(7));
    let call = serve.send(Request::Ask(long))?;
    while !matches!(serve.next_event(call)?, Event::Token { .. }) {}
    ensure!(server.is_busy()?);
    serve.call(Request::Cancel { call })?;
    let asked = Instant::now();
    let failure = serve.conclude(call)?.failure()?;
    ensure!(failure.code == FailureCode::Cancelled, "{failure:?}");
    ensure!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    // Less than so many tokens take it, and more than it takes to see that nobody listens, also beside other work.
    while server.is_busy()? {
        ensure!(
            asked.elapsed() < Duration::from_secs(20),
            "the server works on"
        );
        std::thread::sleep(Duration::from_millis(50));
    }

    // Whoever gets the conversation sees who answered.
    let conversation = answer.conversation.context("it is kept")?;
    for format in [ExportFormat::Markdown, ExportFormat::Html] {
        let conversation = conversation.clone();
        let Outcome::Exported { text, .. } = serve
            .call(Request::Export {
                conversation,
                format,
            })?
            .outcome()?
        else {
            bail!("export gave something else");
        };
        ensure!(
            text.contains("answered by") && text.contains(&server.host()),
            "{text}"
        );
    }
    ensure!(conversations(&mut serve, &document)?.len() == 2);

    // A server that dies midway: what was said is kept, and the call says what happened.
    let mut long = question(
        &document,
        "Retell all of the document in as many sentences as you can.",
        None,
    );
    (long.max_tokens, long.seed) = (Some(1000), Some(8));
    let call = serve.send(Request::Ask(long))?;
    while !matches!(serve.next_event(call)?, Event::Sentence { .. }) {}
    drop(server);
    let failure = serve.conclude(call)?.failure()?;
    ensure!(
        failure.message.contains("in the middle of the answer"),
        "{failure:?}"
    );
    let kept = conversations(&mut serve, &document)?;
    ensure!(kept.len() == 3, "{kept:?}");
    let conversation = kept[0].id.clone();
    let Outcome::Conversation { conversation } = serve
        .call(Request::Conversation { conversation })?
        .outcome()?
    else {
        bail!("conversation gave something else");
    };
    let broken = &conversation.turns[0];
    ensure!(
        broken.stopped && !broken.sentences.is_empty() && broken.strategy == Strategy::Endpoint,
        "{broken:?}"
    );
    // Nor is anything else lost with it.
    let failure = serve
        .call(Request::Ask(question(&document, QUESTION, None)))?
        .failure()?;
    ensure!(
        failure.message.contains("no server listens there"),
        "{failure:?}"
    );
    let mut changed = settings(&mut serve)?;
    changed.endpoint.on = false;
    serve
        .call(Request::ChangeSettings { settings: changed })?
        .outcome()?;
    let failure = serve
        .call(Request::Ask(question(&document, QUESTION, None)))?
        .failure()?;
    ensure!(failure.code == FailureCode::ModelMissing, "{failure:?}");
    Ok(())
}

#[test]
fn a_window_that_is_too_small_is_asked_again_with_fewer_passages() -> Result<()> {
    let Some(program) = llama_server::program() else {
        return Ok(());
    };
    let server = LlamaServer::start(&program, 3072)?;
    let home = Home::without_models();
    let long = format!("{}\n\n{}", texts::filler(4000), texts::lighthouse_text());
    let file = home.write("long.txt", long);
    let answer: Value = run(ask(
        &home,
        &file,
        "Who was the first keeper of the lighthouse on Skarn rock?",
        &server.url(),
        KEY,
    ))?
    .json()?;
    let answer: Answer = serde_json::from_value(answer)?;
    ensure!(answer.answer.contains("Olsen"), "{answer:?}");
    // A third of 6,144 tokens, three bytes each; the first passage that is picked may be longer than what is left.
    let bytes: u32 = answer
        .coverage
        .iter()
        .map(|span| span.end - span.start)
        .sum();
    ensure!(
        (1000..=6144).contains(&bytes),
        "{bytes} bytes in {:?}",
        answer.coverage
    );
    Ok(())
}

#[test]
fn the_command_line_sets_a_server_and_keeps_its_key_to_itself() -> Result<()> {
    let home = Home::without_models();
    let set = |name: &str, value: &str| home.run(["settings", name, value]);
    set("endpoint.on", "true").assert_refused("http");
    ensure!(set("endpoint.url", "http://gpu.example:8000/v1").code == Some(0));
    set("endpoint.on", "true").assert_refused("no model is named");
    ensure!(set("endpoint.model", "m").code == Some(0));
    set("endpoint.key", "sk-secret").assert_refused("can be seen by others");
    let mut command = home.lectern(["settings", "endpoint.key"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    use std::io::Write;
    child
        .stdin
        .take()
        .context("it has a stdin")?
        .write_all(b"sk-secret\n")?;
    let kept = Run::of(child.wait_with_output()?);
    ensure!(
        kept.code == Some(0) && kept.stdout.contains("gpu.example:8000"),
        "{kept:?}"
    );
    ensure!(fs::read_to_string(home.path().join("endpoint-key.toml"))?.contains("sk-secret"));

    let on = set("endpoint.on", "true");
    // What is sent where, and that it can be read on the way.
    ensure!(
        on.stderr.contains("Each question goes to gpu.example:8000"),
        "{on:?}"
    );
    ensure!(on.stderr.contains("not encrypted"), "{on:?}");
    ensure!(home.run(["settings", "endpoint.on"]).stdout.trim() == "true");
    let all = home.run(["settings"]);
    ensure!(all.stdout.contains("[endpoint]"), "{all:?}");
    for run in [kept, on, all] {
        ensure!(!run.said().contains("sk-secret"), "{run:?}");
    }
    Ok(())
}
