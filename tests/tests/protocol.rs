//! A whole session of `lectern serve`, and what it does with lines it cannot understand.
#![allow(clippy::unwrap_used)]

use anyhow::{Result, bail, ensure};
use lectern_protocol::*;
use lectern_tests::{Home, Serve, canonical, links, texts};
use std::path::Path;

fn add(serve: &mut Serve, path: &Path) -> Result<DocumentSummary> {
    let request = Request::Add {
        paths: vec![path.to_str().unwrap().to_owned()],
        password: None,
    };
    match serve.call(request)?.outcome()? {
        Outcome::Added { added } => match &added[..] {
            [
                Added {
                    document: Some(document),
                    failure: None,
                    ..
                },
            ] => Ok(document.clone()),
            other => bail!("one path gave {other:?}"),
        },
        other => bail!("add gave {other:?}"),
    }
}

fn question(document: &str, question: &str, max_tokens: u32) -> Request {
    Request::Ask(Ask {
        document: document.to_owned(),
        question: question.to_owned(),
        conversation: None,
        max_tokens: Some(max_tokens),
        seed: Some(1),
        greedy: Some(true),
        at_once: None,
    })
}

#[test]
fn a_session_from_hello_to_the_end_of_input() -> Result<()> {
    let home = Home::new();
    let file = home.write("skarn.md", texts::lighthouse_markdown());
    let mut serve = Serve::start(&home)?;
    match serve.call(Request::Hello)?.outcome()? {
        Outcome::Hello(hello) => {
            ensure!(hello.protocol == PROTOCOL_VERSION);
            ensure!(Path::new(&hello.home) == home.path(), "{hello:?}");
            ensure!(hello.model.is_some(), "{hello:?}");
        }
        other => bail!("hello gave {other:?}"),
    }
    ensure!(canonical::library(&mut serve)?.is_empty());
    let document = add(&mut serve, &file)?;
    ensure!(document.title == "The light on Skarn", "{document:?}");
    ensure!(document.reading == ReadState::Unread, "{document:?}");

    let read = serve.call(Request::Read {
        document: document.id.clone(),
    })?;
    let mut last = 0;
    for event in &read.events {
        if let Event::Reading(progress) = event {
            ensure!(progress.tokens >= last && progress.tokens <= progress.total);
            last = progress.tokens;
        }
    }
    ensure!(last > 100, "no progress: {:?}", read.events);
    match read.outcome()? {
        Outcome::Read { document } => {
            ensure!(
                matches!(document.reading, ReadState::Read { cache_bytes, .. } if cache_bytes > 0),
                "{document:?}"
            );
        }
        other => bail!("read gave {other:?}"),
    }

    let asked = serve.call(question(&document.id, "Who was the first keeper?", 32))?;
    let streamed: String = asked
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Token { text } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let sentences = asked
        .events
        .iter()
        .filter(|event| matches!(event, Event::Sentence { .. }))
        .count();
    let Outcome::Answer { answer } = asked.outcome()? else {
        bail!("ask gave no answer");
    };
    ensure!(streamed.trim() == answer.answer.trim(), "{streamed:?}");
    ensure!(sentences == answer.sentences.len());
    ensure!(answer.timings.read_tokens == 0 && !answer.stopped);

    let conversation = answer.conversation.clone().unwrap_or_default();
    let found = serve.call(Request::Conversations {
        document: None,
        query: Some("keeper".into()),
    })?;
    match found.outcome()? {
        Outcome::Conversations { conversations } => {
            ensure!(conversations.len() == 1 && conversations[0].id == conversation);
        }
        other => bail!("conversations gave {other:?}"),
    }
    // A small model may refuse: then what comes nearest is linked in place of evidence.
    let cited = answer.sentences.iter().flat_map(|said| &said.citations);
    let shown: Vec<&Citation> = cited.chain(&answer.nearest).collect();
    ensure!(!shown.is_empty(), "{answer:?}");
    for format in [ExportFormat::Markdown, ExportFormat::Html] {
        let export = Request::Export {
            conversation: conversation.clone(),
            format,
        };
        let Outcome::Exported { text, .. } = serve.call(export)?.outcome()? else {
            bail!("export gave no text");
        };
        ensure!(text.contains("Who was the first keeper?"), "{text}");
        // Every link in it leads back to the words that were shown.
        let links = links::links_in(&text);
        ensure!(links.len() == shown.len(), "{text}");
        for (link, citation) in links.into_iter().zip(&shown) {
            let followed = serve.call(Request::Follow { link })?.outcome()?;
            let Outcome::Followed { citation: followed } = followed else {
                bail!("follow gave {followed:?}");
            };
            ensure!(
                (followed.start, followed.end, &followed.quote)
                    == (citation.start, citation.end, &citation.quote)
            );
            ensure!(followed.anchor == citation.anchor);
        }
    }
    ensure!(serve.close()?.success());
    Ok(())
}

