//! How files are served: `autoindex*`, `random_index`, `disable_symlinks`.

use proxy_core::config::{Autoindex, AutoindexFormat, FileServing, Symlinks};

use super::context::Call;
use super::core::inherit;
use super::template::compile_bytes;
use crate::conf::value::Parsed;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct FilesLevel {
    pub autoindex: Option<bool>,
    pub autoindex_format: Option<AutoindexFormat>,
    pub autoindex_localtime: Option<bool>,
    pub autoindex_exact_size: Option<bool>,
    pub random_index: Option<bool>,
    /// The inner `None` is `off`.
    pub disable_symlinks: Option<Option<Symlinks>>,
}

impl FilesLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; autoindex autoindex_format autoindex_localtime autoindex_exact_size random_index
            disable_symlinks);
    }

    /// The settings, with nginx's defaults where nothing was said.
    pub fn finish(&self) -> FileServing {
        let autoindex = Autoindex {
            format: self.autoindex_format.unwrap_or(AutoindexFormat::Html),
            local_time: self.autoindex_localtime.unwrap_or(false),
            exact_size: self.autoindex_exact_size.unwrap_or(true),
        };
        FileServing {
            autoindex: self.autoindex.unwrap_or(false).then_some(autoindex),
            random_index: self.random_index.unwrap_or(false),
            symlinks: self.disable_symlinks.clone().flatten(),
        }
    }
}

/// `disable_symlinks off;`, `disable_symlinks on|if_not_owner [from=part];`
///
/// # Errors
/// As nginx's.
pub fn disable_symlinks(level: &mut FilesLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let (mut kind, mut from) = (None, None);
    for n in 0..call.args().len() {
        let field = call.arg(n);
        match &*field.arg.text() {
            "off" => kind = Some(None),
            "on" => kind = Some(Some(false)),
            "if_not_owner" => kind = Some(Some(true)),
            text => match text.strip_prefix("from=") {
                Some(part) => from = Some(compile_bytes(call.cx, field, part.as_bytes())?),
                None => return Err(field.error(format!("invalid parameter \"{text}\""))),
            },
        }
    }
    let Some(kind) = kind else {
        return Err(
            call.error("\"disable_symlinks\" must have \"off\", \"on\" or \"if_not_owner\" parameter")
        );
    };
    if call.args().len() == 2 && (kind.is_none() || from.is_none()) {
        return Err(call.error("duplicate parameters \"disable_symlinks\""));
    }
    level.disable_symlinks = Some(kind.map(|same_owner| Symlinks { same_owner, from }));
    Ok(())
}
