//! Objects of one namespace in step with what is generated, by server-side apply.
//!
//! In: a [`Client`], a [`Target`], objects. Out: a [`Report`]. Each round looks first: the labels, versions and field
//! managers of what bears our label. Then it applies what is new, has changed, or was changed by somebody, and removes what
//! it applied once and is generated no longer.
//! Left out on purpose: whatever is not ours. An object is ours by two signs: both labels, and fields that our manager has
//! applied; a copy that somebody made has the first and not the second. Also left out: waiting and repeating.
//! Source: Kubernetes documentation, "Server-Side Apply", "API Concepts" (metadata-only lists, preconditions).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Client, Connection, Content};
use crate::report::{Fate, Report};
use crate::status;
use crate::{Failure, Key, Kind, Object, Reason, encoded};

/// The label of all that is generated.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label that tells one collector's objects from another's.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The label's value, and the field manager.
const US: &str = "tracemap";

const WHOLE: &str = "application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Objects of one page.
const PAGE: u32 = 500;
/// Longest page of metadata, and longest object with its field managers, in bytes.
const MAX_PAGE: usize = 32 << 20;
const MAX_OBJECT: usize = 8 << 20;

/// Where objects are published, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// The only namespace that is looked at.
    pub namespace: String,
    /// Whose they are: the value of the label [`INSTANCE`].
    pub instance: String,
    /// What is looked at. Objects of other kinds stay, whosever they are.
    pub kinds: BTreeSet<Kind>,
    /// Take fields from other managers, and objects that are not ours.
    pub force: bool,
}

/// Keeps objects in step.
pub struct Publisher {
    client: Client,
    target: Target,
    /// What was applied, and what the API server called it then.
    applied: BTreeMap<Key, Applied>,
    connection: Option<Connection>,
}

#[derive(PartialEq, Eq)]
struct Applied {
    digest: [u8; 32],
    version: String,
}

/// What bears our label in the namespace.
#[derive(Debug, Default)]
pub struct There {
    objects: BTreeMap<Key, Meta>,
    /// Kinds that the API server does not show, and why.
    hidden: BTreeMap<Kind, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
    labels: BTreeMap<String, String>,
    managed_fields: Vec<Managed>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Managed {
    manager: String,
    operation: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Partial {
    metadata: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    metadata: PageMeta,
    items: Option<Vec<Partial>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PageMeta {
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl Meta {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str)
    }

    fn is_applied_by_us(&self) -> bool {
        let mut managed = self.managed_fields.iter();
        managed.any(|fields| fields.manager == US && fields.operation == "Apply")
    }

    fn is_ours(&self, instance: &str) -> bool {
        self.label(MANAGED_BY) == Some(US)
            && self.label(INSTANCE) == Some(instance)
            && self.is_applied_by_us()
    }

    /// Why it must stay as it is, where it must.
    fn stays(&self, target: &Target) -> Option<Fate> {
        if self.deletion_timestamp.is_some() {
            return Some(Fate::Refused("one of its name is being removed".to_owned()));
        }
        match self
            .label(INSTANCE)
            .filter(|_| self.label(MANAGED_BY) == Some(US))
        {
            // Not by force either: both would take it from the other for ever.
            Some(other) if other != target.instance => {
                let whose = format!("`{INSTANCE}: {other}` says that it is another collector's");
                Some(Fate::Foreign(whose))
            }
            _ => None,
        }
    }
}

impl There {
    /// What the publisher of `instance` would remove if `wanted` were all that there should be.
    pub fn gone<'a>(&'a self, instance: &'a str, wanted: &'a [Object]) -> impl Iterator<Item = &'a Key> {
        let wanted: BTreeSet<&Key> = wanted.iter().map(|object| &object.key).collect();
        let gone = self.objects.iter().filter(move |(key, meta)| {
            !wanted.contains(key) && meta.deletion_timestamp.is_none() && meta.is_ours(instance)
        });
        gone.map(|(key, _)| key)
    }
}

impl Publisher {
    /// Looks at nothing yet.
    pub fn new(client: Client, target: Target) -> Self {
        Self {
            client,
            target,
            applied: BTreeMap::new(),
            connection: None,
        }
    }

    /// Where it publishes, and how.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What bears our label, without its contents.
    ///
    /// # Errors
    /// The API server cannot be asked. A kind that it does not know or show is no error here: it is told of each object.
    pub async fn look(&mut self) -> Result<There, Failure> {
        // One connection for each round: a server that goes away closes it between two.
        self.connection = None;
        let mut there = There::default();
        for kind in self.target.kinds.clone() {
            match self.list(kind).await? {
                Ok(found) => there.objects.extend(found),
                Err(why) => drop(there.hidden.insert(kind, why)),
            }
        }
        Ok(there)
    }

