//! Questions that a server answers, and what a person may know and set of it.
//!
//! Neither the seat nor a model is needed: a document is read, and other questions wait, undisturbed meanwhile.

use super::passages::passages;
use super::{Job, Lectern, blocking};
use crate::asking::{self, OpenDocument, Sampling, ServedQuestion, Turn as Earlier};
use crate::document::Span;
use crate::endpoint::{self, Address, Server};
use crate::library::StoredDocument;
use crate::retrieval::Ranked;
use lectern_protocol::{
    Answer, Ask, AskStage, Endpoint, EndpointDescription, Event, Failure, Secret,
};
use std::sync::Arc;
use tokio::runtime::Handle;

impl Lectern {
    /// The server that answers, if one does: that of the options, else of the settings where it is on.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let of_settings = || Some(self.settings().endpoint).filter(|endpoint| endpoint.on);
        self.options.endpoint.clone().or_else(of_settings)
    }

    /// What would go to a server.
    pub fn describe_endpoint(&self, endpoint: &Endpoint) -> Result<EndpointDescription, Failure> {
        let address = Address::parse(&endpoint.url)?;
        let key = endpoint::key_of(self.library.home(), &address)?;
        Ok(endpoint::describe(endpoint, key.is_some())?)
    }

    /// Keeps the key of a server, or forgets it.
    pub fn keep_endpoint_key(
        &self,
        endpoint: &Endpoint,
        key: Option<Secret>,
    ) -> Result<EndpointDescription, Failure> {
        let address = Address::parse(&endpoint.url)?;
        endpoint::keep_key(self.library.home(), &address, key)?;
        self.describe_endpoint(endpoint)
    }

    /// The server, ready to be asked.
    fn server(&self, endpoint: &Endpoint) -> Result<Server, Failure> {
        let address = Address::parse(&endpoint.url)?;
        let key = endpoint::key_of(self.library.home(), &address)?;
        Ok(Server::new(endpoint, key)?)
    }

    /// Lets a server answer. An answer that broke off is kept as far as it was said; the call then fails.
    pub(super) async fn ask_endpoint(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ask: Ask,
        history: Vec<Earlier>,
        job: &Job,
    ) -> Result<Answer, Failure> {
        let server = self.server(endpoint)?;
        let stored = self.stored(&ask.document).await?;
        job.tell(Event::Stage {
            stage: AskStage::Retrieving,
        });
        let looks = self.look_at(&ask.document, job);
        let served = Served {
            lectern: Arc::clone(self),
            on: Handle::current(),
            job: job.clone(),
            document_tokens: endpoint.document_tokens as usize,
            ask: ask.clone(),
            server,
            stored,
            history,
        };
        let (answer, broken) = blocking(move || served.work()).await?;
        drop(looks);
        let kept = self.keep_answer(&ask, answer).await;
        match broken {
            Some(failure) => Err(failure),
            None => kept,
        }
    }
}

/// A question being asked, on a thread of its own.
struct Served {
    lectern: Arc<Lectern>,
    on: Handle,
    job: Job,
    document_tokens: usize,
    ask: Ask,
    server: Server,
    stored: Arc<StoredDocument>,
    history: Vec<Earlier>,
}

impl Served {
    fn work(&self) -> Result<(Answer, Option<Failure>), Failure> {
        if self.ask.question.trim().is_empty() {
            return Err(asking::AskError::Empty.into());
        }
        let document: Arc<OpenDocument> = self.lectern.opened.ask(&self.stored);
        let earlier = self.history.last();
        let ranked = self
            .lectern
            .ranked(&self.on, &document, &self.ask.question, earlier)?;
        let question = ServedQuestion {
            text: &self.ask.question,
            told: self.lectern.told_behind(&self.ask.question),
            history: &self.history,
            max_tokens: self.lectern.answer_tokens(&self.ask),
            sampling: Sampling::of(&self.ask),
            document_tokens: self.document_tokens,
        };
        let mut tell = |event: Event| {
            self.lectern
                .tell_anchored(&self.on, &self.stored, &self.job, event);
        };
        let (mut answer, broken) = asking::ask_server(
            &self.server,
            &document,
            &question,
            &|bytes| self.passages(&document, &ranked, bytes),
            &self.job.cancel,
            &mut tell,
        )?;
        self.lectern
            .tell_nearest(&self.on, &document, &mut answer, earlier);
        self.lectern
            .anchor_answer(&self.on, &self.stored, &mut answer);
        Ok((answer, broken.map(Failure::from)))
    }

    /// The whole text where it fits, else the passages that match best.
    fn passages(&self, open: &OpenDocument, ranked: &[Ranked], bytes: usize) -> Vec<Span> {
        let text = &open.document.text;
        match text.len() <= bytes {
            true => vec![Span::new(0, text.len())],
            false => passages(open, &self.ask.question, ranked, bytes, |span| span.len()),
        }
    }
}
