//! From a database URL to a session with the settings Plimsoll counts on.

use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use postgres_openssl::MakeTlsConnector;

use super::error::StoreError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Unacknowledged bytes for this long mean that the server or the way to it is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Locks and transactions of a writer that hangs must not hold up the others: by the time its transaction is ended
/// the group has long given its partitions away. The sort that picks the newest of several versions should stay in
/// memory.
const SESSION: &str = "SET timezone = 'UTC'; SET lock_timeout = '30s'; SET statement_timeout = '5min'; \
     SET idle_in_transaction_session_timeout = '15s'; SET work_mem = '32MB'; SET client_min_messages = warning";

/// A parsed database URL.
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeTlsConnector>,
}

/// How much of the server's certificate is checked, as in libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

/// The parts of a URL that the driver does not know.
#[derive(Debug, PartialEq, Eq)]
struct TlsOptions {
    check: Check,
    root_certificate: Option<String>,
}

impl Connector {
    /// `sslmode` is disable, prefer (default), require, verify-ca or verify-full; `sslrootcert` names a PEM file,
    /// else the system's certificates count.
    pub fn new(url: &str) -> Result<Connector, StoreError> {
        let (url, options) = take_tls_options(url)?;
        // The driver's own error may quote a part of the URL, and so of the password.
        let mut config: Config = url.parse().map_err(|_| StoreError::Url {
            problem: "it is not of the form postgres://user:password@host:5432/database".into(),
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("plimsoll");
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(tls_connector(&options)?),
        };
        Ok(Connector { config, tls })
    }

    pub fn connect(&self) -> Result<Client, StoreError> {
        let mut client = match &self.tls {
            Some(tls) => self.config.connect(tls.clone())?,
            None => self.config.connect(NoTls)?,
        };
        client.batch_execute(SESSION)?;
        Ok(client)
    }
}

fn tls_connector(options: &TlsOptions) -> Result<MakeTlsConnector, StoreError> {
    let unusable = |what: &str, error: openssl::error::ErrorStack| StoreError::Url {
        problem: format!("TLS cannot be set up: {what}: {error}"),
    };
    let mut builder = SslConnector::builder(SslMethod::tls()).map_err(|e| unusable("OpenSSL", e))?;
    if let Some(file) = &options.root_certificate {
        builder.set_ca_file(file).map_err(|e| unusable(&format!("sslrootcert {file}"), e))?;
    }
    if options.check == Check::Nothing {
        builder.set_verify(SslVerifyMode::NONE);
    }
    let mut tls = MakeTlsConnector::new(builder.build());
    let check_name = options.check == Check::ChainAndName;
    tls.set_callback(move |session, _| {
        session.set_verify_hostname(check_name);
        Ok(())
    });
    Ok(tls)
}

/// Cuts `sslmode=verify-*` and `sslrootcert` out of a URL's query.
fn take_tls_options(url: &str) -> Result<(String, TlsOptions), StoreError> {
    let mut options = TlsOptions { check: Check::Nothing, root_certificate: None };
    let Some((base, query)) = url.rsplit_once('?') else { return Ok((url.to_owned(), options)) };
    let mut kept = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", "verify-ca")) => options.check = Check::Chain,
            Some(("sslmode", "verify-full")) => options.check = Check::ChainAndName,
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", file)) => options.root_certificate = Some(percent_decoded(file)?),
            _ => kept.push(parameter),
        }
    }
    if options.check != Check::Nothing {
        kept.push("sslmode=require");
    } else if options.root_certificate.is_some() && kept.contains(&"sslmode=require") {
        // As libpq: a root certificate makes `require` mean `verify-ca`.
        options.check = Check::Chain;
    }
    let url = match kept.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{}", kept.join("&")),
    };
    Ok((url, options))
}

fn percent_decoded(text: &str) -> Result<String, StoreError> {
    let bad = || StoreError::Url { problem: "sslrootcert is not percent-encoded UTF-8".into() };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next().ok_or_else(bad)?, rest.next().ok_or_else(bad)?];
        let digits = std::str::from_utf8(&digits).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_options_leave_the_url() {
        let url = "postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3";
        let (rest, options) = take_tls_options(url).unwrap();
        assert_eq!(rest, "postgres://u:p@h/d?connect_timeout=3&sslmode=require");
        let file = Some("/etc/ca.pem".to_owned());
        assert_eq!(options, TlsOptions { check: Check::ChainAndName, root_certificate: file });
        let (rest, options) = take_tls_options("postgres://h/d?sslmode=require&sslrootcert=ca.pem").unwrap();
        assert_eq!((rest.as_str(), options.check), ("postgres://h/d?sslmode=require", Check::Chain));
        let (rest, options) = take_tls_options("postgres://h/d").unwrap();
        assert_eq!((rest.as_str(), options.check), ("postgres://h/d", Check::Nothing));
    }

    #[test]
    fn an_unusable_url_does_not_show_its_password() {
        for url in ["postgres://u:secret@h/d?secret=1", "postgres://u:secret@h:port/d", "secret"] {
            let Err(error) = Connector::new(url) else { panic!("{url} was taken") };
            let text = format!("{error} {error:?}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
