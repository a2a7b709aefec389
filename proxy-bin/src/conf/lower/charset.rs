//! `charset`, `source_charset`, `override_charset`, `charset_types`: what Content-Type says. Nothing is recoded.

use std::sync::Arc;

use proxy_core::config::{Charset, Template};

use super::context::Call;
use super::core::inherit;
use crate::conf::value::Parsed;

/// The types that get a charset where nothing else is said.
const TYPES: [&str; 7] = [
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
    "text/javascript",
];

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct CharsetLevel {
    /// The inner `None` is `off`.
    pub charset: Option<Option<Template>>,
    pub source_charset: Option<Template>,
    pub override_charset: Option<bool>,
    pub charset_types: Option<Vec<Vec<u8>>>,
}

impl CharsetLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; charset source_charset override_charset charset_types);
    }

    /// The settings; none where no reply gets a charset.
    pub fn finish(&self) -> Option<Arc<Charset>> {
        let name = self.charset.clone().flatten()?;
        let written = self.charset_types.as_deref().unwrap_or_default();
        let named = written.iter().map(Vec::as_slice);
        let types = TYPES.iter().map(|name| name.as_bytes());
        let types = if written.is_empty() {
            types.map(Into::into).collect()
        } else {
            // nginx adds text/html to whatever is written.
            named.clone().chain([b"text/html".as_slice()]).map(Into::into).collect()
        };
        Some(Arc::new(Charset {
            name: Some(name),
            override_charset: self.override_charset.unwrap_or(false),
            types,
            all_types: named.clone().any(|name| name == b"*"),
        }))
    }
}

/// `charset name|off;`, `source_charset name|off;`
///
/// # Errors
/// Where text would have to be recoded.
pub fn charset(level: &mut CharsetLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let is_source = call.directive.name.is("source_charset");
    if call.first().arg.is("off") {
        if !is_source {
            level.charset = Some(None);
        }
        return Ok(());
    }
    let name = call.template(0)?;
    if let Some(name) = name.as_literal() {
        call.cx.charsets.push(name.into());
    }
    if is_source {
        level.source_charset = Some(name);
    } else {
        level.charset = Some(Some(name));
    }
    if let (Some(Some(to)), Some(from)) = (&level.charset, &level.source_charset)
        && to != from
    {
        let text = |template: &Template| {
            template.as_literal().map_or("…".into(), |name| String::from_utf8_lossy(name).into_owned())
        };
        let message =
            format!("no \"charset_map\" between the charsets \"{}\" and \"{}\"", text(from), text(to));
        let mut diagnostic = call.first().error(message);
        diagnostic.help("ringgate names a text's charset, and does not recode texts");
        return Err(diagnostic);
    }
    Ok(())
}

/// `charset_types type …;`
pub fn charset_types(level: &mut CharsetLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let types = call.args().iter().map(|arg| arg.bytes.to_ascii_lowercase());
    level.charset_types.get_or_insert_default().extend(types);
    Ok(())
}
