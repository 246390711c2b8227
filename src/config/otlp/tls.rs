//! What TLS needs beyond the system's trust: PEM files.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret as _, SecretString};

use super::rows::Rows;
use crate::config::parse::Parsed;
use crate::config::reader::{Given, Reader};
use crate::config::shown::{Shown, quoted};

/// Whatever is larger is not what it should be.
const LARGEST: u64 = 1024 * 1024;

/// What TLS is told, in PEM.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Tls {
    /// Certificates to trust instead of the system's; at least one.
    pub ca: Option<Vec<u8>>,
    /// The client's certificate, perhaps with others that lead to its authority's, and its key.
    pub identity: Option<(Vec<u8>, SecretString)>,
}

/// Says only what there is.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// A file of certificates.
#[derive(Clone)]
pub(super) struct Certificates {
    path: String,
    pub(super) pem: Vec<u8>,
}

/// A file with a private key.
#[derive(Clone)]
pub(super) struct PrivateKey {
    path: String,
    pub(super) pem: SecretString,
}

impl Shown for Certificates {
    fn shown(&self) -> String {
        self.path.shown()
    }
}

/// The path: that is all the variable says.
impl Shown for PrivateKey {
    fn shown(&self) -> String {
        self.path.shown()
    }
}

pub(super) fn certificates(path: &str) -> Parsed<Certificates> {
    let pem = read(path)?;
    let mut found = CertificateDer::pem_slice_iter(&pem).peekable();
    if found.peek().is_some() && found.all(|certificate| certificate.is_ok()) {
        Ok(Certificates { path: path.to_owned(), pem })
    } else {
        Err("a PEM file with a BEGIN CERTIFICATE line and what follows it".into())
    }
}

pub(super) fn private_key(path: &str) -> Parsed<PrivateKey> {
    const EXPECTED: &str = "a PEM file with an unencrypted private key";
    let pem = SecretString::from(String::from_utf8(read(path)?).map_err(|_| EXPECTED)?);
    match PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()) {
        Ok(_) => Ok(PrivateKey { path: path.to_owned(), pem }),
        Err(_) => Err(EXPECTED.into()),
    }
}

/// The client's certificate and key, of which neither is of use alone.
pub(super) fn identity(
    reader: &mut Reader<'_>,
    rows: &Rows,
    certificate: Given<Certificates>,
    key: Given<PrivateKey>,
) -> Option<(Vec<u8>, SecretString)> {
    let (of_certificate, of_key) = ("CLIENT_CERTIFICATE", "CLIENT_KEY");
    match (&certificate, &key) {
        (Given::Value(alone, name), Given::Nothing) => {
            incomplete(reader, name, &alone.path, of_certificate, of_key)
        }
        (Given::Nothing, Given::Value(alone, name)) => {
            incomplete(reader, name, &alone.path, of_key, of_certificate)
        }
        _ => {}
    }
    let certificate = reader.settle_optional(rows.client_certificate.variable.name, certificate, "-");
    let key = reader.settle_optional(rows.client_key.variable.name, key, "-");
    Some((certificate?.pem, key?.pem))
}

fn incomplete(reader: &mut Reader<'_>, name: &'static str, path: &str, is: &str, lacks: &str) {
    let prefix = name.strip_suffix(is).unwrap_or_default();
    reader.refuse(name, quoted(path), &format!("of use without {prefix}{lacks}"));
}

fn read(path: &str) -> Parsed<Vec<u8>> {
    let mut content = Vec::new();
    match File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut content)) {
        Ok(_) => Ok(content),
        Err(fault) => Err(format!("a readable file: {fault}").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Checked, Config, Environment};

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n";

    /// A directory of files, until it is dropped.
    struct Files(PathBuf);

    impl Files {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("cruddur-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn put(&self, name: &str, content: &str) -> String {
            let path = self.0.join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn check<const N: usize>(variables: [(&str, &str); N]) -> Checked {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
        Config::check(&variables.into_iter().chain([endpoint]).collect())
    }

    #[test]
    fn files_are_read_where_they_are_named_and_never_shown() {
        let files = Files::new("tls");
        let (certificate, key) = (files.put("c.pem", CERTIFICATE), files.put("k.pem", KEY));
        let environment = Environment::from_iter([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", &key),
            ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", &key),
        ]);
        let loaded = Config::load(&environment).unwrap();
        let tls = &loaded.config.otlp.traces.as_ref().unwrap().tls;
        assert_eq!(tls.ca.as_deref(), Some(CERTIFICATE.as_bytes()));
        let (of_client, its_key) = tls.identity.as_ref().unwrap();
        assert_eq!((of_client.as_slice(), its_key.expose_secret()), (CERTIFICATE.as_bytes(), KEY));
        let shown = format!("{loaded:?}");
        assert!(shown.contains(&key) && !shown.contains("aHVzaA"), "{shown}");
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    #[test]
    fn junk_is_refused_by_name_and_path() {
        const NO_CERTIFICATE: &str = "a PEM file with a BEGIN CERTIFICATE line and what follows it";
        const NO_KEY: &str = "a PEM file with an unencrypted private key";
        let files = Files::new("junk");
        for (suffix, content, expected) in [
            ("CERTIFICATE", "junk", NO_CERTIFICATE),
            ("CERTIFICATE", KEY, NO_CERTIFICATE),
            ("CLIENT_CERTIFICATE", "-----BEGIN CERTIFICATE-----\naHVzaA==\n", NO_CERTIFICATE),
            ("CLIENT_KEY", CERTIFICATE, NO_KEY),
            ("CLIENT_KEY", "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVzaA==\n", NO_KEY),
            ("CLIENT_KEY", "", NO_KEY),
        ] {
            let (name, path) = (format!("OTEL_EXPORTER_OTLP_{suffix}"), files.put("file.pem", content));
            let errors: Vec<_> = check([(&name, &path)]).errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, [format!("{name}: `{path}` is not {expected}")]);
        }
    }

    #[test]
    fn certificate_and_key_are_of_no_use_alone() {
        let files = Files::new("alone");
        for (suffix, content, lacks) in
            [("CLIENT_CERTIFICATE", CERTIFICATE, "CLIENT_KEY"), ("CLIENT_KEY", KEY, "CLIENT_CERTIFICATE")]
        {
            let (name, path) = (format!("OTEL_EXPORTER_OTLP_{suffix}"), files.put("file.pem", content));
            let errors: Vec<_> = check([(&name, &path)]).errors.iter().map(ToString::to_string).collect();
            assert_eq!(
                errors,
                [format!("{name}: `{path}` is not of use without OTEL_EXPORTER_OTLP_{lacks}")]
            );
        }
    }

    #[test]
    fn a_key_in_place_of_its_path_is_not_shown() {
        let checked = check([("OTEL_EXPORTER_OTLP_CLIENT_KEY", KEY)]);
        assert!(!checked.errors.is_empty() && !format!("{checked:?}").contains("aHVzaA"), "{checked:?}");
    }
}
