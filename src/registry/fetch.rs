//! An engine as a [`Registry`]: which places are asked for something, with which credentials, within
//! which bounds. References are rebuilt; mirrors come before the registry.

use std::io::Read;
use std::sync::Arc;

use super::engine::{Content, Engine, Task, internal, read_all};
use super::request::Request;
use super::source::{Candidate, Pull, Turn};
use super::{Answer, InspectError, Registry};
use crate::image::Digest;
use crate::report::ErrorKind;

impl Engine {
    /// Asks the mirrors, then the registry itself, until one has it.
    async fn fetch<T: Send + 'static>(
        &self,
        pull: &Pull,
        request: Request<'_>,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<Answer<Content<T>>, InspectError> {
        let mut missed = Vec::new();
        for mirror in self.settings.registries.mirrors_of(pull) {
            match self.fetch_from(&mirror, request, read.clone()).await {
                Ok(value) => {
                    let via = Some(Arc::clone(&mirror.registry));
                    return Ok(Answer { value, via });
                }
                Err(error) if error.kind == ErrorKind::Deadline => return Err(error),
                Err(error) => {
                    self.note_mirror(&mirror, &error);
                    missed.push((mirror, error.kind));
                }
            }
        }
        let answer = self.fetch_from(pull, request, read).await;
        let answer = answer.map(|value| Answer { value, via: None });
        answer.map_err(|mut error| {
            for (mirror, kind) in missed {
                let also = format!("; its mirror {}: {}", mirror.registry, kind.name());
                error.message.push_str(&also);
            }
            error
        })
    }

    /// Asks one place, with the credentials in turn.
    async fn fetch_from<T: Send + 'static>(
        &self,
        pull: &Pull,
        request: Request<'_>,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<Content<T>, InspectError> {
        let access = self.access(&pull.registry);
        let mut turn = self.credentials.turn(pull);
        while let Some(candidate) = self.next(&mut turn).await {
            let task = Task {
                pull,
                access: &access,
                candidate: &candidate,
                request,
                limits: request.limits(access.timeout, self.settings.max_layer_bytes),
            };
            within_budget(&task)?;
            let result = self.run(&task, read.clone()).await;
            let is_refused = tokio::select! {
                biased;
                // The last answer is as good as the run's end.
                () = self.stop.cancelled() => false,
                is_refused = turn.is_refused(&candidate, result.as_ref().err()) => is_refused,
            };
            if !is_refused {
                return result;
            }
        }
        Err(turn.refusal())
    }

    /// The next credential to try, unless the run is over.
    async fn next(&self, turn: &mut Turn<'_>) -> Option<Candidate> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => turn.next_known(),
            candidate = turn.next() => candidate,
        }
    }

    async fn fetch_small(
        &self,
        pull: &Pull,
        request: Request<'_>,
    ) -> Result<Answer<Vec<u8>>, InspectError> {
        let Answer { value, via } = self.fetch(pull, request, read_all).await?;
        let value = value
            .value
            .map_err(|_| internal("what the registry sent could not be read"))?;
        Ok(Answer { value, via })
    }
}

/// Whether the registry's budget of manifests allows for a request.
fn within_budget(task: &Task<'_>) -> Result<(), InspectError> {
    let Request::Manifest { child, .. } = task.request else {
        return Ok(());
    };
    if task
        .access
        .may_ask_for_manifest(task.candidate.credential.is_some(), child)
    {
        return Ok(());
    }
    let registry = task.registry();
    let message = format!(
        "the run's budget of manifests for {registry} is spent: a later night goes on here; a credential or a larger manifest_budget in --registries lets one do more"
    );
    Err(InspectError::new(ErrorKind::RateLimited, message).skipped())
}

impl Registry for Engine {
    async fn resolve(&self, pull: &Pull, tag: &str) -> Result<Digest, InspectError> {
        let answer = self.fetch_small(pull, Request::Tag(tag)).await?;
        let text = String::from_utf8(answer.value).unwrap_or_default();
        text.trim().parse().map_err(|_| {
            let registry = answer.via.as_ref().unwrap_or(&pull.registry);
            let message = format!("{registry} did not answer with a digest for this tag");
            InspectError::new(ErrorKind::Invalid, message)
        })
    }

    async fn manifest(
        &self,
        pull: &Pull,
        digest: &Digest,
        child: bool,
    ) -> Result<Answer<Vec<u8>>, InspectError> {
        let request = Request::Manifest { digest, child };
        self.fetch_small(pull, request).await
    }

    async fn configuration(
        &self,
        pull: &Pull,
        digest: &Digest,
    ) -> Result<Answer<Vec<u8>>, InspectError> {
        self.fetch_small(pull, Request::Configuration(digest)).await
    }

    async fn layer<T: Send + 'static>(
        &self,
        pull: &Pull,
        digest: &Digest,
        read: impl FnOnce(&mut dyn Read) -> T + Clone + Send + 'static,
    ) -> Result<(T, bool), InspectError> {
        let content = self.fetch(pull, Request::Layer(digest), read).await?.value;
        Ok((content.value, content.is_whole))
    }
}
