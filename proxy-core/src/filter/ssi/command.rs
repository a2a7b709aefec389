//! A command's name and its parameters: `include virtual="/x" wait="yes"`.

use alloc::vec::Vec;

use super::scan::PARAMETERS_MAX;

/// A command, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) name: Vec<u8>,
    pub(super) parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Command {
    /// Reads what stands between `<!--#` and `-->`; none if it is malformed, or a value is longer than so many bytes.
    pub(super) fn parse(text: &[u8], value_bytes_max: usize) -> Option<Self> {
        let text = text.trim_ascii();
        let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let mut parameters = Vec::new();
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                break;
            }
            let equals = rest.iter().position(|byte| *byte == b'=')?;
            let (key, tail) = rest.split_at(equals);
            let (value, tail) = quoted(tail.get(1..)?, value_bytes_max)?;
            if key.is_empty() || key.iter().any(u8::is_ascii_whitespace) || parameters.len() == PARAMETERS_MAX
            {
                return None;
            }
            parameters.push((key.to_vec(), value));
            rest = tail;
        }
        (!name.is_empty()).then(|| Self { name: name.to_vec(), parameters })
    }

    /// A parameter's value.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    /// The first name that is not one of these.
    pub(super) fn unknown(&self, known: &[&[u8]]) -> Option<&[u8]> {
        self.parameters.iter().map(|(name, _)| name.as_slice()).find(|name| !known.contains(name))
    }

    /// The command as text again.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<!--#");
        out.extend_from_slice(&self.name);
        for (key, value) in &self.parameters {
            out.push(b' ');
            out.extend_from_slice(key);
            out.extend_from_slice(b"=\"");
            out.extend_from_slice(value);
            out.push(b'"');
        }
        out.extend_from_slice(b" -->");
    }
}

/// A value in quotes, a backslash taking the next byte as it is; and what stands behind it.
fn quoted(text: &[u8], bytes_max: usize) -> Option<(Vec<u8>, &[u8])> {
    let (quote, text) = text.split_first().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let byte = match byte {
            byte if byte == quote => return Some((value, text.get(at + 1..).unwrap_or_default())),
            b'\\' if text.get(at + 1) == Some(quote) => bytes.next()?.1,
            byte => byte,
        };
        if value.len() == bytes_max {
            return None;
        }
        value.push(*byte);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let command = Command::parse(b" set var=\"a\"  value='x \\' y' ", 8).unwrap();
        assert_eq!((command.get(b"var"), command.get(b"value")), (Some(&b"a"[..]), Some(&b"x ' y"[..])));
        assert_eq!(command.unknown(&[b"var"]), Some(&b"value"[..]));
        assert_eq!(Command::parse(b"endif", 8).unwrap().parameters, []);
        for bad in [
            &b""[..],
            b"set var",
            b"set var=x",
            b"set var=\"x",
            b"set =\"x\"",
            b"set a b=\"x\"",
            b"s v=\"123456789\"",
        ] {
            assert_eq!(Command::parse(bad, 8), None, "{}", bad.escape_ascii());
        }
    }
}