#[test]
fn a_cancelled_answer_stops_and_leaves_the_machine_free() -> Result<()> {
    let home = Home::new();
    let file = home.write("skarn.txt", texts::lighthouse_text());
    let mut serve = Serve::start(&home)?;
    let document = add(&mut serve, &file)?;
    let long = "Tell the whole story of the lighthouse again, in great detail.";
    let asked = serve.send(question(&document.id, long, 2000))?;
    loop {
        if let Event::Token { .. } = serve.next_event(asked)? {
            break;
        }
    }
    let done = serve.call(Request::Cancel { call: asked })?;
    ensure!(matches!(done.outcome()?, Outcome::Done));
    let stopped = std::time::Instant::now();
    let ended = serve.conclude(asked)?;
    // Well within a chunk, even on a machine that does other things.
    ensure!(stopped.elapsed().as_secs() < 20);
    ensure!(ended.failure()?.code == FailureCode::Cancelled);
    // What was said until then is kept.
    match serve
        .call(Request::Conversations {
            document: Some(document.id.clone()),
            query: None,
        })?
        .outcome()?
    {
        Outcome::Conversations { conversations } => ensure!(conversations.len() == 1),
        other => bail!("conversations gave {other:?}"),
    }
    // And the next question is answered.
    let next = serve.call(question(&document.id, "What was the boat called?", 8))?;
    ensure!(matches!(next.outcome()?, Outcome::Answer { .. }));
    Ok(())
}

#[test]
fn reading_pauses_and_goes_on() -> Result<()> {
    let home = Home::new();
    let file = home.write("log.txt", texts::filler(2500));
    let mut serve = Serve::start(&home)?;
    let document = add(&mut serve, &file)?;
    let read = Request::Read {
        document: document.id.clone(),
    };
    let reading = serve.send(read.clone())?;
    let paused_at = loop {
        if let Event::Reading(progress) = serve.next_event(reading)?
            && progress.tokens > 0
        {
            break progress.tokens;
        }
    };
    serve.call(Request::Cancel { call: reading })?.outcome()?;
    ensure!(serve.conclude(reading)?.failure()?.code == FailureCode::Cancelled);
    let listed = canonical::library(&mut serve)?.remove(0);
    ensure!(
        matches!(listed.reading, ReadState::Partly { tokens, total } if tokens >= paused_at && tokens < total),
        "{listed:?}, paused at {paused_at}"
    );
    let rest = serve.call(read)?;
    let first = rest.events.iter().find_map(|event| match event {
        Event::Reading(progress) if !progress.waiting => Some(progress.tokens),
        _ => None,
    });
    ensure!(first >= Some(paused_at), "began again at {first:?}");
    ensure!(matches!(rest.outcome()?, Outcome::Read { .. }));
    Ok(())
}

#[test]
fn lines_that_are_no_calls_are_answered_and_survived() -> Result<()> {
    let home = Home::new();
    let mut serve = Serve::start(&home)?;
    for line in [
        "not json",
        "{}",
        "[]",
        "{\"id\":7,\"method\":\"no_such_method\"}",
        "{\"id\":8,\"method\":\"ask\",\"params\":{\"document\":3}}",
        "",
        "\u{0}",
    ] {
        serve.send_line(line)?;
    }
    // Calls with an id are told what is wrong with them.
    for id in [7, 8] {
        let failure = serve.conclude(id)?.failure()?;
        ensure!(!failure.message.is_empty());
    }
    let hello = serve.call(Request::Hello)?;
    ensure!(matches!(hello.outcome()?, Outcome::Hello(_)));
    let unknown = serve.call(Request::Read {
        document: "0123456789abcdef".into(),
    })?;
    ensure!(unknown.failure()?.code == FailureCode::NotFound);
    ensure!(serve.close()?.success());
    Ok(())
}

#[test]
fn the_end_of_input_during_reading_loses_nothing_that_was_reported() -> Result<()> {
    let home = Home::new();
    let file = home.write("log.txt", texts::filler(2500));
    let mut serve = Serve::start(&home)?;
    let document = add(&mut serve, &file)?;
    let reading = serve.send(Request::Read {
        document: document.id,
    })?;
    let reported = loop {
        if let Event::Reading(progress) = serve.next_event(reading)?
            && progress.tokens > 0
        {
            break progress.tokens;
        }
    };
    ensure!(serve.close()?.success());
    let mut serve = Serve::start(&home)?;
    let listed = canonical::library(&mut serve)?.remove(0);
    let kept = match listed.reading {
        ReadState::Partly { tokens, .. } | ReadState::Read { tokens, .. } => tokens,
        _ => 0,
    };
    ensure!(kept >= reported, "{kept} of {reported} tokens were kept");
    Ok(())
}
