//! From a request to what it comes to.

use crate::lectern::{Job, Lectern};
use lectern_protocol::{Failure, Outcome, Request};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Works a request to its end.
pub(super) async fn work(
    lectern: Arc<Lectern>,
    request: Request,
    job: Job,
) -> Result<Outcome, Failure> {
    Ok(match request {
        Request::Hello => Outcome::Hello(lectern.hello()),
        Request::Library => Outcome::Library {
            documents: lectern.list().await?,
        },
        Request::Add { paths, password } => {
            let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
            Outcome::Added {
                added: lectern.add(&paths, password.as_deref(), &job).await?,
            }
        }
        Request::Remove { document } => {
            lectern.remove(&document).await?;
            Outcome::Done
        }
        Request::Changes => Outcome::Changes {
            changes: lectern.changes().await?,
        },
        Request::Refresh {
            document,
            password,
            again,
        } => Outcome::Refreshed {
            refreshed: lectern
                .refresh(
                    &document,
                    password.as_deref(),
                    again.unwrap_or_default(),
                    &job,
                )
                .await?,
        },
        Request::Read { document } => Outcome::Read {
            document: lectern.read(&document, &job).await?,
        },
        Request::Ask(ask) => Outcome::Answer {
            answer: lectern.ask(ask, &job).await?,
        },
        Request::Conversations { document, query } => Outcome::Conversations {
            conversations: lectern
                .conversations(document.as_deref(), query.as_deref())
                .await?,
        },
        Request::CitedBy { document, span } => Outcome::CitedBy {
            answers: lectern.cited_by(&document, span).await?,
        },
        Request::Conversation { conversation } => Outcome::Conversation {
            conversation: lectern.conversation(&conversation).await?,
        },
        Request::DeleteConversation { conversation } => {
            lectern.delete_conversation(&conversation).await?;
            Outcome::Done
        }
        Request::Export {
            conversation,
            format,
        } => {
            let (file_name, text) = lectern.export(&conversation, format).await?;
            Outcome::Exported { file_name, text }
        }
        Request::Follow { link } => Outcome::Followed {
            citation: lectern.follow(&link).await?,
        },
        Request::Outline { document } => Outcome::Outline {
            outline: lectern.outline(&document).await?,
        },
        Request::Content {
            document,
            first,
            count,
        } => Outcome::Content {
            blocks: lectern.content(&document, first, count).await?,
        },
        Request::Locate { document, spans } => Outcome::Located {
            anchors: lectern.locate(&document, &spans).await?,
        },
        Request::Find { document, query } => lectern.find(&document, &query).await?,
        Request::Original { document } => lectern.original(&document).await?,
        Request::Models => Outcome::Models {
            models: lectern.models()?,
        },
        Request::DownloadModel { name } => {
            lectern.download_model(&name, &job).await?;
            Outcome::Done
        }
        Request::ImportModel { path } => {
            lectern.import_model(Path::new(&path)).await?;
            Outcome::Models {
                models: lectern.models()?,
            }
        }
        Request::Settings => Outcome::Settings {
            settings: lectern.settings(),
        },
        Request::ChangeSettings { settings } => Outcome::Settings {
            settings: lectern.change_settings(settings)?,
        },
        Request::DescribeEndpoint { endpoint } => Outcome::Endpoint {
            endpoint: lectern.describe_endpoint(&endpoint)?,
        },
        Request::KeepEndpointKey { endpoint, key } => Outcome::Endpoint {
            endpoint: lectern.keep_endpoint_key(&endpoint, key)?,
        },
        Request::Storage => lectern.storage()?,
        Request::Forget { document } => {
            lectern.forget(&document).await?;
            Outcome::Done
        }
        // Ends another call where calls are begun; here there is nothing left to do.
        Request::Cancel { .. } => Outcome::Done,
    })
}
