//! The TLS of the connection.

use std::sync::Arc;

use dtx_core::error::TransportError;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{error::invalid, settings::NatsSettings};

/// Our own configuration, with one cryptography, whatever else is in the process.
pub(crate) fn configuration(settings: &NatsSettings) -> Result<ClientConfig, TransportError> {
    let mut roots = RootCertStore::empty();
    match &settings.root_certificate {
        Some(pem) => {
            for certificate in certificates(pem, "root_certificate")? {
                roots.add(certificate).map_err(|source| {
                    invalid("connect", "`root_certificate` cannot be used").with_source(source)
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| invalid("connect", "TLS cannot be used").with_source(source))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &settings.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let unusable = || invalid("connect", "`client_certificate` has no usable key in PEM");
    // The error of the parser may show what is in the text.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| unusable())?;
    let chain = certificates(certificate, "client_certificate")?;
    builder.with_client_auth_cert(chain, key).map_err(|source| unusable().with_source(source))
}

fn certificates(pem: &[u8], setting: &str) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(invalid("connect", format!("`{setting}` is no certificate in PEM"))),
    }
}
