//! Lets a checked directive take effect on the level at which it stands.

use super::context::{Call, Context, Place};
use super::level::Level;
use super::process::ProcessLevel;
use super::upstream::UpstreamLevel;
use crate::conf::directive::{Checked, Effect};

/// At the top level or in `events`.
pub fn process(cx: &mut Context<'_>, checked: &Checked<'_>, level: &mut ProcessLevel) {
    if let Effect::Process(effect) = checked.entry.effect {
        let mut call = Call { cx, directive: checked.directive, place: Place::NONE };
        let result = effect(level, &mut call);
        cx.record(result);
    }
}

/// In `upstream`.
pub fn upstream(cx: &mut Context<'_>, checked: &Checked<'_>, level: &mut UpstreamLevel) {
    if let Effect::Upstream(effect) = checked.entry.effect {
        let mut call = Call { cx, directive: checked.directive, place: Place::NONE };
        let result = effect(level, &mut call);
        cx.record(result);
    }
}

/// In `http`, `server`, `location`, `limit_except` or `if`.
pub fn level(cx: &mut Context<'_>, checked: &Checked<'_>, place: Place<'_>, level: &mut Level) {
    let mut call = Call { cx, directive: checked.directive, place };
    let result = match checked.entry.effect {
        Effect::Core(effect) => effect(level.core.get_or_insert_default(), &mut call),
        Effect::Filter(effect) => effect(level.filter.get_or_insert_default(), &mut call),
        Effect::Mirror(effect) => effect(level.mirror.get_or_insert_default(), &mut call),
        Effect::Proxy(effect) => effect(level.proxy.get_or_insert_default(), &mut call),
        Effect::Grpc(effect) => effect(level.grpc.get_or_insert_default(), &mut call),
        Effect::Limit(effect) => effect(level.limits.get_or_insert_default(), &mut call),
        Effect::Server(effect) => effect(&mut level.server, &mut call),
        Effect::Own(effect) => effect(&mut level.own, &mut call),
        Effect::Access(effect) => effect(level.access.get_or_insert_default(), &mut call),
        Effect::RealIp(effect) => effect(level.real_ip.get_or_insert_default(), &mut call),
        Effect::Vetting(effect) => effect(level.vetting.get_or_insert_default(), &mut call),
        Effect::Log(effect) => effect(&mut level.access_logs, &mut call),
        Effect::Shared(effect) => effect(&mut call),
        Effect::Nothing | Effect::Structure | Effect::Process(_) | Effect::Upstream(_) => Ok(()),
    };
    cx.record(result);
}
