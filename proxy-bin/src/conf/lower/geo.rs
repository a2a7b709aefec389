//! `geo [$address] $variable { … }`

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use proxy_core::access::table::{AddressTableBuilder, Cidr, parse_ip};
use proxy_core::config::Geo;

use super::cidr;
use super::context::{Call, Context, Place};
use super::real_ip::proxies;
use crate::conf::diagnostic::Diagnostic;
use crate::conf::tree::Directive;
use crate::conf::value::{Field, Parsed};

/// What the lines said so far.
#[derive(Default)]
struct Lines {
    ranges: bool,
    recursive: bool,
    proxies: Vec<Option<Cidr>>,
    default: Option<Box<[u8]>>,
    networks: HashMap<Cidr, u32>,
    /// Ranges by their first address, none over another: the last address and the value.
    spans: BTreeMap<u32, (u32, u32)>,
    values: Vec<Box<[u8]>>,
    places: HashMap<Box<[u8]>, u32>,
}

/// Compiles a block; its lines' mistakes are recorded one by one.
pub fn geo(cx: &mut Context<'_>, directive: &Directive) -> Option<Geo> {
    let mut call = Call { cx, directive, place: Place::NONE };
    let last = call.args().len().saturating_sub(1);
    for n in 0..=last {
        if !call.text(n).starts_with('$') || call.text(n).len() < 2 {
            let error = call.arg(n).error(format!("invalid variable name \"{}\"", call.text(n)));
            call.cx.record(Err(error));
            return None;
        }
    }
    let source = match (last > 0).then(|| call.template(0)).transpose() {
        Ok(source) => source,
        Err(error) => {
            call.cx.record(Err(error));
            None
        }
    };
    let name = call.text(last).trim_start_matches('$').to_ascii_lowercase().into();
    let mut lines = Lines::default();
    for line in directive.children() {
        let result = lines.line(cx, line);
        cx.record(result);
    }
    let mut builder = AddressTableBuilder::default();
    let mut networks: Vec<_> = lines.networks.into_iter().collect();
    networks.sort_by_key(|(network, _)| network.prefix());
    networks.into_iter().for_each(|(network, value)| builder.insert(network, Some(value)));
    for (first, (last, value)) in lines.spans {
        builder.insert_range(first.into(), last.into(), Some(value));
    }
    Some(Geo {
        name,
        source,
        proxies: (!lines.proxies.is_empty()).then(|| proxies(&lines.proxies)),
        recursive: lines.recursive,
        ranges: lines.ranges,
        table: builder.build(),
        values: lines.values,
        default: lines.default.unwrap_or_default(),
    })
}

impl Lines {
    fn line(&mut self, cx: &mut Context<'_>, line: &Directive) -> Parsed<()> {
        let key = Field::new(line, &line.name);
        let name = key.arg.text();
        if line.block.is_some() {
            return Err(key.error("unexpected \"{\""));
        }
        match (&*name, line.args.as_slice()) {
            ("ranges", []) if !self.networks.is_empty() => {
                return Err(
                    key.error("the \"ranges\" directive must be the first directive inside \"geo\" block")
                );
            }
            ("ranges", []) => self.ranges = true,
            ("proxy_recursive", []) => self.recursive = true,
            // A look-up costs less than to remember it, so each use looks anew.
            ("volatile", []) => {}
            ("proxy", [value]) => self.proxies.push(Some(network(cx, line, &value.text())?)),
            ("delete", [value]) => return self.delete(cx, line, &value.text()),
            ("default", [value]) => {
                if let Some(old) = self.default.replace(value.bytes.as_slice().into()) {
                    let old = String::from_utf8_lossy(&old);
                    let what = if self.ranges { "default range value" } else { "network" };
                    let value = value.text();
                    warn(cx, line, format!("duplicate {what}: \"{value}\", old value: \"{old}\""));
                }
            }
            (net, [value]) if self.ranges => return self.add_range(cx, line, net, &value.bytes),
            (net, [value]) => return self.add_network(cx, line, net, &value.bytes),
            _ => return Err(key.error("invalid number of the geo parameters")),
        }
        Ok(())
    }

