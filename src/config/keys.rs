//! The keys that are shared with other servers (TSIG, RFC 8945): `[keys."NAME"]`.

use std::collections::HashMap;
use std::path::PathBuf;

use toml::Spanned;

use super::files::Files;
use super::load::warn_if_readable_by_all;
use super::reader::{Reader, Value};
use crate::dns::Name;
use crate::transfer::{Algorithm, Key, Keys};

/// A key, so far as it could be made out.
#[derive(Debug)]
pub(super) struct KeyForm {
    pub name: Spanned<String>,
    pub algorithm: Algorithm,
    pub secret: Option<SecretForm>,
}

/// Where a secret stands, in base64.
#[derive(Debug)]
pub(super) enum SecretForm {
    Inline(Spanned<String>),
    File(Spanned<PathBuf>),
}

/// A file with a secret has no more bytes.
const FILE_LIMIT: u64 = 4096;

/// Reads one key.
pub(super) fn read(name: Spanned<String>, value: &Value<'_>) -> KeyForm {
    let mut form = KeyForm { name, algorithm: Algorithm::Sha256, secret: None };
    let title = format!("[keys.\"{}\"]", form.name.get_ref());
    let Some(mut table) = value.table(&title) else { return form };
    let algorithms = Algorithm::ALL.map(|algorithm| (algorithm.label(), algorithm));
    let algorithm = table.take("algorithm").and_then(|value| value.word(&algorithms, &[]));
    form.algorithm = algorithm.unwrap_or(form.algorithm);
    let file = table.take("secret_file");
    let secret = match &file {
        Some(_) => table.take("secret"),
        None => table.require("secret", "\"…\"` (base64), or `secret_file = \"xfr.key\""),
    };
    form.secret = match (secret, file) {
        (Some(secret), None) => secret.filled_text().map(SecretForm::Inline),
        (None, Some(file)) => file.path().map(SecretForm::File),
        (Some(_), Some(file)) => {
            let error = file.error(format!("{title} has both `secret` and `secret_file`"));
            file.reject(error.label("remove one of them"))
        }
        (None, None) => None,
    };
    table.finish();
    form
}

/// Makes the keys; what is wrong with them is reported.
pub(super) fn compile(forms: &[KeyForm], reader: &Reader, files: &mut Files) -> Keys {
    let mut seen: HashMap<Box<[u8]>, &str> = HashMap::new();
    let mut keys = Vec::with_capacity(forms.len());
    let mut is_first_inline = true;
    for form in forms {
        let text = form.name.get_ref();
        let name: Name = match text.parse() {
            Ok(name) => name,
            Err(why) => {
                let error = reader.error(form.name.span(), format!("bad key name `{text}`"));
                let error = error.label("expected a domain name, such as \"xfr.example.com\"");
                reader.report(error.help(format!("{why}")));
                continue;
            }
        };
        if let Some(other) = seen.insert(name.to_key(), text) {
            let error = reader.error(form.name.span(), format!("the key `{text}` is given twice"));
            reader.report(error.label(format!("`{other}` is the same name")));
            continue;
        }
        let secret = form.secret.as_ref().and_then(|secret| read_secret(secret, reader, files));
        if let (Some((secret, span)), Some(form_secret)) = (secret, &form.secret) {
            warn_if_short(form, &secret, span.clone(), reader);
            let label = "whoever has the secret can sign with it";
            match form_secret {
                SecretForm::File(path) => {
                    warn_if_readable_by_all(path.get_ref(), span, label, reader)
                }
                SecretForm::Inline(_) if is_first_inline => {
                    warn_if_readable_by_all(reader.source.path(), span, label, reader);
                    is_first_inline = false;
                }
                SecretForm::Inline(_) => (),
            }
            keys.push(Key::new(name, form.algorithm, &secret));
        }
    }
    keys.into_iter().collect()
}

/// The secret, and where to speak of it.
fn read_secret(
    form: &SecretForm,
    reader: &Reader,
    files: &mut Files,
) -> Option<(Vec<u8>, std::ops::Range<usize>)> {
    let (text, span, place) = match form {
        SecretForm::Inline(text) => (text.get_ref().clone(), text.span(), "`secret`".to_string()),
        SecretForm::File(path) => {
            let source = files.text(path, reader, FILE_LIMIT)?;
            (source.text().to_string(), path.span(), path.get_ref().display().to_string())
        }
    };
    // What wraps long lines, as `base64` does.
    let text: String = text.split_ascii_whitespace().collect();
    let secret = domain::utils::base64::decode::<Vec<u8>>(&text).ok();
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => Some((secret, span)),
        None => {
            let error = reader.error(span, format!("{place} holds no secret"));
            let error = error.label("expected base64");
            reader.report(error.help("make one: `head -c 32 /dev/urandom | base64`"));
            None
        }
    }
}

fn warn_if_short(form: &KeyForm, secret: &[u8], span: std::ops::Range<usize>, reader: &Reader) {
    let (has, due) = (secret.len(), form.algorithm.mac_bytes());
    if has < due {
        let name = form.name.get_ref();
        let warning = reader.warning(span, format!("the secret of `{name}` is short"));
        let label = format!("{has} bytes, where {} makes {due}", form.algorithm.label());
        let help = format!("make one: `head -c {due} /dev/urandom | base64` (RFC 8945 §8)");
        reader.report(warning.label(label).help(help));
    }
}
