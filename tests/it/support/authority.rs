//! A certificate authority of a test's own.

use std::path::PathBuf;

use super::command;

/// An authority in a directory of its own, with a certificate for `docker` (127.0.0.1) and one for a client.
pub struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    /// A new one.
    #[track_caller]
    pub fn new() -> Self {
        let it = Self { directory: tempfile::tempdir().unwrap() };
        let (ca, ca_key) = (it.file("ca.pem"), it.file("ca-key.pem"));
        // Of the same name they would be told apart by the signature only, which makes another error.
        let subject = format!("/CN=authority {}", it.file("").replace('/', " "));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-keyout",
            &ca_key,
            "-out",
            &ca,
            "-addext",
            "keyUsage=critical,keyCertSign",
        ]);
        it.issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth");
        it.issue("client", "extendedKeyUsage=clientAuth");
        it
    }

    /// One of its files: `ca.pem`, `server/cert.pem`, `server/key.pem`.
    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    /// NAME/cert.pem and NAME/key.pem, beside a copy of the authority's ca.pem.
    #[track_caller]
    pub fn issue(&self, name: &str, extensions: &str) {
        self.issue_to(name, &format!("/CN={name}"), extensions);
    }

    /// The same for a subject of its own.
    #[track_caller]
    pub fn issue_to(&self, name: &str, subject: &str, extensions: &str) {
        std::fs::create_dir(self.directory.path().join(name)).unwrap();
        let (key, request) = (self.file(&format!("{name}/key.pem")), self.file("request.pem"));
        let (certificate, extra) = (self.file(&format!("{name}/cert.pem")), self.file("extensions"));
        std::fs::write(&extra, extensions).unwrap();
        openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", &key, "-out", &request]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &self.file("ca.pem"),
            "-CAkey",
            &self.file("ca-key.pem"),
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extra,
            "-out",
            &certificate,
        ]);
        std::fs::copy(self.file("ca.pem"), self.file(&format!("{name}/ca.pem"))).unwrap();
    }

    /// Where the client's certificate is.
    pub fn client(&self) -> PathBuf {
        self.directory.path().join("client")
    }
}

fn openssl(arguments: &[&str]) {
    command("openssl", arguments);
}
