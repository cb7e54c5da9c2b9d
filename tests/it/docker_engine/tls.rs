//! TCP: with TLS and client certificates, and without on loopback only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mastic::edge::docker::{Certificates, ConnectOptions, DockerEngine, Endpoint};
use mastic::port::engine::{EngineError, ObserveEngine};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support::Authority;

/// The engine's socket.
fn socket() -> PathBuf {
    match ConnectOptions::from_environment(|name| std::env::var(name).ok()).unwrap().endpoint {
        Endpoint::Unix(path) => path,
        other => panic!("these tests need the engine's socket, not {other:?}"),
    }
}

/// Puts the engine behind TLS on a port of loopback and returns the port.
async fn serve(authority: &Authority) -> u16 {
    let chain = CertificateDer::pem_file_iter(authority.file("server/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.file("server/key.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority.file("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = socket();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                if let (Ok(mut stream), Ok(mut engine)) =
                    (acceptor.accept(stream).await, UnixStream::connect(socket).await)
                {
                    let _ended = copy_bidirectional(&mut stream, &mut engine).await;
                }
            });
        }
    });
    port
}

fn connect(host: &str, directory: &Path) -> DockerEngine {
    let environment = |name: &str| match name {
        "DOCKER_HOST" => Some(host.to_owned()),
        "DOCKER_TLS_VERIFY" => Some("1".to_owned()),
        "DOCKER_CERT_PATH" => Some(directory.to_string_lossy().into_owned()),
        _ => None,
    };
    DockerEngine::new(&ConnectOptions::from_environment(environment).unwrap(), Arc::new(|_| None)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_open_the_door_and_nothing_else_does() {
    let (ours, foreign) = (Authority::new(), Authority::new());
    let port = serve(&ours).await;
    let host = format!("tcp://127.0.0.1:{port}");

    let engine = connect(&host, &ours.client());
    assert_eq!(engine.version().await.unwrap().engine, "docker");
    engine.list_containers().await.unwrap();
    let mut events = engine.events().await.unwrap();
    assert!(futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut events)).is_none());
    assert_eq!(connect(&format!("tcp://localhost:{port}"), &ours.client()).version().await.unwrap().engine, "docker");

    let refused = |engine: DockerEngine| async move {
        match engine.version().await {
            Err(EngineError::Unreachable(text)) => text.replace(&port.to_string(), "PORT"),
            other => panic!("{other:?}"),
        }
    };
    // We do not trust whoever answers,
    let text = refused(connect(&host, &foreign.client())).await;
    assert!(text.contains("UnknownIssuer") && text.starts_with("tcp://127.0.0.1:PORT"), "{text}");
    // and it does not trust us: no certificate, or one of somebody else's.
    let without = Certificates { authority: Some(ours.file("ca.pem").into()), ..Certificates::default() };
    let options = ConnectOptions::parse(&host, Some(without)).unwrap();
    let text = refused(DockerEngine::new(&options, Arc::new(|_| None)).unwrap()).await;
    let is_gone = |text: &str| text.contains("does the engine accept our certificate?");
    assert!(text.contains("CertificateRequired") || is_gone(&text), "{text}");
    let other =
        Certificates { authority: Some(ours.file("ca.pem").into()), ..Certificates::in_directory(&foreign.client()) };
    let options = ConnectOptions::parse(&host, Some(other)).unwrap();
    let text = refused(DockerEngine::new(&options, Arc::new(|_| None)).unwrap()).await;
    assert!(text.contains("UnknownCA") || text.contains("DecryptError") || is_gone(&text), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_tcp_is_spoken_on_loopback_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("tcp://{}", listener.local_addr().unwrap());
    let socket = socket();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut engine = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut engine).await });
        }
    });
    let engine = DockerEngine::new(&ConnectOptions::parse(&host, None).unwrap(), Arc::new(|_| None)).unwrap();
    assert_eq!(engine.version().await.unwrap().engine, "docker");
    assert!(ConnectOptions::parse("tcp://192.0.2.1:2375", None).is_err());
}