    async fn list(&mut self, kind: Kind) -> Result<Result<Vec<(Key, Meta)>, String>, Failure> {
        let (path, mut found, mut place) = (kind.path(&self.target.namespace), Vec::new(), String::new());
        let selector = encoded(&format!("{MANAGED_BY}={US}"));
        loop {
            let target = format!("{path}?labelSelector={selector}&limit={PAGE}{place}");
            let (status, body) = self
                .ask(Method::GET, &target, METADATA_LIST, Content::None, MAX_PAGE)
                .await?;
            match status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    let version = kind.api_version();
                    return Ok(Err(format!(
                        "the cluster has no `{}` of `{version}`: install its definition",
                        kind.as_str()
                    )));
                }
                _ if status.is_client_error() && status != StatusCode::GONE => {
                    return Ok(Err(status::message(&body)));
                }
                _ => return Err(said(status, &body)),
            }
            let page: Page =
                serde_json::from_slice(&body).map_err(|error| Failure::new(Reason::Malformed, error))?;
            for Partial { metadata } in page.items.into_iter().flatten() {
                let name = metadata.name.clone();
                found.push((Key { kind, name }, metadata));
            }
            let Some(next) = page.metadata.next.filter(|next| !next.is_empty()) else {
                return Ok(Ok(found));
            };
            place = format!("&continue={}", encoded(&next));
        }
    }

    /// All of an object; `None` where there is none, or it is not shown.
    ///
    /// # Errors
    /// The API server cannot be asked.
    pub async fn read(&mut self, key: &Key) -> Result<Option<Value>, Failure> {
        let (status, body) = self
            .ask(Method::GET, &self.path(key), WHOLE, Content::None, MAX_OBJECT)
            .await?;
        if status.is_client_error() {
            return Ok(None);
        }
        if status != StatusCode::OK {
            return Err(said(status, &body));
        }
        let object = serde_json::from_slice(&body);
        Ok(Some(
            object.map_err(|error| Failure::new(Reason::Malformed, error))?,
        ))
    }

    /// Brings the namespace in step with `wanted`, which are all objects that there should be; with `dry_run` the API
    /// server only says what would become of them.
    ///
    /// # Errors
    /// The API server cannot be asked, or has no time. What was done until then stays done.
    pub async fn publish(
        &mut self,
        there: &There,
        wanted: &[Object],
        dry_run: bool,
    ) -> Result<Report, Failure> {
        let mut report = Report::default();
        for object in wanted {
            let key = &object.key;
            // Hundreds of large objects are digested here, and others use this thread.
            tokio::task::yield_now().await;
            let fate = if !self.target.kinds.contains(&key.kind) {
                continue;
            } else if let Some(why) = there.hidden.get(&key.kind) {
                Fate::Refused(why.clone())
            } else {
                self.bring(object, there.objects.get(key), dry_run).await?
            };
            report.note(key, fate);
        }
        let instance = self.target.instance.clone();
        for key in there.gone(&instance, wanted) {
            let fate = self.remove(key, there.objects.get(key), dry_run).await?;
            report.note(key, fate);
        }
        self.connection = None;
        Ok(report)
    }

    async fn bring(&mut self, object: &Object, there: Option<&Meta>, dry_run: bool) -> Result<Fate, Failure> {
        let key = &object.key;
        let body = match self.body(object) {
            Ok(body) => body,
            Err(why) => return Ok(Fate::Refused(why)),
        };
        let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
        match there {
            Some(meta) => {
                if let Some(fate) = meta.stays(&self.target) {
                    return Ok(fate);
                }
                let version = meta.resource_version.clone();
                if self.applied.get(key) == Some(&Applied { digest, version }) {
                    return Ok(Fate::Unchanged);
                }
            }
            // It may be somebody's who has no label of ours.
            None if !self.target.force && self.is_taken(key).await? => {
                let whose = "one of its name is there without our label, and is not ours".to_owned();
                return Ok(Fate::Foreign(whose));
            }
            None => {}
        }
        if dry_run {
            return self.would(key, &body, there.is_some()).await;
        }
        let target = self.apply_target(key, false);
        let apply = Content::Apply(&body);
        let (status, answer) = self
            .ask(Method::PATCH, &target, METADATA, apply, MAX_OBJECT)
            .await?;
        if let Some(fate) = refusal(key.kind, status, &answer)? {
            self.applied.remove(key);
            return Ok(fate);
        }
        let partial: Partial =
            serde_json::from_slice(&answer).map_err(|error| Failure::new(Reason::Malformed, error))?;
        let version = partial.metadata.resource_version;
        let is_as_it_was = there.is_some_and(|meta| meta.resource_version == version);
        self.applied.insert(key.clone(), Applied { digest, version });
        Ok(if is_as_it_was {
            Fate::Unchanged
        } else {
            Fate::Applied
        })
    }

    /// The fields that are to be ours.
    fn body(&self, object: &Object) -> Result<String, String> {
        let (mut json, target) = (object.json.clone(), &self.target);
        if let Some(namespace) = json.pointer("/metadata/namespace").and_then(Value::as_str)
            && namespace != target.namespace
        {
            return Err(format!(
                "it is generated for the namespace `{namespace}`, and published into `{}`: set both to one",
                target.namespace
            ));
        }
        json["metadata"]["namespace"] = json!(target.namespace);
        if !json["metadata"]["labels"].is_object() {
            json["metadata"]["labels"] = json!({});
        }
        json["metadata"]["labels"][MANAGED_BY] = json!(US);
        json["metadata"]["labels"][INSTANCE] = json!(target.instance);
        Ok(json.to_string())
    }

    async fn is_taken(&mut self, key: &Key) -> Result<bool, Failure> {
        let (status, body) = self
            .ask(Method::GET, &self.path(key), METADATA, Content::None, MAX_OBJECT)
            .await?;
        match status {
            StatusCode::NOT_FOUND => Ok(false),
            StatusCode::OK => Ok(true),
            _ => Err(said(status, &body)),
        }
    }

    /// What would become of it: of a trial the API server gives no version by which to see whether it would change.
    async fn would(&mut self, key: &Key, body: &str, is_there: bool) -> Result<Fate, Failure> {
        let before = if is_there { self.read(key).await? } else { None };
        let (target, apply) = (self.apply_target(key, true), Content::Apply(body));
        let (status, answer) = self.ask(Method::PATCH, &target, WHOLE, apply, MAX_OBJECT).await?;
        if let Some(fate) = refusal(key.kind, status, &answer)? {
            return Ok(fate);
        }
        let after: Value =
            serde_json::from_slice(&answer).map_err(|error| Failure::new(Reason::Malformed, error))?;
        Ok(if before.map(essence) == Some(essence(after)) {
            Fate::Unchanged
        } else {
            Fate::Applied
        })
    }

    /// Removes exactly what was looked at.
    async fn remove(&mut self, key: &Key, there: Option<&Meta>, dry_run: bool) -> Result<Fate, Failure> {
        let Some(meta) = there else {
            return Ok(Fate::Unchanged);
        };
        self.applied.remove(key);
        let mut options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
            "preconditions": { "uid": meta.uid, "resourceVersion": meta.resource_version },
        });
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        let (options, path) = (options.to_string(), self.path(key));
        let (status, answer) = self
            .ask(
                Method::DELETE,
                &path,
                METADATA,
                Content::Json(&options),
                MAX_OBJECT,
            )
            .await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Fate::Removed);
        }
        Ok(refusal(key.kind, status, &answer)?.unwrap_or(Fate::Removed))
    }

    fn path(&self, key: &Key) -> String {
        format!("{}/{}", key.kind.path(&self.target.namespace), encoded(&key.name))
    }

    fn apply_target(&self, key: &Key, dry_run: bool) -> String {
        let trial = if dry_run { "&dryRun=All" } else { "" };
        let (path, force) = (self.path(key), self.target.force);
        format!("{path}?fieldManager={US}&force={force}{trial}")
    }

    /// Asks on the round's connection; one that has ended is made again.
    async fn ask(
        &mut self,
        method: Method,
        target: &str,
        accept: &'static str,
        content: Content<'_>,
        most: usize,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => self.client.connect().await?,
        };
        let answer = connection.ask(method, target, accept, content).await?;
        let (status, failure) = (answer.status, answer.failure());
        let body = answer.read(most).await?;
        self.connection = Some(connection);
        // Of the server, or of who asks: no other object fares better.
        match status.as_u16() {
            401 | 429 | 502 | 503 | 504 => Err(Failure {
                cause: format!("{}: {}", failure.cause, status::message(&body)),
                ..failure
            }),
            _ => Ok((status, body)),
        }
    }
}

/// Why an object was not taken, where it was not.
fn refusal(kind: Kind, status: StatusCode, body: &[u8]) -> Result<Option<Fate>, Failure> {
    if status.is_success() {
        return Ok(None);
    }
    if status == StatusCode::CONFLICT
        && let Some(conflict) = status::conflict(body)
    {
        return Ok(Some(Fate::Conflict(conflict)));
    }
    // A 500 may be of an admission webhook, which other objects have nothing to do with.
    if status.is_client_error() || status == StatusCode::INTERNAL_SERVER_ERROR {
        // Addresses of receivers may hold a secret, and a complaint quotes what it is about.
        let why = match kind {
            Kind::AlertmanagerConfig => status::without_values(status, body),
            Kind::ConfigMap | Kind::PrometheusRule => status::message(body),
        };
        return Ok(Some(Fate::Refused(why)));
    }
    Err(said(status, body))
}

fn said(status: StatusCode, body: &[u8]) -> Failure {
    let failure = Failure::of_status(status.as_u16());
    Failure {
        cause: format!("{}: {}", failure.cause, status::message(body)),
        ..failure
    }
}

/// An object without what each write changes.
fn essence(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(name);
        }
    }
    object
}
