//! One question to one of several members, and the token of a user.
//!
//! In: paths and bodies. Out: answers, from whichever member gives one. A member that does not answer, or says that there
//! is no leader, is passed over; who answered is asked first the next time. A question may have been answered although
//! the answer was lost, so whatever changes something says over what.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::EtcdError;
use super::options::{EtcdOptions, OptionsError};
use super::wire::{AuthenticateRequest, AuthenticateResponse, ErrorResponse};
use crate::model::secret::Sensitive;

/// A member that is there takes a connection at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A member answers within milliseconds, or it has no leader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// For all members together: whoever asks waits no longer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The words of a thousand hosts are a few MiB.
const ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// gRPC's numbers of reasons.
const INVALID: i64 = 3;
const LATE: i64 = 4;
const UNAVAILABLE: i64 = 14;
const UNAUTHENTICATED: i64 = 16;

type Http = HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The members of one etcd.
pub(super) struct Transport {
    members: Vec<String>,
    options: EtcdOptions,
    http: Mutex<Http>,
    first: AtomicUsize,
    token: Mutex<Option<Arc<Sensitive>>>,
}

impl Transport {
    pub(super) fn new(options: EtcdOptions) -> Result<Self, OptionsError> {
        let members = options.members()?;
        // What is wrong with it is told at once, not by the first question.
        options.login()?;
        let http = Mutex::new(connector(&options, &members)?);
        // Not everybody begins with the same one.
        let first = AtomicUsize::new(rand::random_range(0..members.len()));
        Ok(Self { members, options, http, first, token: Mutex::new(None) })
    }

