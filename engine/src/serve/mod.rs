//! `lectern serve`: the protocol of [`lectern_protocol`] over stdin and stdout.
//!
//! In: one [`Call`] a line. Out: [`Reply`] lines, and nothing else, ever; logs go to stderr. Calls run side by side;
//! what they share they queue for in [`Lectern`]. Whatever comes in, this ends only at the end of input: a line that
//! is no call is answered and survived.

mod dispatch;
mod input;

use crate::attention::CancelFlag;
use crate::lectern::{Job, Lectern};
use input::{Line, Lines};
use lectern_protocol::{Call, Failure, FailureCode, Outcome, Reply, ReplyBody, Request};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

/// How often is looked whether a model was not used for longer than the settings say, and gives its memory back.
const LOOK_FOR_IDLE: Duration = Duration::from_secs(10);

/// Calls in flight, by id.
type Flights = Arc<Mutex<HashMap<u32, CancelFlag>>>;

/// Answers calls from `input` on `output` until the input ends, then ends the calls that still run (what they have
/// stored stays) and returns.
pub async fn serve(
    lectern: Arc<Lectern>,
    input: impl AsyncBufRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) {
    let (replies, outgoing) = unbounded_channel();
    let writer = tokio::spawn(write(output, outgoing));
    let idle = tokio::spawn(let_the_model_go(Arc::clone(&lectern)));
    let flights = Flights::default();
    let mut calls = JoinSet::new();
    let mut lines = Lines::new(input);
    while let Some(line) = lines.next().await {
        // Ended calls are collected as we go, so that a long session does not keep them.
        while calls.try_join_next().is_some() {}
        if replies.is_closed() {
            break;
        }
        match read_call(line) {
            Ok(Some(call)) => begin(call, &lectern, &replies, &flights, &mut calls),
            Ok(None) => {}
            Err((id, failure)) => send(&replies, id, ReplyBody::Error(failure)),
        }
    }
    for flight in locked(&flights).values() {
        flight.cancel();
    }
    while calls.join_next().await.is_some() {}
    idle.abort();
    drop(replies);
    if let Err(error) = writer.await {
        tracing::error!("the last replies were not written: {error}");
    }
    lectern.close().await;
}

/// Starts a call, or ends another one.
fn begin(
    call: Call,
    lectern: &Arc<Lectern>,
    replies: &UnboundedSender<Reply>,
    flights: &Flights,
    calls: &mut JoinSet<()>,
) {
    let id = call.id;
    if let Request::Cancel { call } = call.request {
        // One that has ended meanwhile is as good as ended.
        if let Some(flight) = locked(flights).get(&call) {
            flight.cancel();
        }
        return send(replies, id, ReplyBody::Result(Outcome::Done));
    }
    let cancel = CancelFlag::new();
    if locked(flights).contains_key(&id) {
        let failure = malformed(format!("the id {id} belongs to a call that still runs"));
        return send(replies, id, ReplyBody::Error(failure));
    }
    locked(flights).insert(id, cancel.clone());
    let events = replies.clone();
    let job = Job::new(
        move |event| send(&events, id, ReplyBody::Event(event)),
        cancel,
    );
    let (lectern, replies, flights) = (Arc::clone(lectern), replies.clone(), Arc::clone(flights));
    calls.spawn(async move {
        let work = tokio::spawn(dispatch::work(lectern, call.request, job));
        let body = match work.await {
            Ok(Ok(outcome)) => ReplyBody::Result(outcome),
            Ok(Err(failure)) => ReplyBody::Error(failure),
            Err(panic) => {
                tracing::error!("call {id} ended in a panic: {panic}");
                ReplyBody::Error(Failure {
                    code: FailureCode::Other,
                    message: "the engine met a fault of its own; this call was given up".to_owned(),
                    advice: Some("Nothing that was stored is lost. Try again.".to_owned()),
                })
            }
        };
        // The id is free again before the client can know that it is.
        locked(&flights).remove(&id);
        send(&replies, id, body);
    });
}

/// A call, nothing (an empty line), or what to say under which id.
fn read_call(line: Line) -> Result<Option<Call>, (u32, Failure)> {
    let bytes = match line {
        Line::Whole(bytes) => bytes,
        Line::TooLong { limit } => {
            let fact = format!("a line is longer than {limit} bytes");
            return Err((0, malformed(fact)));
        }
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let id = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|value| value.get("id")?.as_u64())
            .and_then(|id| u32::try_from(id).ok())
            .unwrap_or(0);
        (id, malformed(format!("a line is no call: {error}")))
    })
}

fn malformed(fact: String) -> Failure {
    Failure {
        code: FailureCode::Other,
        message: fact,
        advice: None,
    }
}

fn send(replies: &UnboundedSender<Reply>, id: u32, body: ReplyBody) {
    // Nobody listens any more: the loop ends at its next line.
    let _ = replies.send(Reply { id, body });
}

/// Writes replies, one a line, as they come.
async fn write(mut output: impl AsyncWrite + Unpin, mut replies: UnboundedReceiver<Reply>) {
    let mut lines = Vec::new();
    while let Some(reply) = replies.recv().await {
        lines.clear();
        let mut next = Some(reply);
        // Whatever is ready goes out in one write.
        while let Some(reply) = next {
            match serde_json::to_writer(&mut lines, &reply) {
                Ok(()) => lines.push(b'\n'),
                Err(error) => tracing::error!("a reply cannot be written as JSON: {error}"),
            }
            next = replies.try_recv().ok();
        }
        if let Err(error) = async {
            output.write_all(&lines).await?;
            output.flush().await
        }
        .await
        {
            tracing::warn!("nobody reads the replies any more: {error}");
            return;
        }
    }
}

async fn let_the_model_go(lectern: Arc<Lectern>) {
    loop {
        tokio::time::sleep(LOOK_FOR_IDLE).await;
        lectern.release_if_idle();
    }
}

fn locked(flights: &Flights) -> MutexGuard<'_, HashMap<u32, CancelFlag>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}