    /// The place of a value; equal ones share it.
    fn value(&mut self, bytes: &[u8]) -> u32 {
        let next = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(bytes.into()).or_insert(next);
        if place == next {
            self.values.push(bytes.into());
        }
        place
    }

    fn add_network(&mut self, cx: &mut Context<'_>, line: &Directive, net: &str, value: &[u8]) -> Parsed<()> {
        let network = network(cx, line, net)?;
        let place = self.value(value);
        if let Some(old) = self.networks.insert(network, place) {
            let old = self.values.get(old as usize).map(|old| String::from_utf8_lossy(old).into_owned());
            let (value, old) = (String::from_utf8_lossy(value), old.unwrap_or_default());
            let message = format!("duplicate network \"{net}\", value: \"{value}\", old value: \"{old}\"");
            warn(cx, line, message);
        }
        Ok(())
    }

    fn delete(&mut self, cx: &mut Context<'_>, line: &Directive, net: &str) -> Parsed<()> {
        if self.ranges {
            let (first, last) = range(line, net)?;
            if self.spans.get(&first).is_some_and(|(end, _)| *end == last) {
                self.spans.remove(&first);
            } else {
                warn(cx, line, format!("no address range \"{net}\" to delete"));
            }
            return Ok(());
        }
        let network = network(cx, line, net)?;
        if self.networks.remove(&network).is_none() {
            warn(cx, line, format!("no network \"{net}\" to delete"));
        }
        Ok(())
    }

    /// A range may lie inside of one before it, and takes its place there; any other overlap is an error.
    fn add_range(&mut self, cx: &mut Context<'_>, line: &Directive, net: &str, value: &[u8]) -> Parsed<()> {
        let (first, last) = range(line, net)?;
        let place = self.value(value);
        let near = self.spans.range(..=last).next_back();
        match near.map(|(start, (end, value))| (*start, *end, *value)).filter(|(_, end, _)| *end >= first) {
            None => {}
            Some((start, end, _)) if (start, end) == (first, last) => {
                warn(cx, line, format!("duplicate range \"{net}\""));
            }
            Some((start, end, around)) if start <= first && last <= end => {
                self.spans.remove(&start);
                if start < first {
                    self.spans.insert(start, (first - 1, around));
                }
                if last < end {
                    self.spans.insert(last + 1, (end, around));
                }
            }
            Some((start, end, _)) => {
                let (start, end) = (Ipv4Addr::from(start), Ipv4Addr::from(end));
                let field = Field::new(line, &line.name);
                return Err(field.error(format!("range \"{net}\" overlaps \"{start}-{end}\"")));
            }
        }
        self.spans.insert(first, (last, place));
        Ok(())
    }
}

fn network(cx: &mut Context<'_>, line: &Directive, net: &str) -> Parsed<Cidr> {
    let invalid = || Field::new(line, &line.name).error(format!("invalid network \"{net}\""));
    let network = cidr::parse(net).ok_or_else(invalid)?;
    if network.masked() != network {
        warn(cx, line, format!("low address bits of {net} are meaningless"));
    }
    Ok(network.masked())
}

fn range(line: &Directive, net: &str) -> Parsed<(u32, u32)> {
    let address = |text: &str| match parse_ip(text) {
        Some(IpAddr::V4(address)) => Some(address.to_bits()),
        Some(IpAddr::V6(_)) | None => None,
    };
    let pair = net.split_once('-').and_then(|(first, last)| address(first).zip(address(last)));
    let invalid = || Field::new(line, &line.name).error(format!("invalid range \"{net}\""));
    pair.filter(|(first, last)| first <= last).ok_or_else(invalid)
}

fn warn(cx: &mut Context<'_>, line: &Directive, message: String) {
    let mut diagnostic = Diagnostic::warn(line.name.span, message);
    diagnostic.anchor(line.terminator());
    cx.diagnostics.push(diagnostic);
}