    /// Asks for one answer.
    pub(super) async fn ask<A: DeserializeOwned>(&self, path: &str, question: &impl Serialize) -> Result<A, EtcdError> {
        let (member, bytes) = self.answered(path, question).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| EtcdError::Strange { endpoint: member, why: format!("{path}: {error}") })
    }

    /// Asks for the first message of an answer that is a stream.
    pub(super) async fn ask_stream(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<(String, Incoming), EtcdError> {
        let body = body_of(question, &self.members)?;
        self.each(path, &body, |member, response| async move { Ok((member, response.into_body())) }).await
    }

    async fn answered(&self, path: &str, question: &impl Serialize) -> Result<(String, Bytes), EtcdError> {
        let body = body_of(question, &self.members)?;
        self.each(path, &body, |member, response| async move {
            let bytes = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            bytes.map(|bytes| (member, bytes.to_bytes())).map_err(|error| error.to_string())
        })
        .await
    }

    /// Asks one member after the other until one has answered.
    async fn each<T, F>(
        &self,
        path: &str,
        body: &Bytes,
        take: impl Fn(String, Response<Incoming>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, String>>,
    {
        let began = tokio::time::Instant::now();
        let mut failures = Vec::new();
        let first = self.first.load(Ordering::Relaxed);
        for step in 0..self.members.len() {
            let index = (first + step) % self.members.len();
            let Some(member) = self.members.get(index) else { continue };
            let left = TIMEOUT.saturating_sub(began.elapsed()).min(ANSWER_TIMEOUT);
            if left.is_zero() {
                break;
            }
            let asked = tokio::time::timeout(left, self.ask_member(member, path, body, &take)).await;
            match asked {
                Ok(Ok(answer)) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(Trouble::Final(error))) => return Err(error),
                Ok(Err(Trouble::Passing(why))) => failures.push(format!("{member}: {why}")),
                Err(_) => failures.push(format!("{member}: no answer within {} s", left.as_secs_f32().ceil())),
            }
        }
        // A renewed certificate is taken in by connecting anew.
        if let Ok(http) = connector(&self.options, &self.members) {
            *self.http.lock().unwrap_or_else(PoisonError::into_inner) = http;
        }
        Err(EtcdError::Unreachable(failures.join("; ")))
    }

    async fn ask_member<T, F>(
        &self,
        member: &str,
        path: &str,
        body: &Bytes,
        take: &impl Fn(String, Response<Incoming>) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, String>>,
    {
        let mut renewed = false;
        loop {
            let token = self.token(member).await?;
            match self.post(member, path, body.clone(), token.as_deref()).await {
                Ok(response) => return take(member.to_owned(), response).await.map_err(Trouble::Passing),
                // Tokens end after five minutes without a question, and with their member.
                Err(Trouble::Final(EtcdError::Refused { code, message, .. }))
                    if !renewed && token.is_some() && is_old_token(code, &message) =>
                {
                    renewed = true;
                    self.set_token(None);
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    fn set_token(&self, token: Option<Arc<Sensitive>>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// The token of our user; none where etcd has no users for us.
    async fn token(&self, member: &str) -> Result<Option<Arc<Sensitive>>, Trouble> {
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let unusable = |why: String| Trouble::Final(EtcdError::Unreachable(why));
        let Some(login) = self.options.login().map_err(|error| unusable(error.to_string()))? else { return Ok(None) };
        let password = String::from_utf8_lossy(login.password.expose());
        let question = AuthenticateRequest { name: &login.user, password: &password };
        let body = serde_json::to_vec(&question).map_err(|error| unusable(error.to_string()))?;
        let response = match self.post(member, "/v3/auth/authenticate", body.into(), None).await {
            Err(Trouble::Final(EtcdError::Refused { message, .. })) if message.contains("not enabled") => {
                // It has no users: whoever reaches it may do all.
                return Ok(None);
            }
            other => other?,
        };
        let bytes = Limited::new(response.into_body(), 64 * 1024).collect().await;
        let bytes = bytes.map_err(|error| Trouble::Passing(error.to_string()))?.to_bytes();
        let answer: AuthenticateResponse =
            serde_json::from_slice(&bytes).map_err(|error| Trouble::Passing(error.to_string()))?;
        let token = Arc::new(Sensitive::new(answer.token));
        self.set_token(Some(token.clone()));
        Ok(Some(token))
    }

    async fn post(
        &self,
        member: &str,
        path: &str,
        body: Bytes,
        token: Option<&Sensitive>,
    ) -> Result<Response<Incoming>, Trouble> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{member}{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            // A member that has lost its leader ends a watch instead of keeping silent.
            .header("grpc-metadata-hasleader", "true");
        if let Some(token) = token {
            let mut value = HeaderValue::from_bytes(token.expose())
                .map_err(|_| Trouble::Passing("its token is none for HTTP".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| Trouble::Passing(error.to_string()))?;
        let http = self.http.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let response = http.request(request).await.map_err(|error| Trouble::Passing(causes(&error)))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let bytes = Limited::new(response.into_body(), 64 * 1024).collect().await;
        let bytes = bytes.map_err(|error| Trouble::Passing(error.to_string()))?.to_bytes();
        Err(refusal(member, status, &bytes))
    }
}

/// Why a member was of no use.
enum Trouble {
    /// Another one may be.
    Passing(String),
    /// No other one will be.
    Final(EtcdError),
}

fn is_old_token(code: i64, message: &str) -> bool {
    code == UNAUTHENTICATED || (code == INVALID && message.contains("revision of auth store is old"))
}

fn refusal(member: &str, status: StatusCode, body: &[u8]) -> Trouble {
    let endpoint = member.to_owned();
    let Ok(error) = serde_json::from_slice::<ErrorResponse>(body) else {
        let text = String::from_utf8_lossy(body);
        let words = text.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
        // What is in front of the gateway speaks plain text.
        return Trouble::Final(if words.starts_with("CommonName of client") {
            let message =
                "where it has users and asks for client certificates, ours must have no CommonName".to_owned();
            EtcdError::Refused { endpoint, code: INVALID, message }
        } else {
            EtcdError::Strange { endpoint, why: format!("{status}: {words}") }
        });
    };
    let message = if error.message.is_empty() { error.error } else { error.message };
    match error.code {
        UNAVAILABLE | LATE => Trouble::Passing(message),
        code => Trouble::Final(EtcdError::Refused { endpoint, code, message }),
    }
}

fn body_of(question: &impl Serialize, members: &[String]) -> Result<Bytes, EtcdError> {
    serde_json::to_vec(question).map(Bytes::from).map_err(|error| EtcdError::Strange {
        endpoint: members.first().cloned().unwrap_or_default(),
        why: error.to_string(),
    })
}

/// An error of hyper says little; its causes say the rest.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}

fn connector(options: &EtcdOptions, members: &[String]) -> Result<Http, OptionsError> {
    let tls = if members.iter().any(|member| member.starts_with("https://")) {
        options.tls()?
    } else {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| OptionsError::File(error.to_string()))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    Ok(HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(https))
}
